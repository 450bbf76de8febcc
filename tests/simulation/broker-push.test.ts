/** Queues that are sent to their owners, in a simulated ring. */
import { beforeEach, describe, expect, test } from "vitest";
import type { MessageId } from "../../src/shared/ids.js";
import { BrokerWorld, numbered, sender } from "./broker-world.js";

let ring: BrokerWorld;

beforeEach(async () => {
  ring = await BrokerWorld.form();
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
    await ring.declare("work", { push: true });
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
    await ring.declare("work", { push: true, exclusive: true, leaseMs: 5_000 });
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
    await ring.declare("work", { push: true });
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
    await ring.declare("work", { publishers: "everyone" });
    await ring.publish(0, numbered(1, 2, { routingKey: "work" }));
    await ring.declare("work", { push: true, publishers: "everyone" }, "eve");
    expect(await takeAll("work")).toEqual([]);
    await ring.declare("work", { push: true, publishers: "everyone" });
    await ring.declare("work", { publishers: "everyone" }, "eve");
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
    await ring.declare("work.dead", { push: true });
    await ring.world.clock.advance(300);
    expect(woken).toContain("work.dead");
    expect(await takeAll("work.dead")).toHaveLength(1);
    await ring.declare("work", { publishers: "everyone" });
    const more = await ring.publish(0, numbered(3, 3, { routingKey: "work" }));
    expect(more).toMatchObject({ kind: "taken", routed: 1 });
    expect(await takeAll("work")).toEqual([]);
    expect((await ring.open(1, "work")).shown).toHaveLength(1);
  });
});
