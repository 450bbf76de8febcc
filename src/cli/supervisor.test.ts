/** Children that are made up: they do at once what members do in the worst hour. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Supervisor, type SupervisorEvent, type SupervisorTimings } from "./supervisor.js";
import { UpRing } from "./up-ring.js";

const info = { id: "1", addr: "a:1", smtp: "a:26", pop3: "a:111" };
const ready = `process.send({ kind: "ready", info: ${JSON.stringify(info)} });`;
const stay = `setInterval(() => {}, 1000); process.on("disconnect", () => process.exit(0));`;
const quick: Partial<SupervisorTimings> = { backoffFirstMs: 1, backoffMaxMs: 4 };

let folder: string;
let running: { kill(): void }[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ringpost-supervisor-"));
});
afterEach(() => {
  for (const each of running) each.kill();
  running = [];
  rmSync(folder, { recursive: true, force: true });
});

/** A supervised script, and its events one after the other. */
function supervise(script: string, timings: Partial<SupervisorTimings> = quick) {
  const path = join(folder, "child.mjs");
  writeFileSync(path, script);
  const events: SupervisorEvent[] = [];
  const waiting: ((event: SupervisorEvent) => void)[] = [];
  const supervisor = new Supervisor({
    command: process.execPath,
    args: [path],
    logFile: join(folder, "child.log"),
    timings,
    onEvent: (event) => {
      const taker = waiting.shift();
      if (taker === undefined) events.push(event);
      else taker(event);
    },
  });
  running.push(supervisor);
  supervisor.start();
  const next = (): Promise<SupervisorEvent> => {
    const event = events.shift();
    return event ? Promise.resolve(event) : new Promise((resolve) => waiting.push(resolve));
  };
  return { supervisor, next };
}

test("ready, killed, ready again, stopped", async () => {
  const script = `import { appendFileSync } from "node:fs";
    appendFileSync(${JSON.stringify(join(folder, "pids"))}, process.pid + "\\n");
    process.on("SIGTERM", () => { console.log("bye"); process.exit(0); });
    ${ready} ${stay}`;
  const { supervisor, next } = supervise(script);
  expect(await next()).toEqual({ kind: "ready", info });
  const firstPid = Number(readFileSync(join(folder, "pids"), "utf8"));
  process.kill(firstPid, "SIGKILL");
  expect(await next()).toMatchObject({ kind: "ended", reason: "signal SIGKILL", failures: 1 });
  expect(await next()).toEqual({ kind: "ready", info });
  await supervisor.stop();
  const log = join(folder, "child.log");
  expect(readFileSync(log, "utf8")).toContain("bye");
  expect(statSync(log).mode & 0o777).toBe(0o600);
  const lastPid = Number(readFileSync(join(folder, "pids"), "utf8").trim().split("\n").at(-1));
  expect(() => process.kill(lastPid, 0)).toThrow();
});

test("the pause doubles up to its limit, and the child's own words are the reason", async () => {
  const { next } = supervise(
    `process.send({ kind: "failed", line: "port 1\\nis taken" }, () => process.exit(1));`,
  );
  const pauses: unknown[] = [];
  for (let n = 1; n <= 4; n += 1) {
    const event = await next();
    expect(event).toMatchObject({ kind: "ended", reason: "port 1 is taken", failures: n });
    if (event.kind === "ended") pauses.push(event.againInMs);
  }
  expect(pauses).toEqual([1, 2, 4, 4]);
});

test("a child that ran well for a while starts counting anew", async () => {
  const { next } = supervise("process.exit(3);", { ...quick, healthyAfterMs: 0 });
  for (let n = 0; n < 3; n += 1) {
    expect(await next()).toMatchObject({ reason: "exit code 3", failures: 1, againInMs: 1 });
  }
});

test("one that left the ring is not started again", async () => {
  const { supervisor, next } = supervise(`process.send({ kind: "left" }, () => process.exit(0));`);
  expect(await next()).toEqual({ kind: "left" });
  await supervisor.stop();
});

test("one that does not stop is killed", async () => {
  const script = `process.on("SIGTERM", () => {}); ${ready} ${stay}`;
  const { supervisor, next } = supervise(script, { ...quick, stopDeadlineMs: 10 });
  await next();
  await supervisor.stop();
});

test("a program that can't be run is an end like any other", async () => {
  const events: SupervisorEvent[] = [];
  const ended = new Promise<void>((resolve) => {
    const supervisor = new Supervisor({
      command: join(folder, "missing"),
      args: [],
      logFile: join(folder, "child.log"),
      timings: { backoffFirstMs: 60_000, backoffMaxMs: 60_000 },
      onEvent: (event) => {
        events.push(event);
        resolve();
      },
    });
    running.push(supervisor);
    supervisor.start();
  });
  await ended;
  expect(events[0]).toMatchObject({ kind: "ended", reason: expect.stringContaining("ENOENT") });
});

/** A ring whose members all run the same script. */
function ringOf(script: string) {
  const path = join(folder, "child.mjs");
  writeFileSync(path, script);
  const said: string[] = [];
  const waiting: { pattern: RegExp; resolve: (line: string) => void }[] = [];
  const ring = new UpRing({
    self: { command: process.execPath, args: [path] },
    timings: quick,
    say: (line) => {
      said.push(line);
      for (const { pattern, resolve } of waiting) if (pattern.test(line)) resolve(line);
    },
  });
  running.push(ring);
  const says = (pattern: RegExp): Promise<string> =>
    new Promise((resolve) => {
      const line = said.find((known) => pattern.test(known));
      if (line === undefined) waiting.push({ pattern, resolve });
      else resolve(line);
    });
  return { ring, says };
}

const planned = {
  ...{
    number: 2,
    addr: "a:1",
    ports: { ring: 1, smtp: 26, pop3: 111, pop3s: 996 },
    args: ["--bits", "3"],
  },
  dataDir: "",
};

test("a member that never gets ready ends the start, in its own words", async () => {
  const { ring } = ringOf(
    `process.send({ kind: "failed", line: process.argv.slice(2).join(" ") }, () => process.exit(1));`,
  );
  const logFile = join(folder, "log");
  await expect(ring.start({ ...planned, logFile }, ["b:2", "c:3"])).rejects.toThrow(
    `node 2 could not start: --bits 3 --entry b:2 --entry c:3 (log: ${logFile})`,
  );
});

test("a crash loop is called one", async () => {
  const { ring, says } = ringOf(`${ready} process.exit(9);`);
  const logFile = join(folder, "log");
  expect(await ring.start({ ...planned, logFile }, [])).toEqual(info);
  expect(await says(/node 2 ended/)).toBe("node 2 ended (exit code 9); starting it again in 0.0 s");
  expect(await says(/keeps ending/)).toContain(`keeps ending, 4 times in a row (exit code 9); see`);
  await ring.stop();
});
