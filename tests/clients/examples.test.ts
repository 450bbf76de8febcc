/** Every example, run as its README says, against a ring of three. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { chordBin } from "../support/chord.js";
import { endWithUs, type ProcessResult, runProcess } from "../support/process.js";
import { password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
const root = join(import.meta.dirname, "../..");
let ring: Ring;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  ring = await scope.start({ members: 3, args: ["--discovery", "on"] });
  await ring.addUsers(["alice", "bob"]);
  const accounts = join(ring.folder, "accounts.json");
  writeFileSync(accounts, JSON.stringify(["alice", "bob"].map((name) => ({ name, password }))));
  env = { RINGPOST_SERVER: ring.entry.addr, RINGPOST_ACCOUNTS: accounts };
});

/** In the package's directory, where an example's `ringpost/sdk` is this package. */
async function example(
  words: readonly string[],
  more: { stdin?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const [name = "", ...args] = words;
  const options = { ...more, cwd: root, deadlineMs: 100_000, env: { ...env, ...more.env } };
  const result: ProcessResult = await runProcess(
    process.execPath,
    [join("examples", name), ...args],
    options,
  );
  expect(result.code, `${result.stdout.toString()}\n${result.stderr}`).toBe(0);
  return result.stdout.toString();
}

test("request-reply", async () => {
  expect(await example(["request-reply.js"])).toBe(
    "bob@ring.test says 1\nbob@ring.test says 2\nbob@ring.test says 5\n" +
      "and to 1 / 0: division by zero\n",
  );
});

test("sensors: each display shows what its pattern matches, in order", async () => {
  const lines = (await example(["sensors.js"])).trim().split("\n");
  const of = (display: string) =>
    lines.filter((line) => line.startsWith(`${display}: `)).map((line) => line.split(" = ")[1]);
  expect(of("everything")).toEqual(["21.5", "48", "11.2", "water!", "21.7"]);
  expect(of("kitchen")).toEqual(["21.5", "48", "21.7"]);
  expect(of("alarms")).toEqual(["water!"]);
  expect(lines).toHaveLength(9);
});

test("work queue: each job is done once, the one that was given back by somebody", async () => {
  const lines = (await example(["work-queue.js"])).trim().split("\n");
  const done = lines.filter((line) => line.includes("has done"));
  const pictures = done.map((line) => line.split(" ").at(-1)).sort();
  expect(pictures).toEqual(Array.from({ length: 12 }, (_, n) => `${n + 1}.jpg`).sort());
  expect(lines.filter((line) => line.endsWith("gives 5.jpg back"))).toHaveLength(1);
  expect(lines.at(-1)).toBe("12 jobs done");
});

test("file: what arrives is what was sent", async () => {
  const out = await example(["file.js"], { env: { MEGABYTES: "5" } });
  expect(out).toMatch(/^5000000 octets in [\d.]+ s \([\d.]+ MB\/s\), the same SHA-256\n$/);
});

test("chat: a line is seen by the other, and the ticks by oneself", async () => {
  const people = [
    { me: "alice", other: "bob" },
    { me: "bob", other: "alice" },
  ].map(({ me, other }) => {
    const words = [join("examples", "chat.js"), me, other];
    const child = spawn(process.execPath, words, { cwd: root, env: { ...process.env, ...env } });
    endWithUs(child);
    const person = { me, other, child, said: "", exit: undefined as number | null | undefined };
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        person.said += chunk.toString();
      });
    }
    child.once("close", (code) => {
      person.exit = code;
    });
    child.stdin.write(`hello ${other}\n`);
    return person;
  });
  const everyone = () => people.map(({ said }) => said).join("\n---\n");
  for (const person of people) {
    const { me, other } = person;
    for (const line of [`${other}@ring.test: hello ${me}`, `  ✓ hello ${other}`]) {
      await waitUntil(() => person.said.includes(line), { deadlineMs: 60_000, what: line });
    }
    const seen = `  ✓✓ hello ${other}`;
    await waitUntil(() => person.said.includes(seen), { deadlineMs: 60_000, what: seen }).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}\n${everyone()}`);
      },
    );
  }
  for (const { child } of people) child.stdin.end();
  const areGone = () => people.every(({ exit }) => exit !== undefined);
  await waitUntil(areGone, { deadlineMs: 30_000, what: "both to leave" });
  expect(
    people.map(({ exit }) => exit),
    everyone(),
  ).toEqual([0, 0]);
});

test("the commands for scripts", async () => {
  const chord = async (words: readonly string[], body = ""): Promise<ProcessResult> =>
    runProcess(
      process.execPath,
      [chordBin, ...words, "--user", "alice", "--server", ring.entry.addr, "--password-stdin"],
      { stdin: `${password}\n${body}`, env: { XDG_STATE_HOME: ring.folder } },
    );
  const pushed = await chord(["push", "jobs", "--lines"], "one\ntwo\nthree\n");
  expect(pushed.stderr).toBe("");
  expect(pushed.code).toBe(0);
  expect(pushed.stdout.toString().trim().split("\n")).toHaveLength(3);
  const pulled = await chord(["pull", "jobs", "--count", "3", "--ack", "--json"]);
  expect(pulled.code, pulled.stderr).toBe(0);
  const bodies = pulled.stdout
    .toString()
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { body: string }).body);
  expect(bodies.sort()).toEqual(["one", "three", "two"]);
  const none = await chord(["pull", "jobs", "--timeout", "2s"]);
  expect([none.code, none.stderr]).toEqual([1, "chord: only 0 of 1 came within 2s\n"]);
});
