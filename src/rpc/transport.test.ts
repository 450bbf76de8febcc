import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import type { PeerMessage } from "../replication/ports.js";
import type { Address } from "../shared/ids.js";
import { bounds } from "./bounds.js";
import { ListenError } from "./server.js";
import { rpcScope } from "./test-scope.js";
import { deferred, identity, startServer } from "./testing.js";

const { defer, server, transport } = rpcScope();

/** A server that tells when a call arrives, and never answers it. */
async function hanging() {
  const arrived = deferred<void>();
  const { addr } = await server({
    onPeerCall: (): Promise<PeerMessage> => {
      arrived.resolve();
      return new Promise(() => {});
    },
  });
  return { addr, arrived };
}

const patient = { deadlineMs: 30_000 };
const as = (value: object): PeerMessage => value as PeerMessage;

describe("calls", () => {
  test("carry JSON and blobs there and back, and say who calls", async () => {
    const { addr } = await server({
      onPeerCall: async (from, method, message) => as({ ...message, from, method }),
    });
    const blobs = [Buffer.from("one"), Buffer.alloc(0), Buffer.alloc(1024 * 1024, 7)];
    const answer = await transport().call(addr, "greet", as({ text: "grüß", blobs }), patient);
    const from = { uuid: "uuid-of-caller", addr: "caller:1" };
    expect(answer).toMatchObject({ text: "grüß", from, method: "greet" });
    expect(answer.blobs?.map((blob, index) => blob.equals(blobs[index] as Buffer))).toEqual([
      true,
      true,
      true,
    ]);
  });

  test("of one turn share frames", async () => {
    const { addr } = await server();
    const caller = transport();
    await caller.call(addr, "echo", {}, patient);
    const before = caller.framesSent(addr);
    const calls = Array.from({ length: 1_000 }, (_, n) =>
      caller.call(addr, "e", as({ n }), patient),
    );
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 1_000 }, (_, n) => ({ n })));
    expect(caller.framesSent(addr) - before).toBeLessThanOrEqual(8);
  });

  test("are answered in the order in which they finish", async () => {
    const gate = deferred<PeerMessage>();
    const { addr } = await server({
      onPeerCall: async (_from, method) => (method === "slow" ? gate.promise : {}),
    });
    const caller = transport();
    const order: string[] = [];
    const slow = caller.call(addr, "slow", {}, patient).then(() => order.push("slow"));
    await caller.call(addr, "quick", {}, patient).then(() => order.push("quick"));
    gate.resolve({});
    await slow;
    expect(order).toEqual(["quick", "slow"]);
  });

  test.each([
    ["rejects", async () => Promise.reject(new Error("no\r\nway"))],
    [
      "throws",
      () => {
        throw new Error("no\r\nway");
      },
    ],
  ])("fail with the reason when the handler %s; the next succeeds", async (_how, onPeerCall) => {
    let broken = true;
    const { addr } = await server({
      onPeerCall: async () => (broken ? onPeerCall() : {}),
    });
    const caller = transport();
    await expect(caller.call(addr, "m", {}, patient)).rejects.toMatchObject({
      name: "PeerUnavailableError",
      reason: "failed",
      message: expect.stringContaining("Error: no way"),
    });
    broken = false;
    await caller.call(addr, "m", {}, patient);
  });

  test("that cannot travel fail alone, in both directions", async () => {
    const { addr } = await server({
      onPeerCall: async (_from, method) =>
        as(method === "big" ? { blobs: [Buffer.alloc(bounds.messageOctetsMax + 1)] } : { n: 1n }),
    });
    const caller = transport();
    const outcomes = await Promise.allSettled([
      caller.call(addr, "m", as({ n: 1n }), patient),
      caller.call(addr, "m", { blobs: [Buffer.alloc(bounds.messageOctetsMax + 1)] }, patient),
      caller.call(addr, "big", {}, patient),
      caller.call(addr, "bigint", {}, patient),
    ]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { reason: "failed" } });
    }
    expect(caller.isUp(addr)).toBe(true);
  });

  test("of the largest size pass", async () => {
    const { addr } = await server();
    const blobs = [Buffer.alloc(bounds.messageOctetsMax - 100, 1)];
    const answer = await transport().call(addr, "m", { blobs }, patient);
    expect(answer.blobs?.[0]?.length).toBe(bounds.messageOctetsMax - 100);
  });

  test("end at their deadline; an answer after it is dropped", async () => {
    const gate = deferred<PeerMessage>();
    const { addr } = await server({
      onPeerCall: async (_from, method) => (method === "slow" ? gate.promise : {}),
    });
    const caller = transport();
    await caller.call(addr, "quick", {}, patient);
    await expect(caller.call(addr, "slow", {}, { deadlineMs: 50 })).rejects.toMatchObject({
      reason: "deadline",
      peer: addr,
    });
    gate.resolve({});
    await caller.call(addr, "quick", {}, patient);
  });

  test("end when aborted", async () => {
    const { addr, arrived } = await hanging();
    const caller = transport();
    const abort = new AbortController();
    const call = caller.call(addr, "m", {}, { ...patient, signal: abort.signal });
    await arrived.promise;
    abort.abort();
    await expect(call).rejects.toMatchObject({ reason: "deadline", message: /aborted/ });
    const late = caller.call(addr, "m", {}, { ...patient, signal: abort.signal });
    await expect(late).rejects.toMatchObject({ message: /aborted before/ });
  });

  test("outstanding at close reject, later ones too", async () => {
    const { addr, arrived } = await hanging();
    const caller = transport();
    const call = caller.call(addr, "m", {}, patient);
    await arrived.promise;
    caller.close();
    await expect(call).rejects.toMatchObject({ reason: "closed" });
    await expect(caller.call(addr, "m", {}, patient)).rejects.toMatchObject({ reason: "closed" });
    const other = "127.0.0.1:1" as Address;
    await expect(caller.call(other, "m", {}, patient)).rejects.toMatchObject({ reason: "closed" });
  });
});

