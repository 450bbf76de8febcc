/**
 * The broker of a whole ring on simulated time, network and disks: publishers that repeat themselves
 * through any node, consumers that compete, and members that die in between.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { seeded } from "../../src/store/simulated-disk.js";
import type { MessageId } from "../../src/shared/ids.js";
import { queueMailbox } from "../../src/mailbox/folders.js";
import { brokerLimits } from "../../src/middleware/broker/limits.js";
import { BrokerWorld, message, sender } from "./broker-world.js";

let ring: BrokerWorld;

async function declare(name: string, options: object = {}, who = "alice"): Promise<void> {
  const outcome = await ring.must(0, ({ operations }) =>
    operations.declareQueue({ name, ...options }, sender(who)),
  );
  expect(outcome).toEqual({ ok: true, answer: {} });
}

async function exchange(name: string, type: "topic" | "fanout", queues: readonly string[]) {
  const { must } = ring;
  expect(
    await must.call(ring, 0, ({ operations }) =>
      operations.declareExchange({ name, type }, sender("alice")),
    ),
  ).toMatchObject({ ok: true });
  for (const queue of queues) {
    const ask = { exchange: name, queue, key: "#" };
    const bound = await ring.must(0, ({ operations }) => operations.bind(ask, sender("alice")));
    expect(bound).toMatchObject({ ok: true });
  }
}

/** Until it is gone, as a client does that is told to try again. */
async function remove(name: string, who = "alice"): Promise<void> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const outcome = await ring.must(0, ({ operations }) =>
      operations.removeQueue({ name }, sender(who)),
    );
    if (outcome.ok || outcome.code === "unknown") return;
  }
  throw new Error("not removed");
}

const numbered = (from: number, to: number, options: object) =>
  Array.from({ length: to - from + 1 }, (_, i) => message(from + i, options));
const texts = (shown: readonly { texts: readonly string[] }[]): string[] =>
  shown.flatMap((each) => each.texts);
const expected = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `m${from + i}`);

beforeEach(async () => {
  ring = await BrokerWorld.form();
});

