import fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { MessageId } from "../shared/ids.js";
import type { Operation } from "../shared/operation.js";
import { openStore } from "./index.js";
import { MailboxModel } from "./mailbox-model.js";
import { emptyTotals, sameTotals } from "./totals.js";
import type { StoreLimits } from "./options.js";
import { seeded } from "./simulated-disk.js";
import {
  add,
  alice,
  bodyOf,
  collectLog,
  idOf,
  remove,
  temporaryDirectory,
} from "./test-support.js";
import type { ViewDocument } from "./view-file.js";

const body = bodyOf("body");

function open(directory: string, limits: Partial<StoreLimits> = {}) {
  const own = { tombstonesPerPack: 50, vouchedBodyMs: 0, flushAfterMs: 0, ...limits };
  return openStore({ directory, log: collectLog(), limits: own });
}

type Opened = Awaited<ReturnType<typeof open>>;

async function shown(store: Opened) {
  const { messages, tombstones, summary } = await store.contents(alice);
  return {
    live: messages.map(({ id }) => id),
    removed: tombstones.map(({ id }) => id).sort(),
    summary,
  };
}

/** Messages 1 to `n` come and go, in any order; every 20th stays. */
async function passThrough(store: Opened, n: number, random: () => number): Promise<void> {
  const operations: Operation[] = [];
  for (let i = 1; i <= n; i += 1) {
    operations.push(add(alice, i, bodyOf(`body ${i}`)));
    if (i % 20 !== 0) operations.push(remove(alice, i));
  }
  operations.sort(() => random() - 0.5);
  for (let at = 0; at < operations.length; at += 30) {
    const some = operations.slice(at, at + 30);
    const bodies = some.flatMap((each) =>
      each.kind === "AddMessage" ? [bodyOf(`body ${Number(`0x${each.message.id}`)}`)] : [],
    );
    await store.write(some, bodies);
    if (random() < 0.3) await store.contents(alice);
  }
}

const octetsIn = (directory: string): number =>
  fs
    .readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => fs.statSync(join(directory, name)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);

describe("what passes through a mailbox", () => {
  test.each([1, 2, 3, 4])(
    "is the same packed or one by one, after a restart, a compaction and without views: seed %i",
    async (seed) => {
      const [directory, plain] = [temporaryDirectory(), temporaryDirectory()];
      const segments = { segmentOctets: 20_000, compactAutomatically: false };
      let store = await open(directory, segments);
      const single = await open(plain, { tombstonesPerPack: 1_000_000 });
      await passThrough(store, 1_000, seeded(seed));
      await passThrough(single, 1_000, seeded(seed));
      const wanted = await shown(single);
      await single.close();
      expect(wanted.live).toHaveLength(50);
      expect(wanted.removed).toHaveLength(950);

      expect(await shown(store)).toEqual(wanted);
      expect((await store.compact()).segments).toBeGreaterThan(2);
      expect(await shown(store)).toEqual(wanted);
      await store.close();
      store = await open(directory, segments);
      expect(await shown(store)).toEqual(wanted);
      // What is deleted stays so, packed or not.
      await store.write([add(alice, 1, body), add(alice, 999, body)], [body]);
      expect(await shown(store)).toEqual(wanted);
      await store.close();
      fs.rmSync(join(directory, "views"), { recursive: true });
      store = await open(directory, segments);
      expect(await shown(store)).toEqual(wanted);
      await store.close();
    },
  );

  test("leaves about 40 octets a message on the disk, and a sixteenth of a document", async () => {
    const directory = temporaryDirectory();
    const store = await open(directory, { tombstonesPerPack: 1_000, compactAutomatically: false });
    const total = 20_000;
    for (let first = 1; first <= total; first += 500) {
      const numbers = Array.from({ length: 500 }, (_, i) => first + i);
      await store.write(
        numbers.map((n) => add(alice, n, body)),
        [body],
      );
      await store.write(numbers.map((n) => remove(alice, n)));
    }
    expect((await store.summary(alice)).tombstones).toBe(total);
    await store.compact();
    await store.contents(alice);
    expect(store.stats().openViewDocuments).toBeLessThan(total / 16 + 1_100);
    await store.close();
    expect(octetsIn(join(directory, "journal")) / total).toBeLessThan(30);
    expect(octetsIn(join(directory, "views")) / total).toBeLessThan(60);
  });
});

describe("a crash while tombstones are packed", () => {
  const limits = { tombstonesPerPack: 4 };

  function filled(): { model: MailboxModel; single: ViewDocument[] } {
    const model = new MailboxModel(limits);
    for (const n of [1, 2, 3]) model.remove({ id: idOf(n), removedAtMs: n });
    const single = model.takeUnwritten().added;
    model.remove({ id: idOf(4), removedAtMs: 4 });
    return { model, single };
  }

  test.each(["in front", "behind"])("leaves both in the file, the pack %s", (where) => {
    const { model, single } = filled();
    const { added, removed } = model.takeUnwritten();
    expect(added).toHaveLength(1);
    expect(removed.sort()).toEqual(single.map(({ _id }) => _id).sort());
    const loaded = new MailboxModel(limits);
    const file = where === "behind" ? [...single, ...added] : [...added, ...single];
    for (const _ of loaded.load(file));
    expect(sameTotals(loaded.totals, model.totals)).toBe(true);
    expect(loaded.contents().tombstones.map(({ id }) => id)).toEqual([1, 2, 3, 4].map(idOf));
    // Those that are there twice go with the next flush.
    expect(loaded.takeUnwritten()).toEqual({ added: [], removed });
  });

  test("what could not be written is written the next time", () => {
    const { model, single } = filled();
    const first = model.takeUnwritten();
    model.putBack(first);
    model.remove({ id: idOf(5), removedAtMs: 5 });
    const second = model.takeUnwritten();
    expect(second.removed).toEqual(first.removed);
    const loaded = new MailboxModel(limits);
    const kept = single.filter(({ _id }) => !second.removed.includes(_id));
    for (const _ of loaded.load([...kept, ...second.added]));
    expect(sameTotals(loaded.totals, model.totals)).toBe(true);
    expect(loaded.totals.tombstones).toBe(5);
  });
});

test("a pack ends a live message that a crash has left in the file, and none comes again", () => {
  const model = new MailboxModel({ tombstonesPerPack: 2 });
  const message = { ...addOf(7), id: idOf(7) };
  model.add(message);
  const live = model.takeUnwritten().added;
  for (const n of [7, 8]) model.remove({ id: idOf(n), removedAtMs: n });
  const { added } = model.takeUnwritten();
  for (const file of [
    [...live, ...added],
    [...added, ...live],
  ]) {
    const loaded = new MailboxModel({ tombstonesPerPack: 2 });
    for (const _ of loaded.load(file));
    expect(loaded.totals).toEqual(model.totals);
    loaded.add(message);
    loaded.remove({ id: idOf(8), removedAtMs: 9 });
    expect(loaded.totals).toEqual(model.totals);
    expect(loaded.stateOf(idOf(7))).toBe("removed");
    expect(loaded.stateOf("ff" as MessageId)).toBe("unknown");
  }
  expect(sameTotals(model.totals, emptyTotals)).toBe(false);
});

function addOf(n: number) {
  const operation = add(alice, n, body);
  if (operation.kind !== "AddMessage") throw new Error("an addition is one");
  return operation.message;
}
