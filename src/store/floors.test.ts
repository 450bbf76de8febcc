import fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Floor, packIds } from "../shared/floor.js";
import type { MessageId } from "../shared/ids.js";
import type { Operation } from "../shared/operation.js";
import { openStore } from "./index.js";
import { applyTo } from "./mailbox.js";
import { MailboxModel } from "./mailbox-model.js";
import { sameTotals } from "./totals.js";
import type { StoreLimits } from "./options.js";
import type { JournaledOperation } from "./journaled-operation.js";
import { seeded } from "./simulated-disk.js";
import { add, alice, bodyOf, collectLog, temporaryDirectory } from "./test-support.js";
import type { ViewDocument } from "./view-file.js";

/** Of a flow, at a time. */
const flowId = (n: number): MessageId =>
  `${n.toString(16).padStart(12, "0")}8000${"80f10f10f1"}${n.toString(16).padStart(6, "0")}` as MessageId;
/** Of none: a dead letter, or of a time before there were floors. */
const otherId = (n: number): MessageId => flowId(n).replace(/^(.{12})8/, "$17") as MessageId;

function addition(id: MessageId, text: string): Operation {
  const operation = add(alice, 1, bodyOf(text));
  if (operation.kind !== "AddMessage") throw new Error("an addition is one");
  return { ...operation, message: { ...operation.message, id } };
}
const removal = (id: MessageId): Operation => ({
  kind: "RemoveMessage",
  mailbox: alice,
  tombstone: { id, removedAtMs: 7 },
});
const raising = (floor: Floor): Operation => ({ kind: "RaiseFloor", mailbox: alice, floor });
const floorAt = (n: number, spared: readonly MessageId[] = []): Floor => ({
  below: n.toString(16).padStart(12, "0"),
  spared: packIds(spared),
});

function open(directory: string, limits: Partial<StoreLimits> = {}) {
  const own = { tombstonesPerPack: 20, vouchedBodyMs: 0, flushAfterMs: 0, ...limits };
  return openStore({ directory, log: collectLog(), limits: own });
}
type Opened = Awaited<ReturnType<typeof open>>;

async function shown(store: Opened) {
  const { messages, tombstones, floor, summary } = await store.contents(alice);
  const live = messages.map(({ id }) => id);
  return { live, removed: tombstones.map(({ id }) => id).sort(), floor, summary };
}

const octetsIn = (directory: string): number =>
  fs
    .readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => fs.statSync(join(directory, name)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);