describe("queues", () => {
  test("competing consumers at different nodes: each message once, acknowledged for good", async () => {
    await declare("work");
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
    await declare("work", { leaseMs: 5_000 });
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
    await declare("work");
    await ring.publish(0, numbered(1, 3, { routingKey: "work" }));
    const answer = await ring.must(0, (broker) => broker.openQueue("work", sender("alice").user));
    if (answer.kind !== "open") throw new Error(answer.kind);
    await ring.must(0, () => answer.session.close().then(() => true));
    const { shown } = await ring.open(2, "work");
    expect(texts(shown)).toEqual(["m1", "m2", "m3"]);
    expect(shown.map(({ redelivered }) => redelivered)).toEqual([0, 0, 0]);
  });

  test("a lease that is extended lasts; one that is given up comes after its delay", async () => {
    await declare("work", { leaseMs: 5_000 });
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
    await declare("work");
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
    await declare("work", { leaseMs: 1_000, deliveriesMax: 2 });
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

  test("a queue that is full takes no more, until something is acknowledged", async () => {
    await declare("work", { messagesMax: 3 });
    await ring.publish(0, numbered(1, 3, { routingKey: "work" }));
    const more = [message(4, { routingKey: "work" })];
    expect(await ring.publish(1, more)).toMatchObject({ kind: "refused", code: "full" });
    const { session } = await ring.open(0, "work", "alice", 1);
    await ring.must(0, () => session.acknowledge(session.entries));
    await ring.world.clock.advance(6_000);
    expect(await ring.publish(1, more)).toMatchObject({ kind: "taken", routed: 1 });
  });

  test("a full queue with drop-oldest takes all; its oldest die, as dead letters that say why", async () => {
    await declare("gone", { messagesMax: 5, overflow: "drop-oldest" });
    await declare("there");
    await exchange("event", "fanout", ["gone", "there"]);
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
    await declare("gone", { octetsMax: 8_000, overflow: "drop-oldest", leaseMs: 600_000 });
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
    await declare("work", { messagesMax: 100 });
    await declare("work.dead", { messagesMax: 3, overflow: "drop-oldest" });
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
    await declare("full", { messagesMax: 2 });
    await declare("free");
    await exchange("event", "fanout", ["full", "free"]);
    await ring.publish(0, numbered(1, 2, { exchange: "event" }));
    await ring.world.clock.advance(6_000);
    const refused = await ring.publish(0, [message(3, { exchange: "event" })]);
    expect(refused).toMatchObject({ kind: "refused", code: "full", why: "no room in full" });
  });

  test("twice as much as it may hold is refused, should its leader not get round to it", async () => {
    await declare("gone", { messagesMax: 5, overflow: "drop-oldest" });
    await ring.publish(0, numbered(1, 10, { routingKey: "gone" }));
    const more = [message(11, { routingKey: "gone" })];
    const refused = await ring.publish(1, more);
    expect(refused).toMatchObject({ kind: "refused", code: "full", why: "no room in gone" });
    await ring.world.clock.advance(7_000);
    expect(await ring.publish(1, more)).toMatchObject({ kind: "taken", routed: 1 });
    expect(texts(await ring.drain(1, "gone")).at(-1)).toBe("m11");
  });

  test("an exclusive queue has one consumer at a time, who gets many messages in one mail", async () => {
    await declare("mine", { exclusive: true });
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
    await declare("mine", { exclusive: true });
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
    await declare("mine", { exclusive: true, deliveriesMax: 2 });
    await two(1);
    for (let round = 0; round < 10; round += 1) {
      const session = await show(round % 3);
      expect(session.entries).toHaveLength(2);
      await ring.must(0, () => session.close().then(() => true));
    }
  });
});

describe("queues that are pushed", () => {
  /** What each member would send to the owner now. */
  const takeAll = async (queue: string) => {
    const taken: { readonly index: number; readonly texts: string[] }[] = [];
    for (const [index] of ring.world.members.entries()) {
      if (!ring.member(index).life?.up) continue;
      const batch = await ring.at(index, (broker) => broker.takeToPush(queue));
      if (!batch || batch.entries.length === 0) continue;
      taken.push({ index, texts: batch.entries.map(({ message: { id } }) => id) });
    }
    return taken;
  };

  test("one member sends them, and when it dies another one does", async () => {
    await declare("work", { push: true });
    await ring.publish(0, numbered(1, 10, { routingKey: "work" }));
    const [first, ...others] = await takeAll("work");
    expect([first?.texts.length, others]).toEqual([10, []]);
    const ack = first?.texts.slice(0, 4) ?? [];
    const settled = await ring.must((first?.index ?? 0) === 0 ? 1 : 0, ({ operations }) =>
      operations.settle({ queue: "work", ack }, sender("alice")),
    );
    expect(settled).toEqual({ ok: true, answer: {} });
    ring.world.crash(ring.member(first?.index ?? 0), "power");
    await ring.world.clock.advance(4_000);
    const [second, ...more] = await takeAll("work");
    expect(more).toEqual([]);
    expect(second?.index).not.toBe(first?.index);
    expect(second?.texts).toEqual(first?.texts.slice(4));
  });

  test("what the owner's server refuses comes again later, and of an exclusive queue in its place", async () => {
    await declare("work", { push: true, exclusive: true, leaseMs: 5_000 });
    await ring.publish(0, numbered(1, 2, { routingKey: "work" }));
    const [first] = await takeAll("work");
    const refused = (first?.texts ?? []).map((entry) => ({
      entry: entry as MessageId,
      ms: 20_000,
    }));
    expect(refused.length).toBeGreaterThan(0);
    await ring.must(first?.index ?? 0, (broker) =>
      broker.pushFailed("work", refused).then(() => true),
    );
    await ring.publish(0, numbered(3, 4, { routingKey: "work" }));
    await ring.world.clock.advance(10_000);
    expect(await takeAll("work")).toEqual([]);
    await ring.world.clock.advance(11_000);
    const [second] = await takeAll("work");
    expect(second?.texts.slice(0, refused.length)).toEqual(first?.texts);
    expect(second?.texts.length).toBeGreaterThan(refused.length);
  });

  test("what a settlement makes room for is told, and what comes back from the dead", async () => {
    await declare("work", { push: true });
    await ring.publish(0, numbered(1, 40, { routingKey: "work" }));
    const [first] = await takeAll("work");
    const woken: string[] = [];
    for (const [index] of ring.world.members.entries()) {
      ring.broker(index).onPush(({ queue, owner }) => woken.push(`${queue} of ${owner}`));
    }
    const reject = first?.texts ?? [];
    await ring.must(1, ({ operations }) =>
      operations.settle({ queue: "work", reject }, sender("alice")),
    );
    expect(woken).toContain("work of alice@ring.test");
    await takeAll("work");
    woken.length = 0;
    const moved = await ring.must(2, ({ operations }) =>
      operations.redrive({ queue: "work" }, sender("alice")),
    );
    expect(moved).toMatchObject({ ok: true, answer: { moved: reject.length } });
    expect(woken).toContain("work of alice@ring.test");
  });

  test("only by the word of their owners, who may change their mind; dead letters when they ask", async () => {
    await declare("work", { publishers: "everyone" });
    await ring.publish(0, numbered(1, 2, { routingKey: "work" }));
    await declare("work", { push: true, publishers: "everyone" }, "eve");
    expect(await takeAll("work")).toEqual([]);
    await declare("work", { push: true, publishers: "everyone" });
    await declare("work", { publishers: "everyone" }, "eve");
    const [taken] = await takeAll("work");
    const [first = "", second = ""] = taken?.texts ?? [];
    await ring.must(0, ({ operations }) =>
      operations.settle({ queue: "work", reject: [first], ack: [second] }, sender("alice")),
    );
    expect(await takeAll("work.dead")).toEqual([]);
    const woken: string[] = [];
    for (const [index] of ring.world.members.entries()) {
      ring.broker(index).onPush(({ queue }) => woken.push(queue));
    }
    await declare("work.dead", { push: true });
    await ring.world.clock.advance(300);
    expect(woken).toContain("work.dead");
    expect(await takeAll("work.dead")).toHaveLength(1);
    await declare("work", { publishers: "everyone" });
    const more = await ring.publish(0, numbered(3, 3, { routingKey: "work" }));
    expect(more).toMatchObject({ kind: "taken", routed: 1 });
    expect(await takeAll("work")).toEqual([]);
    expect((await ring.open(1, "work")).shown).toHaveLength(1);
  });
});

describe("the death of the leader", () => {
  test("is over in three seconds: what was acknowledged is gone, the rest comes again", async () => {
    await declare("work");
    await ring.publish(0, numbered(1, 10, { routingKey: "work" }));
    const { shown, session } = await ring.open(0, "work", "alice", 6);
    const done = session.entries.slice(0, 3);
    expect(await ring.must(0, () => session.acknowledge(done))).toBe(true);
    const leader = ring.world.members.findIndex((_, i) => ring.broker(i).leads("work"));
    expect(leader).toBeGreaterThanOrEqual(0);
    ring.world.crash(ring.member(leader), "power");
    const diedAtMs = ring.world.clock.nowMs;
    const survivor = (leader + 1) % 3;
    const after = await ring.open(survivor, "work");
    expect(ring.world.clock.nowMs - diedAtMs).toBeLessThan(3_000);
    const acknowledged = texts(shown.slice(0, 3));
    expect(texts(after.shown)).toEqual(
      expected(1, 10).filter((one) => !acknowledged.includes(one)),
    );
  });

  const leaderOf = (queue: string): number =>
    ring.world.members.findIndex((_, i) => ring.broker(i).leads(queue));

  test("one that is cut off from the others hands out nothing: it can't know that it still leads", async () => {
    await declare("work", { leaseMs: 600_000 });
    await ring.publish(0, numbered(1, 3, { routingKey: "work" }));
    await ring.open(0, "work", "alice", 1);
    const leader = leaderOf("work");
    const { network } = ring.world;
    const { addr } = ring.member(leader);
    const others = ring.world.members.filter((member) => member.addr !== addr);
    const mend = others.flatMap((other) => [
      network.cut(addr, other.addr),
      network.cut(other.addr, addr),
    ]);
    const cutOff = ring.begin(leader, (broker) => broker.openQueue("work", sender("alice").user));
    const answer = await ring.world.clock.until(cutOff, 60_000);
    expect(answer?.kind).toBe("tempfail");
    const next = await ring.open((leader + 1) % 3, "work");
    expect(texts(next.shown)).toEqual(expected(1, 3));
    for (const each of mend) each();
  });

  test("what it may have handed out says so; what comes later does not", async () => {
    await declare("work");
    await ring.publish(0, numbered(1, 3, { routingKey: "work" }));
    await ring.open(0, "work", "alice", 1);
    const leader = leaderOf("work");
    ring.world.crash(ring.member(leader), "power");
    const survivor = (leader + 1) % 3;
    const after = await ring.open(survivor, "work");
    expect(texts(after.shown)).toEqual(expected(1, 3));
    expect(after.shown.map(({ redelivered }) => redelivered)).toEqual([1, 1, 1]);
    await ring.publishFirmly([message(4, { routingKey: "work" })], sender("alice"), [survivor]);
    const later = await ring.open(survivor, "work");
    expect(later.shown.map(({ redelivered }) => redelivered)).toEqual([0]);
  });

  test("is not the end of the count: what kills its consumers becomes a dead letter all the same", async () => {
    await declare("work", { leaseMs: 1_000, deliveriesMax: 4 });
    await ring.publish(0, numbered(1, 1, { routingKey: "work" }));
    const seen: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      const up = ring.world.members.findIndex(({ life }) => life?.up && life.ready);
      for (let i = 0; i < 2; i += 1) {
        seen.push(...(await ring.open(up, "work")).shown.map(({ redelivered }) => redelivered));
        await ring.world.clock.advance(4_000);
      }
      const leader = leaderOf("work");
      ring.world.crash(ring.member(leader), "power");
      await ring.world.clock.advance(3_000);
      ring.world.restart(ring.member(leader));
      await ring.world.clock.advance(8_000);
    }
    expect(seen).toEqual([0, 1, 2, 3]);
    const dead = await ring.drain(0, "work.dead");
    expect(texts(dead)).toEqual(["m1"]);
    expect(dead[0]?.head).toContain("why=deliveries");
  });

  test("a leader that nobody needs leaves what it knows: nothing is said to come again that does not", async () => {
    await declare("work", { leaseMs: 1_000 });
    await ring.publish(0, numbered(1, 2, { routingKey: "work" }));
    await ring.open(0, "work", "alice", 1);
    expect(leaderOf("work")).toBeGreaterThanOrEqual(0);
    await ring.world.clock.advance(70_000);
    expect(leaderOf("work")).toBe(-1);
    const after = await ring.open(1, "work");
    expect(texts(after.shown)).toEqual(expected(1, 2));
    expect(after.shown.map(({ redelivered }) => redelivered)).toEqual([1, 0]);
  });

  test("a leader that was frozen deletes nothing and hands out nothing when it wakes", async () => {
    await declare("work");
    await ring.publish(0, numbered(1, 4, { routingKey: "work" }));
    await ring.open(0, "work", "alice", 1);
    const leader = ring.world.members.findIndex((_, i) => ring.broker(i).leads("work"));
    const frozen = ring.member(leader).life;
    frozen?.freeze();
    await ring.world.clock.advance(4_000);
    const next = await ring.open((leader + 1) % 3, "work");
    expect(texts(next.shown)).toEqual(expected(1, 4));
    frozen?.thaw();
    await ring.world.clock.advance(100);
    // Asked through the former leader, the present one answers: all is leased.
    expect((await ring.open(leader, "work")).shown).toEqual([]);
  });
});

describe("publishing", () => {
  const queues = ["q1", "q2", "mine"];

  async function eventToAll(): Promise<void> {
    await declare("q1");
    await declare("q2");
    await declare("mine", { exclusive: true });
    await exchange("event", "topic", queues);
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
      ring.begin(index, (broker) => broker.publish({ ...packet(frames) }, one)),
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
    await declare("mine", { exclusive: true });
    await declare("late", { exclusive: true });
    await exchange("event", "fanout", ["mine"]);
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
    await declare("work");
    const parts = { ...message(2, { routingKey: "work" }, "abcd"), octets: Buffer.from("ab") };
    expect(await ring.publish(0, [parts])).toMatchObject({ kind: "refused", code: "full" });
  });

  // The front node dies so many milliseconds after the mail came: at every step of its work.
  test.each(Array.from({ length: 14 }, (_, i) => 4 + i * 8))(
    "the front node dies after %i ms; the client repeats itself: once, in order",
    async (diesAfterMs) => {
      await eventToAll();
      const to = { exchange: "event", routingKey: "x" };
      await ring.publishFirmly(numbered(1, 3, to));
      const frames = numbered(4, 7, to);
      const dying = ring.begin(0, (broker) => broker.publish(packet(frames), sender("alice")));
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
        broker.publish(packet(numbered(1, 6, to)), sender("alice")),
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
    await declare("one");
    await declare("two", { messagesMax: 2 });
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
    await declare("work", { messagesMax: 5 });
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
    await declare("work");
    await ring.publish(0, numbered(1, 3, { routingKey: "work" }));
    // A session that nobody can take the lock from: the removal can't empty the queue.
    const { life } = ring.member(1);
    if (!life) throw new Error("no life");
    const opened = await ring.must(1, () =>
      life.replication.openMaildrop(queueMailbox("work", "ring.test")),
    );
    if (opened.kind !== "open") throw new Error(opened.kind);
    await remove("work");
    opened.maildrop.release();
    await declare("work", {}, "bob");
    await ring.publish(0, [message(1, { routingKey: "work" }, "bob's")], sender("bob"));
    expect(texts((await ring.open(2, "work", "bob")).shown)).toEqual(["bob's"]);
    await ring.world.clock.advance(2_000);
    const usage = held("work");
    if (!usage) throw new Error("no life");
    expect(await ring.world.clock.until(usage, 5_000)).toMatchObject({ messages: 1 });
  });

  test("a binding that outlived its queue binds no later queue of the name", async () => {
    await declare("work");
    await exchange("event", "fanout", ["work"]);
    const { life } = ring.member(1);
    if (!life) throw new Error("no life");
    const { registers } = life.replication;
    const before = await ring.must(1, () => registers.read("exchange:event"));
    await remove("work");
    // As if the member had died between the removal and that of the binding.
    if (before.kind !== "value") throw new Error(before.kind);
    const { value } = before;
    expect(value).toMatchObject({ bindings: [{ queue: "work" }] });
    await ring.must(1, () =>
      registers.change("exchange:event", () => ({ set: { value }, result: null })),
    );
    await ring.at(1, () => life.replication.announceChanged("exchange:event"));
    await declare("work", {}, "bob");
    const published = await ring.publish(0, [message(1, { exchange: "event" })]);
    expect(published).toMatchObject({ kind: "taken", routed: 0 });
  });

  test("ids rise along a flow, though the nodes' clocks are apart", async () => {
    ring.member(0).skewMs = 3_600_000;
    ring.member(2).skewMs = -3_600_000;
    await declare("work");
    for (let n = 1; n <= 9; n += 1) {
      const outcome = await ring.publish(n % 3, [message(n, { routingKey: "work" })]);
      expect(outcome).toMatchObject({ kind: "taken" });
    }
    expect(texts(await ring.drain(0, "work"))).toEqual(expected(1, 9));
  });

  test("a later epoch of the device begins anew; an earlier one is over", async () => {
    await declare("work");
    const frames = [message(1, { routingKey: "work" })];
    expect(await ring.publish(0, frames, sender("alice", 5))).toMatchObject({ kind: "taken" });
    expect(await ring.publish(0, frames, sender("alice", 6))).toMatchObject({ routed: 1 });
    expect(await ring.publish(0, frames, sender("alice", 5))).toMatchObject({ code: "denied" });
    expect(texts(await ring.drain(0, "work"))).toEqual(["m1", "m1"]);
  });

  test("streams are apart from each other, whatever they are called", async () => {
    await declare("work");
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

describe("who may what", () => {
  const as = (who: string) => sender(who);

  test("nobody but the owner, those who are named, or everyone", async () => {
    await declare("private");
    await declare("shared", { consumers: ["bob"], publishers: ["bob@ring.test"] });
    await declare("open", { consumers: "everyone", publishers: "everyone" });
    const frame = (queue: string) => [message(1, { routingKey: queue, stream: queue })];
    const outcomes: Record<string, unknown> = {};
    for (const who of ["bob", "eve"]) {
      for (const queue of ["private", "shared", "open"]) {
        const sent = await ring.publish(1, frame(queue), as(who));
        const opened = await ring.must(1, (broker) => broker.openQueue(queue, as(who).user));
        const code = sent?.kind === "refused" ? sent.code : sent?.kind;
        outcomes[`${who} ${queue}`] = [code, opened.kind];
        if (opened.kind === "open") await ring.at(1, () => opened.session.close());
      }
    }
    expect(outcomes).toEqual({
      "bob private": ["forbidden", "denied"],
      "bob shared": ["taken", "open"],
      "bob open": ["taken", "open"],
      "eve private": ["forbidden", "denied"],
      "eve shared": ["forbidden", "denied"],
      "eve open": ["taken", "open"],
    });
    const { operations } = ring.broker(0);
    for (const work of [
      () => operations.removeQueue({ name: "open" }, as("eve")),
      () => operations.settle({ queue: "private", ack: [] }, as("eve")),
      () => operations.queueStatus({ name: "private" }, as("eve")),
      () => operations.redrive({ queue: "open" }, as("eve")),
    ]) {
      expect(await ring.must(0, work)).toMatchObject({ ok: false, code: "forbidden" });
    }
  });

  test("declaring again is the same, other options are `exists`", async () => {
    const ask = (options: object, who = "alice") =>
      ring.must(1, ({ operations }) =>
        operations.declareQueue({ name: "work", ...options }, as(who)),
      );
    expect(await ask({})).toMatchObject({ ok: true });
    expect(await ask({ leaseMs: 30_000 })).toMatchObject({ ok: true });
    expect(await ask({ leaseMs: 5_000 })).toMatchObject({ ok: false, code: "exists" });
    expect(await ask({ leaseMs: 1 })).toMatchObject({ ok: false, code: "malformed" });
    const exchangeOf = (type: "topic" | "direct") =>
      ring.must(2, ({ operations }) => operations.declareExchange({ name: "e", type }, as("bob")));
    expect(await exchangeOf("topic")).toMatchObject({ ok: true });
    expect(await exchangeOf("topic")).toMatchObject({ ok: true });
    expect(await exchangeOf("direct")).toMatchObject({ ok: false, code: "exists" });
    const bad = await ring.must(0, ({ operations }) =>
      operations.declareQueue({ name: "No Good" }, as("bob")),
    );
    expect(bad).toMatchObject({ ok: false, code: "malformed" });
  });

  test("nobody sets up a queue to catch another's dead letters", async () => {
    const squat = await ring.must(0, ({ operations }) =>
      operations.declareQueue({ name: "work.dead" }, as("eve")),
    );
    expect(squat).toMatchObject({ ok: false, code: "unknown" });
    await declare("work");
    const again = await ring.must(0, ({ operations }) =>
      operations.declareQueue({ name: "work.dead" }, as("eve")),
    );
    expect(again).toMatchObject({ ok: false, code: "forbidden" });
  });

  test("who gets a name after another gets neither entries nor bindings of theirs", async () => {
    await declare("work");
    await exchange("event", "fanout", ["work"]);
    await ring.publish(0, [message(1, { exchange: "event" })]);
    await ring.open(2, "work");
    const removed = await ring.must(1, ({ operations }) =>
      operations.removeQueue({ name: "work" }, as("alice")),
    );
    expect(removed).toEqual({ ok: true, answer: {} });
    expect(await ring.publish(0, [message(2, { exchange: "event" })])).toMatchObject({ routed: 0 });
    await declare("work", {}, "bob");
    expect(await ring.publish(0, [message(3, { exchange: "event" })])).toMatchObject({ routed: 0 });
    const opened = await ring.open(1, "work", "bob");
    expect(opened.shown).toEqual([]);
    const toBob = [message(1, { routingKey: "work" })];
    await ring.publish(0, toBob, as("bob"));
    await ring.at(1, () => opened.session.close());
    expect(texts(await ring.drain(2, "work", "bob"))).toEqual(["m1"]);
  });

  test("exchanges and queues that are not there are unknown", async () => {
    const nowhere = [message(1, { exchange: "none" })];
    expect(await ring.publish(0, nowhere)).toMatchObject({ kind: "refused", code: "unknown" });
    const none = [message(1, { routingKey: "none" })];
    expect(await ring.publish(0, none)).toMatchObject({ kind: "refused", code: "unknown" });
    const ask = { exchange: "none", queue: "none" };
    const bound = await ring.must(0, ({ operations }) => operations.bind(ask, as("alice")));
    expect(bound).toMatchObject({ ok: false, code: "unknown" });
  });
});

function packet(frames: ReturnType<typeof numbered>) {
  const from = { user: sender("alice").user, device: "d1", epoch: 1 };
  const header = {
    ...{ connection: "c", packet: 1, from, to: "ring@ring.test", key: "k".repeat(43) },
    ...{ expiresAtMs: 0, hash: "h".repeat(43) },
  };
  return { header, frames };
}
