/** Settlements of several queues in one question, in a simulated ring: each has an outcome of its own, and keeps it. */
import { beforeEach, describe, expect, test } from "vitest";
import { queueMailbox } from "../../src/mailbox/folders.js";
import type { Settlement } from "../../src/ebm/index.js";
import { BrokerWorld, expected, message, numbered, sender, texts } from "./broker-world.js";

let ring: BrokerWorld;
const queues = ["one", "two", "three", "four"];

beforeEach(async () => {
  ring = await BrokerWorld.form();
  for (const queue of queues) await ring.declare(queue);
});

/** So many messages in each queue; some of them in hand, to be acknowledged. */
async function held(count: number, inHand: number): Promise<readonly Settlement[]> {
  const settlements: Settlement[] = [];
  for (const queue of queues) {
    const frames = numbered(1, count, { routingKey: queue, stream: queue });
    expect(await ring.publishFirmly(frames)).toMatchObject({ kind: "taken" });
    const { shown } = await ring.open(1, queue, "alice", inHand);
    expect(texts(shown)).toEqual(expected(1, inHand));
    settlements.push({ queue, ack: shown.map(({ uid }) => uid) });
  }
  return settlements;
}

const settle = (index: number, settlements: readonly Settlement[]) =>
  ring.at(index, ({ operations }) => operations.settle({ settlements }, sender("alice")));

/** How the settlements were answered, asked by alice. */
async function outcomes(index: number, settlements: readonly Settlement[]) {
  const answer = await settle(index, settlements);
  return answer?.ok ? answer.answer.done : answer;
}

/** All leases are over by then. */
const later = () => ring.world.clock.advance(40_000);

test("a queue without a majority, one that is not there and another's fail; the others are done", async () => {
  await ring.declare("bobs", {}, "bob");
  const settlements = await held(2, 2);
  ring.refusing.add(queueMailbox("two", "ring.test"));
  const asked = [...settlements, { queue: "nowhere" }, { queue: "bobs" }];
  const beganMs = ring.world.clock.nowMs;
  expect(await settle(0, asked)).toEqual({
    ...{ ok: true, answer: { done: [true, false, true, true, false, false] } },
  });
  // Nobody waits for as long as that queue is tried.
  expect(ring.world.clock.nowMs - beganMs).toBeLessThan(4_000);
  ring.refusing.clear();
  expect(await settle(2, settlements)).toMatchObject({
    answer: { done: [true, true, true, true] },
  });
  await later();
  for (const queue of queues) expect(texts(await ring.drain(0, queue))).toEqual([]);
});

test("what is said to be done is durable: no death of any member brings it back", async () => {
  const settlements = await held(3, 2);
  ring.refusing.add(queueMailbox("two", "ring.test"));
  const answer = await settle(0, settlements);
  expect(answer).toMatchObject({ answer: { done: [true, false, true, true] } });
  ring.refusing.clear();
  for (const member of ring.world.members) {
    ring.world.crash(member, "power");
    await ring.world.clock.advance(3_000);
    ring.world.restart(member);
    await ring.world.clock.advance(8_000);
  }
  await later();
  for (const queue of ["one", "three", "four"]) {
    expect(texts(await ring.drain(1, queue))).toEqual(["m3"]);
  }
  // What is not may be done or not, and is whole.
  expect(texts(await ring.drain(1, "two"))).toContain("m3");
});

describe.each([0, 1, 3, 10, 30, 100])("the member that works it off dies after %i ms", (ms) => {
  test("and the same is asked elsewhere: all is done, and nothing else", async () => {
    const settlements = await held(3, 2);
    const lost = ring.begin(0, ({ operations }) =>
      operations.settle({ settlements }, sender("alice")),
    );
    await ring.world.clock.advance(ms);
    ring.world.crash(ring.member(0), "power");
    await ring.world.clock.until(lost, 60_000);
    let left = settlements;
    for (let tries = 0; left.length > 0 && tries < 20; tries += 1) {
      const answer = await settle(1, left);
      const { done = [] } = answer?.ok ? answer.answer : {};
      left = left.filter((_, index) => done[index] !== true);
      await ring.world.clock.advance(200);
    }
    expect(left).toEqual([]);
    await later();
    for (const queue of queues) {
      await ring.publishFirmly(
        [message(4, { routingKey: queue, stream: queue })],
        undefined,
        [1, 2],
      );
      expect(texts(await ring.drain(2, queue))).toEqual(["m3", "m4"]);
    }
  });
});

test("of one queue twice, and once more by itself, is done once", async () => {
  const [first] = await held(2, 2);
  if (!first) throw new Error("no settlement");
  const twice = await settle(0, [first, first, { queue: "one", nack: [] }]);
  expect(twice).toEqual({ ok: true, answer: { done: [true, true, true] } });
  const alone = await ring.must(2, ({ operations }) => operations.settle(first, sender("alice")));
  expect(alone).toEqual({ ok: true, answer: {} });
  await later();
  expect(texts(await ring.drain(0, "one"))).toEqual([]);
  expect(texts(await ring.drain(0, "two"))).toEqual(["m1", "m2"]);
});

test("nobody settles in another's queue, whatever they settle in their own with it", async () => {
  await ring.declare("bobs", { leaseMs: 600_000 }, "bob");
  const bob = sender("bob");
  expect(
    await ring.publishFirmly(numbered(1, 4, { routingKey: "bobs", stream: "bobs" }), bob),
  ).toMatchObject({ kind: "taken" });
  const { shown } = await ring.open(2, "bobs", "bob", 4);
  const [ack = "", reject = "", nack = "", extend = ""] = shown.map(({ uid }) => uid);
  const [own = { queue: "one" }] = await held(2, 2);
  const others = {
    ...{ queue: "bobs", ack: [ack], reject: [reject] },
    ...{ nack: [{ entry: nack, delayMs: 0 }], extend: [{ entry: extend, ms: 1 }] },
  };
  expect(await outcomes(0, [others, own, others])).toEqual([false, true, false]);
  await ring.world.clock.advance(60_000);
  // All that bob had in hand he still has, and nobody else was handed any.
  expect(texts((await ring.open(1, "bobs", "bob")).shown)).toEqual([]);
  await ring.world.clock.advance(600_000);
  expect(texts(await ring.drain(1, "bobs", "bob"))).toEqual(expected(1, 4));
  expect(texts(await ring.drain(0, "one"))).toEqual([]);
});

test("a rejection is done when its dead letter is durable, of each queue by itself", async () => {
  for (const queue of queues) await ring.declare(`${queue}.dead`);
  const acks = await held(2, 1);
  const rejects = acks.map(({ queue, ack = [] }) => ({ queue, reject: ack }));
  ring.refusing.add(queueMailbox("two.dead", "ring.test"));
  expect(await outcomes(1, rejects)).toEqual([true, false, true, true]);
  for (const member of ring.world.members) ring.world.crash(member, "power");
  await ring.world.clock.advance(1_000);
  ring.refusing.clear();
  for (const member of ring.world.members) ring.world.restart(member);
  await ring.world.clock.advance(20_000);
  for (const queue of ["one", "three", "four"]) {
    expect(texts(await ring.drain(0, `${queue}.dead`))).toEqual(["m1"]);
    expect(texts(await ring.drain(0, queue))).toEqual(["m2"]);
  }
  expect(texts(await ring.drain(0, "two"))).toEqual(["m1", "m2"]);
});
