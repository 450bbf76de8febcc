/** Queues with a bound, in a simulated ring: who is refused, and what is dropped. */
import { beforeEach, describe, expect, test } from "vitest";
import { seeded } from "../../src/store/simulated-disk.js";
import { BrokerWorld, expected, message, numbered, sender, texts } from "./broker-world.js";

let ring: BrokerWorld;

beforeEach(async () => {
  ring = await BrokerWorld.form();
});

describe("queues that are full", () => {
  test("a queue that is full takes no more, until something is acknowledged", async () => {
    await ring.declare("work", { messagesMax: 3 });
    await ring.publish(0, numbered(1, 3, { routingKey: "work" }));
    const more = [message(4, { routingKey: "work" })];
    expect(await ring.publish(1, more)).toMatchObject({ kind: "refused", code: "full" });
    const { session } = await ring.open(0, "work", "alice", 1);
    await ring.must(0, () => session.acknowledge(session.entries));
    await ring.world.clock.advance(6_000);
    expect(await ring.publish(1, more)).toMatchObject({ kind: "taken", routed: 1 });
  });

  test("a full queue with drop-oldest takes all; its oldest die, as dead letters that say why", async () => {
    await ring.declare("gone", { messagesMax: 5, overflow: "drop-oldest" });
    await ring.declare("there");
    await ring.exchange("event", "fanout", ["gone", "there"]);
    for (let first = 1; first <= 21; first += 3) {
      const some = numbered(first, first + 2, { exchange: "event" });
      expect(await ring.publishFirmly(some)).toMatchObject({ kind: "taken", routed: 6 });
      await ring.world.clock.advance(2_000);
    }
    await ring.world.clock.advance(3_000);
    expect(texts(await ring.drain(1, "there"))).toEqual(expected(1, 21));
    expect(texts(await ring.drain(1, "gone"))).toEqual(expected(17, 21));
    const dead = await ring.drain(2, "gone.dead");
    expect(texts(dead)).toEqual(expected(1, 16));
    expect(dead.every(({ head }) => head.includes("why=overflow"))).toBe(true);
  });

  test("what somebody has at the moment is not dropped; octets are bounded as well", async () => {
    await ring.declare("gone", { octetsMax: 8_000, overflow: "drop-oldest", leaseMs: 600_000 });
    const dice = seeded(7);
    // Not to be compressed.
    const noise = () => Array.from({ length: 1_500 }, () => Math.floor(dice() * 36).toString(36));
    const large = (n: number) => message(n, { routingKey: "gone" }, `${n} ${noise().join("")}`);
    await ring.publish(0, [large(1)]);
    const { session } = await ring.open(0, "gone");
    await ring.publish(1, [large(2), large(3)]);
    await ring.publish(2, [large(4)]);
    await ring.world.clock.advance(3_000);
    const status = await ring.must(1, ({ operations }) =>
      operations.queueStatus({ name: "gone" }, sender("alice")),
    );
    if (!status.ok) throw new Error(status.why);
    expect(status.answer.octets).toBeLessThanOrEqual(8_000);
    expect(status.answer.leased).toBe(1);
    expect(await ring.must(0, () => session.acknowledge(session.entries))).toBe(true);
    const left = texts(await ring.drain(1, "gone"));
    const dead = texts(await ring.drain(1, "gone.dead"));
    expect([...dead, ...left].map((text) => Number.parseInt(text, 10))).toEqual([2, 3, 4]);
    expect(left.length).toBeGreaterThan(0);
    expect(dead.length).toBeGreaterThan(0);
  });

  test("the dead letters have a bound of their own: the oldest of them are deleted", async () => {
    await ring.declare("work", { messagesMax: 100 });
    await ring.declare("work.dead", { messagesMax: 3, overflow: "drop-oldest" });
    await ring.publish(0, numbered(1, 8, { routingKey: "work" }));
    const { shown } = await ring.open(0, "work");
    const rejected = await ring.must(0, ({ operations }) =>
      operations.settle({ queue: "work", reject: shown.map(({ uid }) => uid) }, sender("alice")),
    );
    expect(rejected).toEqual({ ok: true, answer: {} });
    await ring.world.clock.advance(3_000);
    expect(texts(await ring.drain(1, "work.dead"))).toEqual(expected(6, 8));
  });

  test("who sends to several queues is told which of them is full", async () => {
    await ring.declare("full", { messagesMax: 2 });
    await ring.declare("free");
    await ring.exchange("event", "fanout", ["full", "free"]);
    await ring.publish(0, numbered(1, 2, { exchange: "event" }));
    await ring.world.clock.advance(6_000);
    const refused = await ring.publish(0, [message(3, { exchange: "event" })]);
    expect(refused).toMatchObject({ kind: "refused", code: "full", why: "no room in full" });
  });

  test("twice as much as it may hold is refused, should its leader not get round to it", async () => {
    await ring.declare("gone", { messagesMax: 5, overflow: "drop-oldest" });
    await ring.publish(0, numbered(1, 10, { routingKey: "gone" }));
    const more = [message(11, { routingKey: "gone" })];
    const refused = await ring.publish(1, more);
    expect(refused).toMatchObject({ kind: "refused", code: "full", why: "no room in gone" });
    await ring.world.clock.advance(7_000);
    expect(await ring.publish(1, more)).toMatchObject({ kind: "taken", routed: 1 });
    expect(texts(await ring.drain(1, "gone")).at(-1)).toBe("m11");
  });
});
