/** Queues of a whole ring on simulated time, network and disks: consumers that compete, or come one after the other. */
import { beforeEach, describe, expect, test } from "vitest";
import { BrokerWorld, expected, message, numbered, sender, texts } from "./broker-world.js";

let ring: BrokerWorld;

beforeEach(async () => {
  ring = await BrokerWorld.form();
});

describe("queues", () => {
  test("competing consumers at different nodes: each message once, acknowledged for good", async () => {
    await ring.declare("work");
    const outcome = await ring.publish(1, numbered(1, 50, { routingKey: "work" }));
    expect(outcome).toMatchObject({ kind: "taken", routed: 50, copiesWanted: 3 });
    const one = await ring.open(0, "work");
    const two = await ring.open(2, "work");
    expect(one.shown).toHaveLength(32);
    expect([...texts(one.shown), ...texts(two.shown)]).toEqual(expected(1, 50));
    await ring.must(0, () => one.session.acknowledge(one.session.entries));
    await ring.must(2, () => two.session.acknowledge(two.session.entries));
    const status = await ring.must(1, ({ operations }) =>
      operations.queueStatus({ name: "work" }, sender("alice")),
    );
    expect(status).toEqual({ ok: true, answer: { ready: 0, delayed: 0, leased: 0, octets: 0 } });
    expect(texts(await ring.drain(1, "work"))).toEqual([]);
  });

  test("what is not acknowledged comes again when its lease is over, and says so", async () => {
    await ring.declare("work", { leaseMs: 5_000 });
    await ring.publish(0, numbered(1, 2, { routingKey: "work" }));
    const { shown, session } = await ring.open(0, "work");
    expect(shown.map(({ redelivered }) => redelivered)).toEqual([0, 0]);
    await ring.must(0, () => session.close().then(() => true));
    expect((await ring.open(1, "work")).shown).toEqual([]);
    await ring.world.clock.advance(6_000);
    const again = await ring.open(1, "work");
    expect(texts(again.shown)).toEqual(["m1", "m2"]);
    expect(again.shown.map(({ redelivered }) => redelivered)).toEqual([1, 1]);
    expect(again.shown[0]?.head).toMatch(/^Ringpost-Redelivered: 1\r\n/);
  });

  test("what was not read is given back at the end of the session, not counted", async () => {
    await ring.declare("work");
    await ring.publish(0, numbered(1, 3, { routingKey: "work" }));
    const answer = await ring.must(0, (broker) => broker.openQueue("work", sender("alice").user));
    if (answer.kind !== "open") throw new Error(answer.kind);
    await ring.must(0, () => answer.session.close().then(() => true));
    const { shown } = await ring.open(2, "work");
    expect(texts(shown)).toEqual(["m1", "m2", "m3"]);
    expect(shown.map(({ redelivered }) => redelivered)).toEqual([0, 0, 0]);
  });

  test("a lease that is extended lasts; one that is given up comes after its delay", async () => {
    await ring.declare("work", { leaseMs: 5_000 });
    await ring.publish(0, numbered(1, 2, { routingKey: "work" }));
    const { shown } = await ring.open(0, "work");
    const [first = "", second = ""] = shown.map(({ uid }) => uid);
    const settled = await ring.must(1, ({ operations }) =>
      operations.settle(
        {
          queue: "work",
          extend: [{ entry: first, ms: 20_000 }],
          nack: [{ entry: second, delayMs: 8_000 }],
        },
        sender("alice"),
      ),
    );
    expect(settled).toEqual({ ok: true, answer: {} });
    await ring.world.clock.advance(7_000);
    expect(texts((await ring.open(1, "work")).shown)).toEqual([]);
    await ring.world.clock.advance(2_000);
    expect(texts((await ring.open(1, "work")).shown)).toEqual(["m2"]);
    await ring.world.clock.advance(12_000);
    expect(texts((await ring.open(1, "work")).shown)).toContain("m1");
  });

  test("priority first, then order; what is delayed waits; what is past its time is dead", async () => {
    await ring.declare("work");
    const at = ring.nowMs;
    const to = { routingKey: "work" };
    await ring.publish(0, [
      message(1, to),
      message(2, { ...to, priority: 9 }),
      message(3, { ...to, deliverAtMs: at + 60_000 }),
      message(4, { ...to, expiresAtMs: at + 30_000 }),
      message(5, { ...to, priority: 0 }),
      message(6, to),
    ]);
    const answer = await ring.open(0, "work");
    expect(texts(answer.shown)).toEqual(["m2", "m1", "m4", "m6", "m5"]);
    const keep = answer.session.entries.filter((_, index) => index !== 2);
    await ring.must(0, () => answer.session.acknowledge(keep));
    await ring.world.clock.advance(40_000);
    expect(texts((await ring.open(0, "work")).shown)).toEqual([]);
    await ring.world.clock.advance(25_000);
    expect(texts(await ring.drain(0, "work"))).toEqual(["m3"]);
    const dead = await ring.open(1, "work.dead");
    expect(texts(dead.shown)).toEqual(["m4"]);
    expect(dead.shown[0]?.head).toContain("Ringpost-Dead: queue=work; ");
    expect(dead.shown[0]?.head).toContain("why=expired");
  });

  test("rejected, and handed out too often: dead letters, and back by redrive", async () => {
    await ring.declare("work", { leaseMs: 1_000, deliveriesMax: 2 });
    await ring.publish(0, numbered(1, 2, { routingKey: "work" }));
    const { shown } = await ring.open(0, "work");
    const reject = [shown[0]?.uid ?? ""];
    const rejected = await ring.must(2, ({ operations }) =>
      operations.settle({ queue: "work", reject }, sender("alice")),
    );
    expect(rejected).toEqual({ ok: true, answer: {} });
    await ring.world.clock.advance(1_500);
    expect(texts((await ring.open(1, "work")).shown)).toEqual(["m2"]);
    await ring.world.clock.advance(3_000);
    expect(texts((await ring.open(1, "work")).shown)).toEqual([]);
    const dead = await ring.open(1, "work.dead");
    expect(texts(dead.shown).sort()).toEqual(["m1", "m2"]);
    expect(dead.shown.map(({ head }) => /why=(\w+)/.exec(head)?.[1]).sort()).toEqual([
      "deliveries",
      "rejected",
    ]);
    const moved = await ring.must(1, ({ operations }) =>
      operations.redrive({ queue: "work" }, sender("alice")),
    );
    expect(moved).toEqual({ ok: true, answer: { moved: 2 } });
    expect(texts(await ring.drain(0, "work"))).toEqual(["m1", "m2"]);
    await ring.world.clock.advance(40_000);
    expect(texts((await ring.open(2, "work.dead")).shown)).toEqual([]);
  });

  test("an exclusive queue has one consumer at a time, who gets many messages in one mail", async () => {
    await ring.declare("mine", { exclusive: true });
    await ring.publish(0, numbered(1, 100, { routingKey: "mine" }));
    const { shown, session } = await ring.open(0, "mine");
    expect(shown).toHaveLength(1);
    expect(texts(shown)).toEqual(expected(1, 100));
    expect(shown[0]?.messages[0]?.origin).toEqual(sender("alice"));
    const other = await ring.must(1, (broker) => broker.openQueue("mine", sender("alice").user));
    expect(other.kind).toBe("inUse");
    await ring.must(0, () => session.acknowledge(session.entries));
    await ring.must(0, () => session.close().then(() => true));
    // Who finds nothing keeps nobody away, and has nothing to come later.
    const idle = await ring.open(1, "mine");
    expect(texts(idle.shown)).toEqual([]);
    await ring.publish(0, numbered(101, 102, { routingKey: "mine" }));
    const next = await ring.open(2, "mine");
    expect(texts(next.shown)).toEqual(expected(101, 102));
    await ring.must(1, () => idle.session.close().then(() => true));
    const again = await ring.must(1, (broker) => broker.openQueue("mine", sender("alice").user));
    expect(again.kind).toBe("inUse");
  });
});