const turn = () => new Promise((resolve) => setImmediate(resolve));

test.each([0, 64 * 1024])(
  "a member that is slower than its caller is not drowned: blobs of %i octets",
  async (octets) => {
    const gate = deferred<void>();
    let running = 0;
    let mostRunning = 0;
    const { addr } = await server({
      onPeerCall: async () => {
        mostRunning = Math.max(mostRunning, ++running);
        await gate.promise;
        running -= 1;
        return {};
      },
    });
    const runningMax = Math.min(bounds.callsRunningMax, bounds.octetsRunningMax / (octets + 2));
    const caller = transport();
    const blobs = [Buffer.alloc(octets)];
    const rejected: unknown[] = [];
    const calls: Promise<PeerMessage>[] = [];
    const sendSome = async () => {
      for (let i = 0; i < 50 && rejected.length < 1_000; i += 1) {
        const call = caller.call(addr, "m", { blobs }, { deadlineMs: 100_000 });
        call.catch((error: unknown) => rejected.push(error));
        calls.push(call);
      }
      await turn();
    };
    while (rejected.length === 0 || mostRunning < runningMax) await sendSome();
    // The caller goes on, so that what should not come would.
    for (let i = 0; i < 5_000; i += 1) await (rejected.length < 1_000 ? sendSome() : turn());
    expect(rejected[0]).toMatchObject({ reason: "unreachable", message: /overloaded/ });
    // The frame that reaches the bound is taken in whole.
    const frameItems = Math.min(bounds.frameItemsTarget, bounds.frameOctetsTarget / (octets + 1));
    expect(mostRunning).toBeLessThan(runningMax + frameItems + 1);
    // Queue, handlers, and the frames between them: nothing piles up elsewhere.
    const takenOctets = (calls.length - rejected.length) * octets;
    const betweenOctets = 24 * bounds.frameOctetsTarget;
    const takenMax = bounds.queueOctetsMax + bounds.octetsRunningMax + betweenOctets;
    expect(takenOctets).toBeLessThan(takenMax);
    expect(caller.isUp(addr)).toBe(true);
    gate.resolve();
    const outcomes = await Promise.allSettled(calls);
    const answered = outcomes.filter(({ status }) => status === "fulfilled").length;
    expect(answered).toBe(calls.length - rejected.length);
    expect(running).toBe(0);
  },
);

describe("members that do not belong together", () => {
  test("the reason reaches the caller of every kind", async () => {
    const { addr } = await server({ self: identity("server", "bits=16") });
    const caller = transport();
    const refused = {
      reason: "unreachable",
      message: expect.stringMatching(/refused: caller:1 belongs to the ring "bits=8".*"bits=16"/),
    };
    await expect(caller.call(addr, "m", {}, patient)).rejects.toMatchObject(refused);
    await expect(transport().callRing(addr, 1, patient)).rejects.toMatchObject(refused);
    expect(caller.isDown(addr)).toBe(true);
  });
});

