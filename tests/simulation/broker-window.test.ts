/** Several packets of one device on their way to the broker at a time: they overtake, get lost, and members die. */
import { beforeEach, expect, test } from "vitest";
import type { DataFrame } from "../../src/ebm/index.js";
import type { PublishOutcome } from "../../src/middleware/ports.js";
import { BrokerWorld, message, packetOf, sender } from "./broker-world.js";

let ring: BrokerWorld;
const to = { exchange: "event" };

const numbered = (from: number, upTo: number, properties: object = to): DataFrame[] =>
  Array.from({ length: upTo - from + 1 }, (_, i) => message(from + i, properties));
const expected = (upTo: number): string[] => Array.from({ length: upTo }, (_, i) => `m${i + 1}`);

beforeEach(async () => {
  ring = await BrokerWorld.form();
  const alice = sender("alice");
  const declare = async (name: string, exclusive: boolean): Promise<void> => {
    const { ok } = await ring.must(0, ({ operations }) =>
      operations.declareQueue({ name, exclusive }, alice),
    );
    expect(ok).toBe(true);
    await ring.must(0, ({ operations }) =>
      operations.bind({ exchange: "event", queue: name }, alice),
    );
  };
  await ring.must(0, ({ operations }) =>
    operations.declareExchange({ name: "event", type: "fanout" }, alice),
  );
  await declare("mine", true);
  await declare("work", false);
});

type Sent = Promise<PublishOutcome | undefined>;
const until = <T>(work: Promise<T>): Promise<T> => ring.world.clock.until(work, 120_000);

/** All at once, a moment apart, on connections of their own to one node. */
async function burst(index: number, packets: readonly DataFrame[][], apartMs = 3): Promise<Sent[]> {
  const sent: Sent[] = [];
  for (const frames of packets) {
    sent.push(ring.begin(index, (broker) => broker.publish(packetOf(frames), sender("alice"))));
    await ring.world.clock.advance(apartMs);
  }
  return sent;
}

async function eachOnceInOrder(upTo: number): Promise<void> {
  const texts = async (queue: string) =>
    (await ring.drain(1, queue)).flatMap((shown) => shown.texts);
  expect(await texts("mine")).toEqual(expected(upTo));
  expect(await texts("work")).toEqual(expected(upTo));
}

const four = (from = 0): DataFrame[][] => [
  numbered(from + 1, from + 3),
  numbered(from + 4, from + 5),
  numbered(from + 6, from + 9),
  numbered(from + 10, from + 10),
];

test.each([[[0, 1, 2, 3]], [[3, 2, 1, 0]], [[2, 0, 3, 1]], [[1, 3, 0, 2]]])(
  "in whichever order they come (%j), all are taken in the order of the stream",
  async (order) => {
    // First when nobody has heard of the device, then through a node that has.
    for (const from of [0, 10]) {
      const packets = order.map((which) => four(from)[which] ?? []);
      const outcomes = await until(Promise.all(await burst(0, packets)));
      expect(outcomes.map((outcome) => outcome?.kind)).toEqual(Array(4).fill("taken"));
    }
    await eachOnceInOrder(20);
  },
);

test("one of four is lost: those behind it are told within seconds what is wanted", async () => {
  const [first = [], lost = [], ...behind] = four();
  const beganMs = ring.world.clock.nowMs;
  const outcomes = await until(Promise.all(await burst(0, [first, ...behind])));
  expect(ring.world.clock.nowMs - beganMs).toBeLessThan(3_000);
  const early = { kind: "early", expected: { main: 4 } };
  expect(outcomes).toEqual([expect.objectContaining({ kind: "taken" }), early, early]);
  for (const frames of [lost, ...behind]) {
    expect(await ring.publish(0, frames)).toMatchObject({ kind: "taken" });
  }
  await eachOnceInOrder(10);
});

test("one of four is refused: those behind it are told at once", async () => {
  const [first = [], , ...behind] = four();
  const forbidden = numbered(4, 5, { exchange: "none" });
  const packets = [behind[1] ?? [], behind[0] ?? [], first, forbidden];
  const beganMs = ring.world.clock.nowMs;
  const outcomes = await until(Promise.all(await burst(0, packets)));
  expect(ring.world.clock.nowMs - beganMs).toBeLessThan(1_500);
  const kinds = outcomes.map((outcome) => outcome?.kind);
  expect(kinds).toEqual(["early", "early", "taken", "refused"]);
});

test("more than may wait of one device are sent away at once, and nothing is lost", async () => {
  const behind = Array.from({ length: 20 }, (_, i) => numbered(i + 2, i + 2));
  const waiting = await burst(0, behind, 1);
  await ring.world.clock.advance(600);
  let answered = 0;
  for (const sent of waiting) void sent.then(() => (answered += 1));
  await ring.world.clock.advance(1);
  expect(answered).toBe(4);
  expect(await ring.publish(0, numbered(1, 1))).toMatchObject({ kind: "taken" });
  const outcomes = await until(Promise.all(waiting));
  expect(outcomes.filter((outcome) => outcome?.kind === "taken")).toHaveLength(16);
});

test("while packets go through another node, what this one knew of the flow does no harm", async () => {
  for (let n = 1; n <= 12; n += 2) {
    expect(await ring.publish(0, numbered(n, n))).toMatchObject({ kind: "taken" });
    expect(await ring.publish(1 + (n % 2), numbered(n + 1, n + 1))).toMatchObject({
      kind: "taken",
    });
  }
  // Known to be over, elsewhere.
  expect(await ring.publish(0, numbered(11, 12))).toMatchObject({ kind: "taken", routed: 0 });
  expect(await ring.publish(0, numbered(14, 14))).toEqual({
    kind: "early",
    expected: { main: 13 },
  });
  await eachOnceInOrder(12);
});

// The node dies so many milliseconds after the last of them came: at every step of their work.
test.each(Array.from({ length: 24 }, (_, i) => 2 + i * 7))(
  "the node dies after %i ms with four on their way; the client goes on from the first: once, in order",
  async (diesAfterMs) => {
    expect(await ring.publishFirmly(numbered(1, 2))).toMatchObject({ kind: "taken" });
    const packets = four(2);
    const dying = await burst(
      0,
      [packets[1], packets[0], packets[3], packets[2]].map((p) => p ?? []),
      1,
    );
    await ring.world.clock.advance(diesAfterMs);
    ring.world.crash(ring.member(0), "power");
    const outcomes = await until(Promise.all(dying));
    // What was answered was answered in order.
    const inOrder = [outcomes[1], outcomes[0], outcomes[3], outcomes[2]];
    const answered = inOrder.filter((outcome) => outcome?.kind === "taken").length;
    expect(inOrder.slice(0, answered).map((outcome) => outcome?.kind)).toEqual(
      Array(answered).fill("taken"),
    );
    // Once more from the first that has no answer, cut as before or otherwise.
    const rest = packets.slice(answered);
    const again = diesAfterMs % 2 === 0 ? rest : [rest.flat().slice(0, 1), rest.flat().slice(1)];
    for (const frames of again.filter(({ length }) => length > 0)) {
      expect(await ring.publishFirmly(frames, sender("alice"), [1, 2])).toMatchObject({
        kind: "taken",
      });
    }
    ring.world.restart(ring.member(0));
    await ring.world.clock.advance(8_000);
    const last = await until(Promise.all(await burst(0, [numbered(14, 15), numbered(13, 13)])));
    expect(last.map((outcome) => outcome?.kind)).toEqual(["taken", "taken"]);
    await eachOnceInOrder(15);
  },
);
