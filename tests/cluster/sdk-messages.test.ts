/** What is said of a message when it is sent (TTL, priority, delay), and of what is handed out (leases). */
import { expect, test } from "vitest";
import type { Delivery, Message } from "../../src/sdk/index.js";
import { RingpostError } from "../../src/sdk/index.js";
import { ringOfFile } from "../support/ring-scope.js";
import { SdkClients, take, texts } from "../support/sdk-clients.js";
import { waitUntil, within } from "../support/wait.js";

const ring = ringOfFile({ members: 3, args: ["--registration", "open"] });
const clients = new SdkClients(() => ring);

/** The next one, in hand. */
async function next(consumer: AsyncIterable<Delivery>): Promise<Delivery> {
  const result = consumer[Symbol.asyncIterator]().next();
  const { value } = await within(result, 60_000, "a delivery");
  return value as Delivery;
}

test("TTL: what nobody consumed in time is not given out, it is with the dead letters", async () => {
  const { sdk, name } = await clients.user("owner");
  const jobs = await sdk.queue(`${name}.jobs`);
  const sentAtMs = Date.now();
  const short = await jobs.send("too late", { ttlMs: 1_500 });
  await short.delivered;
  await (await jobs.send("in time")).delivered;
  // Until its time is over: nothing tells of that, but the clock.
  await waitUntil(() => Date.now() > sentAtMs + 1_500, { deadlineMs: 60_000, what: "its time" });
  expect(texts(await take(jobs.consume(), 1))).toEqual(["in time"]);
  expect(texts(await take(jobs.deadLetters().consume(), 1))).toEqual(["too late"]);
  expect(await jobs.status()).toMatchObject({ ready: 0, delayed: 0, leased: 0 });
});

test("TTL: what could not be delivered in time fails its receipt, and is told as a dead letter", async () => {
  const { sdk } = await clients.user("sender");
  const dead: string[] = [];
  sdk.on("deadLetter", ({ id }) => dead.push(id));
  const receiver = clients.name("absent");
  await ring.addUsers([receiver]);
  // A mail server has it; nobody fetches it.
  const receipt = await sdk.send(receiver, "hello?", { ttlMs: 2_000 });
  await receipt.accepted;
  const failure = await receipt.delivered.catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(RingpostError);
  expect(failure).toMatchObject({ code: "dead" });
  expect(dead).toEqual([receipt.id]);
  const late = await clients.login(receiver);
  const after = await sdk.send(receiver, "still there?");
  expect(texts(await take(late.inbox(), 1))).toEqual(["still there?"]);
  await after.consumed;
});

test("priority: the more urgent ones first, in order among equals", async () => {
  const { sdk, name } = await clients.user("owner");
  const jobs = await sdk.queue(`${name}.jobs`);
  for (const [body, priority] of [
    ["low 1", 1],
    ["plain", undefined],
    ["high 1", 9],
    ["low 2", 1],
    ["high 2", 9],
  ] as const) {
    const receipt = await jobs.send(body, priority === undefined ? {} : { priority });
    await receipt.delivered;
  }
  const taken = await take(jobs.consume({ prefetch: 1 }), 5);
  expect(texts(taken)).toEqual(["high 1", "high 2", "plain", "low 1", "low 2"]);
});

test("delay: not handed out before its time, and others pass it; nack with a delay as well", async () => {
  const { sdk, name } = await clients.user("owner");
  const jobs = await sdk.queue(`${name}.jobs`);
  const delayMs = 3_000;
  const sentAtMs = Date.now();
  await (await jobs.send("later", { delayMs })).delivered;
  await (await jobs.send("now")).delivered;
  const order: [string, number][] = [];
  for await (const delivery of jobs.consume()) {
    order.push([delivery.text(), Date.now() - sentAtMs]);
    if (order.length < 3 && delivery.text() === "later") await delivery.nack({ delayMs });
    else await delivery.ack();
    if (order.length === 3) break;
  }
  expect(order.map(([text]) => text)).toEqual(["now", "later", "later"]);
  const [, first = 0, again = 0] = order.map(([, ms]) => ms);
  expect(first).toBeGreaterThanOrEqual(delayMs);
  expect(again - first).toBeGreaterThanOrEqual(delayMs - 50);
});

test("a lease runs out while nobody says working(); who says it keeps the message", async () => {
  const owner = await clients.user("owner");
  const other = await clients.user("other", { first: ring.member(2) });
  const leaseMs = 2_000;
  const options = { leaseMs, consumers: [owner.id, other.id] };
  const jobs = await owner.sdk.queue(`${owner.name}.jobs`, options);
  const rivals = await other.sdk.queue(`${owner.name}.jobs`, options);
  await (await jobs.send("kept")).delivered;
  const own = jobs.consume({ prefetch: 1 });
  const kept = await next(own);

  // Kept over three leases, while the other one looks for work all the time.
  const rival = rivals.consume({ prefetch: 1 });
  const waiting = next(rival);
  let isTaken = false;
  void waiting.then(() => (isTaken = true));
  const untilMs = Date.now() + 3 * leaseMs;
  while (Date.now() < untilMs) {
    await kept.working();
    await jobs.status();
  }
  expect(isTaken).toBe(false);
  // From here on nobody says so: it is the other's, and its first consumer is late.
  const got = await waiting;
  expect([got.text(), got.redelivered > 0]).toEqual(["kept", true]);
  await got.ack();
  await kept.ack();
  expect(await jobs.status()).toMatchObject({ ready: 0, leased: 0 });
  await Promise.all([own.close(), rival.close()]);
});

