/** Members that lead a queue and die, freeze, or are cut off, in a simulated ring. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Operation } from "../../src/shared/operation.js";
import { BrokerWorld, expected, message, numbered, sender, texts } from "./broker-world.js";

let ring: BrokerWorld;

beforeEach(async () => {
  ring = await BrokerWorld.form();
});

describe("the death of the leader", () => {
  test("is over in three seconds: what was acknowledged is gone, the rest comes again", async () => {
    await ring.declare("work");
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
    await ring.declare("work", { leaseMs: 600_000 });
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
    await ring.declare("work");
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
    await ring.declare("work", { leaseMs: 1_000, deliveriesMax: 4 });
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
    await ring.declare("work", { leaseMs: 1_000 });
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
    await ring.declare("work");
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

describe("what a publisher was not promised", () => {
  /** Members by whom no entry is stored that is brought to them. */
  let refusing: ReadonlySet<string>;

  const formed = async (): Promise<void> => {
    refusing = new Set();
    ring = await BrokerWorld.form({
      faults: {
        wrapHandle: (life, method, request) => {
          const { operations = [] } = request as { operations?: readonly Operation[] };
          const isCopy =
            method === "replicate" && operations.some(({ kind }) => kind === "AddMessage");
          const isRefused = isCopy && refusing.has(life.self.uuid);
          return isRefused ? { answer: { kind: "failed" } as typeof request } : request;
        },
      },
    });
    await ring.declare("work");
    // So that somebody leads it.
    await ring.open(0, "work");
  };
  const leader = (): number => ring.world.members.findIndex((_, i) => ring.broker(i).leads("work"));
  const uuidOf = (index: number): string => ring.member(index).uuid;

  test("is not shown while only one member has it, and is when a majority got it from there", async () => {
    await formed();
    const one = leader();
    refusing = new Set([0, 1, 2].filter((i) => i !== one).map(uuidOf));
    const outcome = await ring.publish(one, numbered(1, 1, { routingKey: "work" }));
    expect(outcome).toMatchObject({ kind: "refused", code: "undecided" });
    expect((await ring.open(one, "work")).shown).toEqual([]);
    // As members tell each other, not as publishers do.
    await ring.world.clock.advance(5_000);
    expect(texts((await ring.open(one, "work")).shown)).toEqual(["m1"]);
  });

  test("what a majority has is shown, though the leader itself can't store it", async () => {
    await formed();
    const full = ring.member(leader());
    refusing = new Set([full.uuid]);
    full.storage.setFull(true);
    const outcome = await ring.publish(leader(), numbered(1, 1, { routingKey: "work" }));
    expect(outcome).toMatchObject({ kind: "taken", copies: 2 });
    let shown: readonly string[] = [];
    for (let waitedMs = 0; shown.length === 0 && waitedMs < 5_000; waitedMs += 500) {
      await ring.world.clock.advance(500);
      shown = texts((await ring.open(leader(), "work")).shown);
    }
    expect(shown).toEqual(["m1"]);
    expect(ring.member(leader())).toBe(full);
  });
});
