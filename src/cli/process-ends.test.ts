/** How a process ends: by signals and by bugs. Each test is a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";

let child: ChildProcess | undefined;
afterEach(() => void child?.kill("SIGKILL"));

/** Runs TypeScript beside this file; it says "up" when it has begun. */
async function begin(source: string, env: NodeJS.ProcessEnv = {}) {
  const started = spawn(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "-e", source],
    {
      cwd: import.meta.dirname,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, ...env },
    },
  );
  child = started;
  let stderr = "";
  const { stderr: said } = started;
  if (said === null) throw new Error("stderr is a pipe");
  said.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  // Not "close": Node does not emit it for a child whose channel the parent has disconnected.
  const parts = Promise.all([once(started, "exit"), once(said, "end")]);
  const ended = parts.then(([[code]]) => ({ code: code as number, stderr }));
  await Promise.race([once(started, "message"), ended]);
  return { child: started, ended };
}

const room = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
const bugs = `
  const { endOnBug } = await import(${room("./bug.ts")});
  const log = { fatal: () => undefined };
  endOnBug({ note: (line) => process.stderr.write(line + "\\n") }, log);
  process.channel.ref();
  process.on("message", () => undefined);
  process.send("up");
`;

test.each([
  ["uncaught exception", `setImmediate(() => { throw new Error("broken\\nthing"); });`],
  ["unhandled rejection", `void Promise.reject(new Error("broken\\nthing"));`],
])("%s: exit 70 and one line", async (kind, bug) => {
  const { ended } = await begin(`${bugs} ${bug}`);
  expect(await ended).toEqual({
    code: 70,
    stderr: `chord: ended on an internal error (${kind}), please report it: broken thing\n`,
  });
});

const stopping = (afterwards: string) => `
  const { stopRequests } = await import(${room("./stop-requests.ts")});
  const stop = stopRequests((code) => process.exit(code));
  const alive = setInterval(() => undefined, 1_000);
  process.send("up");
  const reason = await stop.requested;
  process.send(reason);
  ${afterwards}
`;

test("a first signal asks", async () => {
  const { child, ended } = await begin(stopping("clearInterval(alive); stop.release();"));
  const asked = once(child, "message");
  child.kill("SIGTERM");
  expect(await asked).toEqual(["SIGTERM", undefined]);
  child.disconnect();
  expect((await ended).code).toBe(0);
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("a second one (%s) does not wait", async (signal, code) => {
  const { child, ended } = await begin(stopping(""));
  const asked = once(child, "message");
  child.kill("SIGTERM");
  await asked;
  child.kill(signal);
  expect((await ended).code).toBe(code);
});

const linked = `
  const { parentLink } = await import(${room("./parent-link.ts")});
  const alive = setInterval(() => undefined, 1_000);
  parentLink().onStop(() => process.exit(5));
  process.on("message", (code) => process.exit(code));
  process.send("up");
`;

test("a member of up stops when up is gone", async () => {
  const { child, ended } = await begin(linked, { RINGPOST_SUPERVISED: "1" });
  child.disconnect();
  expect((await ended).code).toBe(5);
});

test("the end of another parent means nothing", async () => {
  const { child, ended } = await begin(linked);
  child.send(6);
  expect((await ended).code).toBe(6);
});
