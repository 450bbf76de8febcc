import { once } from "node:events";
import { request } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Network } from "./network.js";
import { waitUntil } from "./wait.js";

/** Long enough for loopback to deliver what is going to be delivered. */
const moment = () => new Promise((resolve) => setTimeout(resolve, 100));

let network: Network;
let gate: string;
let target: string;
/** What arrived at the target, and the connections there. */
let arrived = "";
let accepted: Socket[] = [];
const server = createServer((socket) => {
  accepted.push(socket);
  socket.on("data", (chunk) => {
    arrived += chunk.toString();
    socket.write(chunk.toString().toUpperCase());
  });
  socket.on("error", () => undefined);
});

beforeEach(async () => {
  arrived = "";
  accepted = [];
  network = new Network();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  gate = await network.gateOf("caller");
});

afterEach(async () => {
  network.close();
  for (const socket of accepted) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

/** A connection to the target through the caller's gate. */
class Caller {
  answers = "";
  isClosed = false;
  private constructor(readonly socket: Socket) {
    socket.on("data", (chunk: Buffer) => {
      this.answers += chunk.toString();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
    });
  }

  static connect(): Promise<Caller> {
    return new Promise((resolve, reject) => {
      const asking = request(gate, { method: "CONNECT", path: target });
      asking.once("connect", (_, socket) => resolve(new Caller(socket as Socket)));
      asking.once("error", reject);
      asking.end();
    });
  }

  async says(text: string): Promise<void> {
    this.socket.write(text);
    const answer = text.toUpperCase();
    const what = `the answer ${answer}`;
    await waitUntil(() => this.answers.endsWith(answer), { deadlineMs: 60_000, what });
  }
}

const out = () => [{ from: "caller", to: target }];
const back = () => [{ from: target, to: "caller" }];

test("a whole network carries both ways", async () => {
  const caller = await Caller.connect();
  await caller.says("one");
  await caller.says("two");
});

test("refuse: resets what there is and refuses what comes, until it is healed", async () => {
  const caller = await Caller.connect();
  await caller.says("one");
  network.cut(out(), "refuse");
  await waitUntil(() => caller.isClosed, { deadlineMs: 60_000, what: "the reset" });
  await expect(Caller.connect()).rejects.toThrow(/hang up|reset/i);
  network.heal();
  await (await Caller.connect()).says("again");
});

test("refuse: the other direction is not concerned", async () => {
  const caller = await Caller.connect();
  network.cut(back(), "refuse");
  await caller.says("one");
  await (await Caller.connect()).says("two");
});

test("swallow: what is sent waits and nobody is told; it arrives after the cut", async () => {
  const caller = await Caller.connect();
  await caller.says("one");
  network.cut(out(), "swallow");
  caller.socket.write("two");
  await moment();
  expect(arrived).toBe("one");
  expect(caller.isClosed).toBe(false);
  network.heal();
  await waitUntil(() => arrived === "onetwo", { deadlineMs: 60_000, what: "the rest" });
});

test("swallow: answers are lost too when their direction is cut", async () => {
  const caller = await Caller.connect();
  network.cut(back(), "swallow");
  caller.socket.write("one");
  await waitUntil(() => arrived === "one", { deadlineMs: 60_000, what: "the question" });
  await moment();
  expect(caller.answers).toBe("");
  network.heal();
  await waitUntil(() => caller.answers === "ONE", { deadlineMs: 60_000, what: "the answer" });
});

test("swallow: the other side does not hear of an end before the cut is over", async () => {
  const caller = await Caller.connect();
  await caller.says("one");
  let hasEnded = false;
  accepted[0]?.on("close", () => {
    hasEnded = true;
  });
  network.cut(out(), "swallow");
  caller.socket.resetAndDestroy();
  await moment();
  expect(hasEnded).toBe(false);
  network.heal();
  await waitUntil(() => hasEnded, { deadlineMs: 60_000, what: "the end" });
});

test("swallow: a connection is not made before the cut is over", async () => {
  network.cut(back(), "swallow");
  let isConnected = false;
  const connecting = Caller.connect().then((caller) => {
    isConnected = true;
    return caller;
  });
  await moment();
  expect(isConnected).toBe(false);
  network.heal();
  await (await connecting).says("late");
});