describe("server", () => {
  test("a port that is taken is named", async () => {
    const { addr } = await server();
    const second = startServer({ listen: addr });
    await expect(second).rejects.toBeInstanceOf(ListenError);
    const port = addr.slice(addr.lastIndexOf(":") + 1);
    await expect(second).rejects.toThrow(`port ${port} on 127.0.0.1 is already in use`);
  });

  test("stop lets running calls finish and answers them", async () => {
    const gate = deferred<PeerMessage>();
    const arrived = deferred<void>();
    const { addr, server: running } = await server({
      onPeerCall: (): Promise<PeerMessage> => {
        arrived.resolve();
        return gate.promise;
      },
    });
    const call = transport().call(addr, "m", {}, patient);
    await arrived.promise;
    const stopped = running.stop(30_000);
    gate.resolve(as({ done: true }));
    expect(await call).toEqual({ done: true });
    await stopped;
  });

  test("calls succeed again after a restart on the same port", async () => {
    const first = await server();
    const ups: string[] = [];
    const down = deferred<void>();
    const upAgain = deferred<void>();
    const caller = transport({
      onUp: (peer) => {
        if (ups.push(peer) === 2) upAgain.resolve();
      },
      onDown: () => down.resolve(),
    });
    await caller.call(first.addr, "m", {}, patient);
    await first.server.stop(0);
    await down.promise;
    expect(caller.isDown(first.addr)).toBe(true);
    const refused = caller.call(first.addr, "m", {}, patient);
    await expect(refused).rejects.toMatchObject({ reason: "unreachable" });
    await server({ listen: first.addr });
    await upAgain.promise;
    await caller.call(first.addr, "m", {}, patient);
  });

  test("an attempt that hears nothing gives way to a new one when the member greets us", async () => {
    // Takes connections and never says a word, like a host whose first packets were lost.
    const sockets: Socket[] = [];
    const wall = createServer((socket) => {
      sockets.push(socket.on("error", () => undefined).resume());
    });
    defer(() => sockets.forEach((socket) => socket.destroy()));
    await new Promise<void>((resolve) => wall.listen(0, "127.0.0.1", resolve));
    const addr = `127.0.0.1:${(wall.address() as AddressInfo).port}` as Address;
    const downs: string[] = [];
    const caller = transport({ onDown: (_, reason) => downs.push(reason) });
    const call = caller.call(addr, "m", as({ text: "x" }), patient);
    await once(wall, "connection");
    wall.close();
    await server({ listen: addr });
    // As often as one likes: an attempt that has just begun goes on.
    const greetings = setInterval(() => caller.redial(addr), 10);
    defer(() => clearInterval(greetings));
    await call;
    expect(downs).toEqual([]);
    expect(sockets).toHaveLength(1);
    // Its handshake was given up with it, and does not wait for ever.
    await expect.poll(() => sockets[0]?.destroyed, { timeout: 30_000 }).toBe(true);
  });

  test("tells which member has opened a stream", async () => {
    const greeted = deferred<string>();
    const { addr } = await server({ onPeerGreeted: (peer) => greeted.resolve(peer.addr) });
    await transport().call(addr, "m", {}, patient);
    expect(await greeted.promise).toBe("caller:1");
  });

  test("hears when a member's stream ends, before any call of its next stream", async () => {
    const events: string[] = [];
    const gone = deferred<void>();
    const { addr } = await server({
      onPeerCall: async (_from, method) => {
        events.push(method);
        return {};
      },
      onPeerGone: (uuid) => {
        events.push(`gone ${uuid}`);
        if (events.length === 4) gone.resolve();
      },
    });
    // Both say that they are the same member: the second replaces the first.
    await transport().call(addr, "first", {}, patient);
    const second = transport();
    await second.call(addr, "second", {}, patient);
    second.close();
    await gone.promise;
    expect(events.slice(0, 3)).toEqual(["first", "gone uuid-of-caller", "second"]);
  });
});

describe("ring steps", () => {
  test("carry JSON and who asks", async () => {
    const { addr } = await server({ onRing: async (message, from) => ({ message, from }) });
    const reply = await transport().callRing(addr, { step: [1, "x"] }, patient);
    const from = { uuid: "uuid-of-caller", addr: "caller:1" };
    expect(reply).toEqual({ message: { step: [1, "x"] }, from });
  });

  test("fail, end at the deadline, find nobody", async () => {
    const { addr } = await server({
      onRing: async (message) =>
        message === "hang" ? new Promise(() => {}) : Promise.reject(new Error("odd step")),
    });
    const caller = transport();
    const failed = caller.callRing(addr, "throw", patient);
    await expect(failed).rejects.toMatchObject({ reason: "failed", message: /odd step/ });
    const hung = caller.callRing(addr, "hang", { deadlineMs: 100 });
    await expect(hung).rejects.toMatchObject({ reason: "deadline" });
    const nobody = caller.callRing("127.0.0.1:1" as Address, 1, patient);
    await expect(nobody).rejects.toMatchObject({ reason: "unreachable", message: /ECONNREFUSED/ });
    const nowhere = caller.call("no address" as Address, "m", {}, patient);
    await expect(nowhere).rejects.toMatchObject({ reason: "unreachable" });
  });
});
