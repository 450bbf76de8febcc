/** Members that are killed, frozen or cut off: real processes, real signals. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import type { PeerMessage } from "../replication/ports.js";
import type { Address } from "../shared/ids.js";
import { rpcScope } from "./test-scope.js";
import { credentialsOf, deferred, enrollment } from "./testing.js";

const { defer, server, transport } = rpcScope();

const room = JSON.stringify(new URL("./index.ts", import.meta.url).href);
const child = `
  const { createRpcServer, createPeerTransport } = await import(${room});
  const nothing = () => {};
  const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
  const self = { uuid: "uuid-of-child", addr: "child:1", ring: "bits=8" };
  const executed = [];
  const onPeerCall = async (from, method, message) => {
    executed.push(method);
    if (method === "hang") await new Promise(nothing);
    return { executed };
  };
  const onRing = () => new Promise(nothing);
  const listen = process.env.LISTEN;
  const credentials = JSON.parse(process.env.CREDENTIALS);
  const enrollment = ${JSON.stringify({ caPem: enrollment.caPem, secretsFolder: "" })};
  const server = createRpcServer({ listen, self, credentials, enrollment, onRing, onPeerCall, onAdmin: onRing, log });
  process.send(await server.start());
  if (process.env.CALL) {
    const caller = createPeerTransport({ self, credentials, log });
    await caller.call(process.env.CALL, "hang", {}, { deadlineMs: 1e6 });
  }
`;

const CREDENTIALS = JSON.stringify(await credentialsOf("uuid-of-child"));

/** A member in a process of its own. */
async function spawnMember(env: { LISTEN?: string; CALL?: string } = {}) {
  const process_ = spawn(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "--eval", child],
    {
      env: { ...process.env, LISTEN: "127.0.0.1:0", CREDENTIALS, ...env },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    },
  );
  defer(() => end(process_));
  const [addr] = (await once(process_, "message")) as [Address];
  return { process: process_, addr };
}

async function end(member: ChildProcess): Promise<void> {
  if (member.exitCode !== null || member.signalCode !== null) return;
  const exited = once(member, "exit");
  member.kill("SIGKILL");
  await exited;
}

const patient = { deadlineMs: 60_000 };
// Far beyond the test: pings that give up so late do not take part in it.
const noKeepalive = { intervalMs: 600_000, timeoutMs: 600_000 };

describe("a member that is killed", () => {
  test("ends its outstanding calls at once; another of its kind is found at once", async () => {
    const member = await spawnMember();
    const up: (() => void)[] = [];
    const down = deferred<string>();
    const caller = transport({
      keepalive: noKeepalive,
      onUp: () => up.shift()?.(),
      onDown: (_peer, reason) => down.resolve(reason),
    });
    await caller.call(member.addr, "first", {}, patient);
    const calls = Array.from({ length: 100 }, () => caller.call(member.addr, "hang", {}, patient));
    const step = caller.callRing(member.addr, 1, patient);
    const outcomes = Promise.allSettled([...calls, step]);
    // Answered after the others were sent: they are at the member.
    await caller.call(member.addr, "last", {}, patient);
    await end(member.process);
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({
        status: "rejected",
        reason: { name: "PeerUnavailableError", reason: "closed", peer: member.addr },
      });
    }
    await down.promise;
    const refused = caller.call(member.addr, "m", {}, patient);
    await expect(refused).rejects.toMatchObject({ reason: "unreachable" });

    const back = deferred<void>();
    up.push(back.resolve);
    await spawnMember({ LISTEN: member.addr });
    await back.promise;
    const answer = await caller.call(member.addr, "again", {}, patient);
    expect(answer).toEqual({ executed: ["again"] });
  });

  test("is noticed by those whom it called", async () => {
    const arrived = deferred<void>();
    const gone = deferred<string>();
    const { addr } = await server({
      keepalive: noKeepalive,
      onPeerCall: (): Promise<PeerMessage> => {
        arrived.resolve();
        return new Promise(() => {});
      },
      onPeerGone: (uuid) => gone.resolve(uuid),
    });
    const coordinator = await spawnMember({ CALL: addr });
    await arrived.promise;
    await end(coordinator.process);
    expect(await gone.promise).toBe("uuid-of-child");
  });
});

describe("a member that is frozen", () => {
  test("calls end at their deadline, then fail at once; awake it runs no stale call", async () => {
    const member = await spawnMember();
    const up: (() => void)[] = [];
    const down = deferred<string>();
    const caller = transport({
      keepalive: { intervalMs: 1_000, timeoutMs: 2_000 },
      onUp: () => up.shift()?.(),
      onDown: (_peer, reason) => down.resolve(reason),
    });
    for (let i = 0; i < 3; i += 1) await caller.call(member.addr, "before", {}, patient);
    member.process.kill("SIGSTOP");
    const stale = caller.call(member.addr, "stale", {}, { deadlineMs: 200 });
    await expect(stale).rejects.toMatchObject({ reason: "deadline" });
    const closed = caller.call(member.addr, "waiting", {}, patient);
    await down.promise;
    await expect(closed).rejects.toMatchObject({ reason: "closed" });
    const refused = caller.call(member.addr, "m", {}, patient);
    await expect(refused).rejects.toMatchObject({ reason: "unreachable" });

    const back = deferred<void>();
    up.push(back.resolve);
    member.process.kill("SIGCONT");
    await back.promise;
    const answer = await caller.call(member.addr, "after", {}, patient);
    // "waiting" had a long deadline: a call whose connection broke may be executed all the same.
    const executed = (answer as { executed: string[] }).executed.filter((m) => m !== "waiting");
    expect(executed).toEqual(["before", "before", "before", "after"]);
  });

  test("a first call to it ends at its deadline or when the greeting fails", async () => {
    const member = await spawnMember();
    member.process.kill("SIGSTOP");
    const caller = transport();
    const hasty = caller.call(member.addr, "m", {}, { deadlineMs: 300 });
    await expect(hasty).rejects.toMatchObject({ reason: "deadline" });
    const long = caller.call(member.addr, "m", {}, patient);
    await expect(long).rejects.toMatchObject({ reason: "unreachable", message: /no greeting/ });
  });
});