/** Messages come and go, every 9th stays, every 7th is of no flow; three floors, each sparing what lives. */
function history(): readonly Operation[] {
  const idOf = (n: number): MessageId => (n % 7 === 0 ? otherId(n) : flowId(n));
  const numbers = Array.from({ length: 300 }, (_, i) => i + 1);
  const stays = (n: number): boolean => n % 9 === 0;
  // The last floor spares less than the first has, and a tombstone, too.
  const floors = [80, 160, 240].map((below, index) =>
    floorAt(below, [
      flowId(73),
      ...numbers.filter((n) => stays(n) && n < below && n > index * 20).map(flowId),
    ]),
  );
  return [
    ...numbers.map((n) => addition(idOf(n), `${n}`)),
    ...numbers.filter((n) => !stays(n)).map((n) => removal(idOf(n))),
    ...floors.map(raising),
  ];
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => [random(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
}

const modelOf = (operations: readonly Operation[], perPack: number): MailboxModel => {
  const model = new MailboxModel({ tombstonesPerPack: perPack });
  for (const [index, operation] of operations.entries()) {
    applyTo(model, { ...operation, epoch: 0 } as Extract<
      JournaledOperation,
      { kind: "RaiseFloor" }
    >);
    if (index % 40 === 0) model.takeUnwritten();
  }
  return model;
};

describe("what is below a floor", () => {
  test("is over but for the spared, live or removed, and what is of no flow", () => {
    const { messages, tombstones, floor } = modelOf(history(), 1_000).contents();
    const last = floorAt(240);
    expect(floor?.below).toBe(last.below);
    const stay = Array.from({ length: 300 }, (_, i) => i + 1).filter((n) => n % 9 === 0);
    const live = stay
      .filter((n) => n % 7 === 0 || n > 40)
      .map((n) => (n % 7 === 0 ? otherId(n) : flowId(n)));
    expect(messages.map(({ id }) => id)).toEqual(live.sort());
    const removed = Array.from({ length: 300 }, (_, i) => i + 1).filter((n) => n % 9 !== 0);
    const kept = removed.filter((n) => n % 7 === 0 || n >= 240 || n === 73);
    expect(tombstones.map(({ id }) => id).sort()).toEqual(
      kept.map((n) => (n % 7 === 0 ? otherId(n) : flowId(n))).sort(),
    );
  });

  test.each([1, 2, 3, 4, 5, 6])("is the same in whatever order it is heard of: seed %i", (seed) => {
    const random = seeded(seed);
    const wanted = modelOf(history(), 1_000);
    const operations = shuffled([...history(), ...shuffled(history(), random)], random);
    const model = modelOf(operations, 10);
    expect(sameTotals(model.totals, wanted.totals)).toBe(true);
    const idsOf = (of: MailboxModel) =>
      of
        .contents()
        .tombstones.map(({ id }) => id)
        .sort();
    expect(idsOf(model)).toEqual(idsOf(wanted));
  });

  test.each([1, 2, 3])(
    "stays so after a restart, a compaction and without views: seed %i",
    async (seed) => {
      const directory = temporaryDirectory();
      const segments = { segmentOctets: 8_000, compactAutomatically: false };
      let store = await open(directory, segments);
      const random = seeded(seed);
      const operations = shuffled(history(), random);
      for (let at = 0; at < operations.length; at += 20) {
        const some = operations.slice(at, at + 20);
        const bodies = some.flatMap((each) =>
          each.kind === "AddMessage"
            ? [bodyOf(`${Number(`0x${each.message.id.slice(0, 12)}`)}`)]
            : [],
        );
        await store.write(some, bodies);
        if (random() < 0.4) await store.contents(alice);
      }
      const wanted = modelOf(history(), 1_000).totals;
      const first = await shown(store);
      expect(BigInt(`0x${first.summary.digest}`)).toBe(wanted.digest);
      expect((await store.compact()).segments).toBeGreaterThan(1);
      expect(await shown(store)).toEqual(first);
      await store.close();
      store = await open(directory, segments);
      expect(await shown(store)).toEqual(first);
      // Neither comes again: a copy and a tombstone of a member that was away.
      await store.write([addition(flowId(50), "50"), removal(flowId(51))], [bodyOf("50")]);
      expect(await shown(store)).toEqual(first);
      await store.compact();
      await store.close();
      fs.rmSync(join(directory, "views"), { recursive: true });
      store = await open(directory, segments);
      expect(await shown(store)).toEqual(first);
      await store.close();
    },
  );

  test("takes no room, neither in memory nor on the disk", async () => {
    const directory = temporaryDirectory();
    const limits = { segmentOctets: 400_000, compactAutomatically: false };
    const store = await open(directory, { tombstonesPerPack: 200, ...limits });
    const sizes: number[] = [];
    for (let first = 1; first <= 10_000; first += 500) {
      const ids = Array.from({ length: 500 }, (_, i) => flowId(first + i));
      await store.write(
        ids.map((id) => addition(id, "body")),
        [bodyOf("body")],
      );
      await store.write(ids.map(removal));
      if (first % 1_000 !== 1) continue;
      await store.write([raising(floorAt(first, ids.slice(-3)))]);
      await store.compact();
      sizes.push(octetsIn(directory));
    }
    expect((await store.summary(alice)).tombstones).toBeLessThanOrEqual(1_500);
    await store.close();
    // Of the first two of ten rounds, and of all of them.
    expect(Math.max(...sizes.slice(5))).toBeLessThan(1.5 * (sizes[1] ?? 0));
  });
});

describe("a crash while a floor is written to a view file", () => {
  function raised(): { before: ViewDocument[]; model: MailboxModel } {
    const model = new MailboxModel({ tombstonesPerPack: 4 });
    const file = new Map<string, ViewDocument>();
    const flush = (): void => {
      const { added, removed } = model.takeUnwritten();
      for (const document of added) file.set(document._id, document);
      for (const id of removed) file.delete(id);
    };
    for (const n of [1, 2, 3, 4, 5]) model.remove({ id: flowId(n), removedAtMs: n });
    flush();
    model.raise(floorAt(3));
    flush();
    for (const n of [6, 7]) model.remove({ id: flowId(n), removedAtMs: n });
    const operation = addition(flowId(8), "8");
    if (operation.kind === "AddMessage") model.add(operation.message);
    flush();
    return { before: [...file.values()], model };
  }

  test.each(["in front", "behind"])("leaves what is over in the file, the floor %s", (where) => {
    const { before, model } = raised();
    model.raise(floorAt(9, [flowId(7)]));
    const { added, removed } = model.takeUnwritten();
    const loaded = new MailboxModel({ tombstonesPerPack: 4 });
    for (const _ of loaded.load(
      where === "behind" ? [...before, ...added] : [...added, ...before],
    ));
    expect(sameTotals(loaded.totals, model.totals)).toBe(true);
    expect(loaded.contents().tombstones.map(({ id }) => id)).toEqual([flowId(7)]);
    // What is over goes with the next flush.
    expect(new Set(loaded.takeUnwritten().removed)).toEqual(new Set(removed));
  });

  test("a part of a pack stays, in the file and without the rest", () => {
    const { before, model } = raised();
    const loaded = new MailboxModel({ tombstonesPerPack: 4 });
    for (const _ of loaded.load(before));
    expect(sameTotals(loaded.totals, model.totals)).toBe(true);
    const ids = loaded.contents().tombstones.map(({ id }) => id);
    expect(ids.sort()).toEqual([3, 4, 5, 6, 7].map(flowId));
  });
});