describe("an exclusive queue keeps its order", () => {
  const show = async (index: number) => {
    const alice = sender("alice").user;
    const open = () =>
      ring.must(index, (broker) => broker.openQueue("mine", alice, undefined, true));
    const answer = await open();
    if (answer.kind !== "open") throw new Error(answer.kind);
    return answer.session;
  };
  const two = async (from: number): Promise<void> => {
    for (const n of [from, from + 1]) {
      await ring.publish(0, numbered(n, n, { routingKey: "mine" }));
    }
  };

  test("when its consumer is cut off or dies: nothing passes what may not have reached it", async () => {
    await ring.declare("mine", { exclusive: true });
    await two(1);
    const first = await show(0);
    await ring.read(0, first, first.entries[0] as (typeof first.entries)[number]);
    await ring.must(0, () => first.close().then(() => true));
    await two(3);
    const again = await show(1);
    const shown = [];
    for (const entry of again.entries) shown.push(await ring.read(1, again, entry));
    expect(texts(shown)).toEqual(expected(1, 4));
    expect(shown.map(({ redelivered }) => redelivered)).toEqual([1, 0, 0, 0]);
    await ring.must(1, () => again.acknowledge(again.entries.slice(0, 3)));
    await ring.must(1, () => again.close().then(() => true));
    expect((await show(2)).entries).toHaveLength(1);
  });

  test("however often it is looked at, only what is read counts as handed out", async () => {
    await ring.declare("mine", { exclusive: true, deliveriesMax: 2 });
    await two(1);
    for (let round = 0; round < 10; round += 1) {
      const session = await show(round % 3);
      expect(session.entries).toHaveLength(2);
      await ring.must(0, () => session.close().then(() => true));
    }
  });
});
