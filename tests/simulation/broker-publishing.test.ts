/** Publishers that repeat themselves through any node of a simulated ring, while members die. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Frame } from "../../src/ebm/index.js";
import { queueMailbox } from "../../src/mailbox/folders.js";
import { brokerLimits } from "../../src/middleware/broker/limits.js";
import {
  BrokerWorld,
  expected,
  message,
  numbered,
  packetOf,
  sender,
  texts,
} from "./broker-world.js";

let ring: BrokerWorld;

beforeEach(async () => {
  ring = await BrokerWorld.form();
});

describe("publishing", () => {
  const queues = ["q1", "q2", "mine"];

  async function eventToAll(): Promise<void> {
    await ring.declare("q1");
    await ring.declare("q2");
    await ring.declare("mine", { exclusive: true });
    await ring.exchange("event", "topic", queues);
  }

  async function each(of: readonly string[]): Promise<void> {
    for (const queue of queues) {
      const got = texts(await ring.drain(1, queue));
      expect(got, queue).toEqual(of);
    }
  }

  test("the same packet through all nodes at once, and again later: one copy each", async () => {
    await eventToAll();
    const frames = numbered(1, 5, { exchange: "event", routingKey: "a.b" });
    const one = sender("alice");
    const work = [0, 1, 2].map((index) =>
      ring.begin(index, (broker) => broker.publish({ ...packetOf(frames) }, one)),
    );
    const outcomes = await ring.world.clock.until(Promise.all(work), 60_000);
    expect(outcomes.some((outcome) => outcome?.kind === "taken")).toBe(true);
    for (const index of [2, 0, 1]) {
      expect(await ring.publish(index, frames)).toMatchObject({ kind: "taken" });
    }
    await each(expected(1, 5));
    // Also when all of it was consumed.
    expect(await ring.publish(0, frames)).toMatchObject({ kind: "taken" });
    await each([]);
  });

  test("too early is sent away; what overlaps is taken from where it is new", async () => {
    await eventToAll();
    const to = { exchange: "event", routingKey: "x" };
    expect(await ring.publish(0, numbered(2, 3, to))).toEqual({
      kind: "early",
      expected: { main: 1 },
    });
    expect(await ring.publish(0, numbered(1, 3, to))).toMatchObject({ kind: "taken" });
    expect(await ring.publish(1, numbered(2, 5, to))).toMatchObject({ kind: "taken" });
    expect(await ring.publish(2, numbered(1, 2, to))).toMatchObject({ kind: "taken", routed: 0 });
    await each(expected(1, 5));
  });

  test("blocks of one message: in order, to the queues of the first block", async () => {
    await ring.declare("mine", { exclusive: true });
    await ring.declare("late", { exclusive: true });
    await ring.exchange("event", "fanout", ["mine"]);
    const whole = message(1, { exchange: "event" }, "abcdefghij");
    const block = (from: number, to: number) => ({
      ...whole,
      offset: from,
      octets: whole.octets.subarray(from, to),
      digest: "d",
    });
    expect(await ring.publish(0, [block(0, 4)])).toMatchObject({ kind: "taken" });
    await ring.must(0, ({ operations }) =>
      operations.bind({ exchange: "event", queue: "late" }, sender("alice")),
    );
    expect(await ring.publish(1, [block(6, 10)])).toEqual({ kind: "early", expected: { main: 1 } });
    // Cut otherwise than before: what overlaps is taken once.
    expect(await ring.publish(2, [block(2, 10)])).toMatchObject({ kind: "taken" });
    const shown = await ring.drain(1, "mine");
    expect(texts(shown).join("")).toBe("abcdefghij");
    expect(texts(await ring.drain(1, "late"))).toEqual([]);
    // One that is given up half-way: who waits for the rest hears of it, once, with whatever comes next.
    const part = { ...message(2, { exchange: "event" }, "abcdefgh"), octets: Buffer.from("abc") };
    expect(await ring.publish(0, [part])).toMatchObject({ kind: "taken" });
    const dead: Frame = {
      ...{ kind: "ack", connection: "c", cumulative: 0, ranges: [], windowOctets: 0 },
      ...{ pollMs: 0, consumed: {}, dead: [["main", 1, 2]] },
    };
    const elsewhere = message(1, { exchange: "event", stream: "other" }, "x");
    const next = [dead, elsewhere];
    expect(await ring.publish(1, next)).toMatchObject({ kind: "taken" });
    expect(await ring.publish(2, next)).toMatchObject({ kind: "taken" });
    const seen = async () =>
      (await ring.drain(1, "mine"))
        .flatMap(({ messages }) => messages)
        .map((one) => [one.stream, one.sequence, one.void === true, `${one.octets}`]);
    const half = ["main", 2, false, "abc"];
    expect(await seen()).toEqual([half, ["other", 1, false, "x"], ["main", 2, true, ""]]);
    // Or with what comes behind it.
    const more = { ...message(3, { exchange: "event" }, "abcdefgh"), octets: Buffer.from("ab") };
    expect(await ring.publish(0, [more])).toMatchObject({ kind: "taken" });
    const frames = [{ ...dead, dead: [["main", 3]] } as Frame, message(4, { exchange: "event" })];
    expect(await ring.publish(2, frames)).toMatchObject({ kind: "taken" });
    const void3 = ["main", 3, true, ""];
    expect(await seen()).toEqual([["main", 3, false, "ab"], void3, ["main", 4, false, "m4"]]);
    await ring.declare("work");
    const parts = { ...message(5, { routingKey: "work" }, "abcd"), octets: Buffer.from("ab") };
    expect(await ring.publish(0, [parts])).toMatchObject({ kind: "refused", code: "tooLarge" });
  });

  // The front node dies so many milliseconds after the mail came: at every step of its work.
  test.each(Array.from({ length: 14 }, (_, i) => 4 + i * 8))(
    "the front node dies after %i ms; the client repeats itself: once, in order",
    async (diesAfterMs) => {
      await eventToAll();
      const to = { exchange: "event", routingKey: "x" };
      await ring.publishFirmly(numbered(1, 3, to));
      const frames = numbered(4, 7, to);
      const dying = ring.begin(0, (broker) => broker.publish(packetOf(frames), sender("alice")));
      await ring.world.clock.advance(diesAfterMs);
      ring.world.crash(ring.member(0), "power");
      await dying;
      expect(await ring.publishFirmly(frames, sender("alice"), [1, 2])).toMatchObject({
        kind: "taken",
      });
      ring.world.restart(ring.member(0));
      await ring.world.clock.advance(5_000);
      expect(await ring.publishFirmly(numbered(8, 9, to))).toMatchObject({ kind: "taken" });
      await each(expected(1, 9));
    },
  );

  test.each(Array.from({ length: 14 }, (_, i) => 4 + i * 8))(
    "the front node dies after %i ms; the client cuts its packet otherwise: nothing is lost",
    async (diesAfterMs) => {
      await eventToAll();
      const to = { exchange: "event", routingKey: "x" };
      const dying = ring.begin(0, (broker) =>
        broker.publish(packetOf(numbered(1, 6, to)), sender("alice")),
      );
      await ring.world.clock.advance(diesAfterMs);
      ring.world.crash(ring.member(0), "power");
      await dying;
      for (const frames of [numbered(1, 2, to), numbered(3, 6, to), numbered(7, 7, to)]) {
        const outcome = await ring.publishFirmly(frames, sender("alice"), [1, 2]);
        expect(outcome).toMatchObject({ kind: "taken" });
      }
      ring.world.restart(ring.member(0));
      await ring.world.clock.advance(8_000);
      await each(expected(1, 7));
    },
  );

  test.each(Array.from({ length: 14 }, (_, i) => 20 + i * 8))(
    "the front node dies after %i ms; the client leaves out a stream, and sends it later: each once, in order",
    async (diesAfterMs) => {
      await eventToAll();
      const to = { exchange: "event", routingKey: "x" };
      const textOf = (stream: string, n: number): string => `${stream}${n}`;
      const of = (stream: string, from: number, count: number) =>
        Array.from({ length: count }, (_, i) =>
          message(from + i, { ...to, stream }, textOf(stream, from + i)),
        );
      const both = [...of("a", 1, 2), ...of("b", 1, 2)];
      const dying = ring.begin(0, (broker) => broker.publish(packetOf(both), sender("alice")));
      await ring.world.clock.advance(diesAfterMs);
      ring.world.crash(ring.member(0), "power");
      await dying;
      const rest = [of("c", 1, 1), of("a", 1, 3), of("b", 1, 1), of("b", 2, 2)];
      for (const frames of rest) {
        let outcome = await ring.publish(1, frames);
        for (let tries = 0; outcome?.kind !== "taken" && tries < 40; tries += 1) {
          await ring.world.clock.advance(5_000);
          outcome = await ring.publish(1 + (tries % 2), frames);
        }
        expect(outcome).toMatchObject({ kind: "taken" });
      }
      ring.world.restart(ring.member(0));
      await ring.world.clock.advance(8_000);
      for (const queue of queues) {
        const got = texts(await ring.drain(1, queue));
        expect(got.toSorted(), queue).toEqual(["a1", "a2", "a3", "b1", "b2", "b3", "c1"]);
        for (const stream of ["a", "b"]) {
          const own = got.filter((text) => text.startsWith(stream));
          expect(own, queue).toEqual([1, 2, 3].map((n) => textOf(stream, n)));
        }
      }
    },
  );

  /** What the ring still holds for a queue, of whichever making of it. */
  const held = (queue: string) =>
    ring.member(0).life?.replication.usageOf(queueMailbox(queue, "ring.test"));

  test("an intention carried out in part, then cut otherwise: each copy once", async () => {
    await eventToAll();
    const to = { exchange: "event", routingKey: "x" };
    ring.refusing.add(queueMailbox("mine", "ring.test"));
    const first = await ring.publish(0, numbered(1, 4, to));
    expect(first).toMatchObject({ kind: "refused", code: "undecided" });
    // What comes after it has to wait: nobody knows yet that it is stored.
    const next = await ring.publish(0, numbered(5, 5, to));
    expect(next).toMatchObject({ kind: "refused", code: "undecided" });
    ring.refusing.clear();
    for (const frames of [numbered(1, 2, to), numbered(3, 4, to), numbered(5, 5, to)]) {
      expect(await ring.publishFirmly(frames)).toMatchObject({ kind: "taken" });
    }
    await each(expected(1, 5));
  });

  test("an intention carried out in part, then the same packet: each copy once", async () => {
    await eventToAll();
    const to = { exchange: "event", routingKey: "x" };
    ring.refusing.add(queueMailbox("mine", "ring.test"));
    const frames = numbered(1, 4, to);
    expect(await ring.publish(0, frames)).toMatchObject({ kind: "refused", code: "undecided" });
    // Consumed where it is there; that must not come again.
    expect(texts(await ring.drain(2, "q1"))).toEqual(expected(1, 4));
    ring.refusing.clear();
    expect(await ring.publish(1, frames)).toMatchObject({ kind: "taken", routed: 12 });
    expect(texts(await ring.drain(2, "q1"))).toEqual([]);
    expect(texts(await ring.drain(2, "q2"))).toEqual(expected(1, 4));
    expect(texts(await ring.drain(2, "mine"))).toEqual(expected(1, 4));
  });

  test("a packet of which a part is taken is undecided until all of it is, however full it gets", async () => {
    await ring.declare("one");
    await ring.declare("two", { messagesMax: 2 });
    const [one, two] = [{ routingKey: "one" }, { routingKey: "two" }];
    // More copies than one step has, so that what goes to the second queue is of a step of its own.
    const frames = [...numbered(1, brokerLimits.copiesPerStepMax, one)];
    const last = brokerLimits.copiesPerStepMax + 1;
    frames.push(message(last, two));
    ring.refusing.add(queueMailbox("one", "ring.test"));
    expect(await ring.publish(0, frames)).toMatchObject({ code: "undecided" });
    ring.refusing.clear();
    const others = numbered(1, 2, two);
    expect(await ring.publish(0, others, sender("alice", 1, "d2"))).toMatchObject({
      kind: "taken",
    });
    await ring.world.clock.advance(6_000);
    expect(await ring.publish(0, frames)).toMatchObject({ kind: "refused", code: "undecided" });
    expect(texts(await ring.drain(1, "two"))).toEqual(["m1", "m2"]);
    await ring.world.clock.advance(6_000);
    expect(await ring.publishFirmly(frames)).toMatchObject({ kind: "taken" });
    expect(texts(await ring.drain(1, "two"))).toEqual([`m${last}`]);
    expect(texts(await ring.drain(1, "one"))).toEqual(expected(1, last - 1));
  });

  test("a packet of more than a queue holds is taken as there is room, in order and once", async () => {
    await ring.declare("work", { messagesMax: 5 });
    const frames = numbered(1, 12, { routingKey: "work" });
    const got: string[] = [];
    for (let attempt = 0; attempt < 20 && got.length < 12; attempt += 1) {
      const outcome = await ring.publish(attempt % 3, frames);
      // Nothing at all was taken, or else that is not known.
      if (attempt === 0) expect(outcome).toMatchObject({ kind: "refused", code: "undecided" });
      got.push(...texts(await ring.drain(1, "work")));
      await ring.world.clock.advance(6_000);
    }
    expect(got).toEqual(expected(1, 12));
    expect(await ring.publishFirmly(frames)).toMatchObject({ kind: "taken" });
    expect(texts(await ring.drain(1, "work"))).toEqual([]);
  });

  test("what a former queue of the name left is neither shown nor kept", async () => {
    await ring.declare("work");
    await ring.publish(0, numbered(1, 3, { routingKey: "work" }));
    // A session that nobody can take the lock from: the removal can't empty the queue.
    const { life } = ring.member(1);
    if (!life) throw new Error("no life");
    const opened = await ring.must(1, () =>
      life.replication.openMaildrop(queueMailbox("work", "ring.test")),
    );
    if (opened.kind !== "open") throw new Error(opened.kind);
    await ring.remove("work");
    opened.maildrop.release();
    await ring.declare("work", {}, "bob");
    await ring.publish(0, [message(1, { routingKey: "work" }, "bob's")], sender("bob"));
    expect(texts((await ring.open(2, "work", "bob")).shown)).toEqual(["bob's"]);
    await ring.world.clock.advance(2_000);
    const usage = held("work");
    if (!usage) throw new Error("no life");
    expect(await ring.world.clock.until(usage, 5_000)).toMatchObject({ messages: 1 });
  });

  test("a binding that outlived its queue binds no later queue of the name", async () => {
    await ring.declare("work");
    await ring.exchange("event", "fanout", ["work"]);
    const { life } = ring.member(1);
    if (!life) throw new Error("no life");
    const { registers } = life.replication;
    const before = await ring.must(1, () => registers.read("exchange:event"));
    await ring.remove("work");
    // As if the member had died between the removal and that of the binding.
    if (before.kind !== "value") throw new Error(before.kind);
    const { value } = before;
    expect(value).toMatchObject({ bindings: [{ queue: "work" }] });
    await ring.must(1, () =>
      registers.change("exchange:event", () => ({ set: { value }, result: null })),
    );
    await ring.at(1, () => life.replication.announceChanged("exchange:event"));
    await ring.declare("work", {}, "bob");
    const published = await ring.publish(0, [message(1, { exchange: "event" })]);
    expect(published).toMatchObject({ kind: "taken", routed: 0 });
  });

  test("ids rise along a flow, though the nodes' clocks are apart", async () => {
    ring.member(0).skewMs = 3_600_000;
    ring.member(2).skewMs = -3_600_000;
    await ring.declare("work");
    for (let n = 1; n <= 9; n += 1) {
      const outcome = await ring.publish(n % 3, [message(n, { routingKey: "work" })]);
      expect(outcome).toMatchObject({ kind: "taken" });
    }
    expect(texts(await ring.drain(0, "work"))).toEqual(expected(1, 9));
  });

  test("a later epoch of the device begins anew; an earlier one is over", async () => {
    await ring.declare("work");
    const frames = [message(1, { routingKey: "work" })];
    expect(await ring.publish(0, frames, sender("alice", 5))).toMatchObject({ kind: "taken" });
    expect(await ring.publish(0, frames, sender("alice", 6))).toMatchObject({ routed: 1 });
    expect(await ring.publish(0, frames, sender("alice", 5))).toMatchObject({ code: "denied" });
    expect(texts(await ring.drain(0, "work"))).toEqual(["m1", "m1"]);
  });

  test("streams are apart from each other, whatever they are called", async () => {
    await ring.declare("work");
    const names = ["toString", "__proto__", "a", "main"];
    for (const stream of names) {
      const frames = [message(1, { routingKey: "work", stream }, `${stream} 1`)];
      expect(await ring.publish(0, frames)).toMatchObject({ kind: "taken", routed: 1 });
    }
    for (const stream of names) {
      const frames = [message(2, { routingKey: "work", stream }, `${stream} 2`)];
      expect(await ring.publish(1, frames)).toMatchObject({ kind: "taken", routed: 1 });
    }
    expect(texts(await ring.drain(0, "work"))).toHaveLength(8);
  });
});