test("drain() waits for receipts, then the client is closed; await using closes it, too", async () => {
  const receiver = await clients.user("receiver");
  const sender = await clients.user("sender");
  const states: string[] = [];
  sender.sdk.on("status", ({ state }) => states.push(state));
  const receipts = await Promise.all(
    Array.from({ length: 50 }, (_, n) => sender.sdk.send(receiver.name, String(n))),
  );
  let delivered = 0;
  for (const each of receipts) void each.delivered.then(() => (delivered += 1));
  const taking = take(receiver.sdk.inbox(), 50);
  await sender.sdk.drain();
  expect(delivered).toBe(50);
  expect(states.slice(-2)).toEqual(["draining", "closed"]);
  await expect(sender.sdk.send(receiver.name, "no more")).rejects.toMatchObject({ code: "closed" });
  expect(texts(await taking)).toEqual(Array.from({ length: 50 }, (_, n) => String(n)));

  let kept;
  {
    await using scoped = await clients.login(receiver.name);
    kept = scoped;
    expect(scoped.user).toBe(receiver.id);
  }
  await expect(kept.refresh()).rejects.toMatchObject({ code: "closed", retryable: false });
});

test("drain() past its deadline says so and leaves the rest in the store's journal", async () => {
  const { sdk } = await clients.user("sender");
  const nobody = clients.name("absent");
  await ring.addUsers([nobody]);
  await sdk.send(nobody, "waits");
  await expect(sdk.drain({ deadlineMs: 500 })).rejects.toMatchObject({
    code: "timeout",
    retryable: true,
  });
  await expect(sdk.send(nobody, "more")).rejects.toMatchObject({ code: "closed" });
});

test("redrive: dead letters go back, at most so many, and are handed out as before", async () => {
  const { sdk, name } = await clients.user("owner");
  const jobs = await sdk.queue(`${name}.jobs`, { deliveriesMax: 2 });
  expect(await jobs.redrive()).toBe(0);
  for (const body of ["a", "b", "c"]) await (await jobs.send(body)).delivered;
  let rejected = 0;
  for await (const job of jobs.consume()) {
    await job.reject("not today");
    rejected += 1;
    if (rejected === 3) break;
  }
  expect(await jobs.deadLetters().status()).toMatchObject({ ready: 3 });
  expect(await jobs.redrive({ max: 2 })).toBe(2);
  expect(await jobs.redrive()).toBe(1);
  expect(texts(await take(jobs.consume(), 3)).sort()).toEqual(["a", "b", "c"]);
  expect(await jobs.deadLetters().status()).toMatchObject({ ready: 0, leased: 0 });
});

test("a subscription before the event is there gets its first message, too", async () => {
  const reader = await clients.user("reader", { first: ring.member(1) });
  const writer = await clients.user("writer");
  const event = `${writer.name}.first`;
  const consumer = await reader.sdk.subscribe(event);
  await (await writer.sdk.publish(event, "one")).delivered;
  await (await writer.sdk.publish(event, "two")).delivered;
  expect(texts(await take(consumer, 2))).toEqual(["one", "two"]);
  // The subscriber does not own what it waited for.
  const receipt = await reader.sdk.publish(event, "mine");
  await expect(receipt.delivered).rejects.toMatchObject({ code: "dead" });
  await reader.sdk.unsubscribe(event);
});

test("once bound, whatever is published anywhere comes", async () => {
  const writer = await clients.user("writer");
  const event = await writer.sdk.createEvent(`${writer.name}.news`);
  const readers = await Promise.all(
    [0, 1, 2].map((index) => clients.user("reader", { first: ring.member(index) })),
  );
  const writers = await Promise.all(
    [0, 1, 2].map((index) => clients.login(writer.name, { first: ring.member(index) })),
  );
  const expected: string[][] = readers.map(() => []);
  const got: Promise<Message[]>[] = [];
  for (const [round, reader] of readers.entries()) {
    const consumer = await reader.sdk.subscribe(event.name);
    got.push(take(consumer, 3 * (readers.length - round)));
    for (const [index, each] of writers.entries()) {
      const body = `${round} through ${index}`;
      await (await each.publish(event.name, body)).delivered;
      for (const list of expected.slice(0, round + 1)) list.push(body);
    }
  }
  const all = await Promise.all(got);
  expect(all.map((messages) => texts(messages).sort())).toEqual(
    expected.map((list) => list.sort()),
  );
});
