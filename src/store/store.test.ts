import { randomBytes } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import type { BodyDigest, MailboxName } from "../shared/ids.js";
import { BodyCorruptError, StoreFailedError, StoreFullError } from "../shared/store-errors.js";
import { openStore, StoreVersionError } from "./index.js";
import type { StoreLimits } from "./options.js";
import { seeded, SimulatedDisk } from "./simulated-disk.js";
import {
  add,
  alice,
  bob,
  bodyOf,
  collectLog,
  digestOf,
  idOf,
  messageOf,
  putRegister,
  registerState,
  remove,
  temporaryDirectory,
} from "./test-support.js";

const log = collectLog();

function open(directory: string, limits: Partial<StoreLimits> = {}) {
  return openStore({ directory, log, limits: { vouchedBodyMs: 0, ...limits } });
}

async function ids(store: Awaited<ReturnType<typeof open>>, mailbox: MailboxName) {
  const { messages, tombstones } = await store.contents(mailbox);
  return { live: messages.map(({ id }) => id), removed: tombstones.map(({ id }) => id) };
}

function filesIn(directory: string): string[] {
  return fs.readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
}

describe("after a restart nobody knows", () => {
  test("whether a mail was acknowledged, unless its client's having read it was noted", async () => {
    const directory = temporaryDirectory();
    const body = bodyOf("hello");
    const first = await open(directory);
    await first.write([add(alice, 1, body), add(alice, 2, body), add(bob, 3, body)], [body]);
    await first.write([{ kind: "ConfirmMessages", ids: [idOf(1), idOf(3)] }]);
    await first.close();
    const second = await open(directory);
    expect(second.lastMessages.map(({ message }) => message.id)).toEqual([idOf(2)]);
    await second.close();
  });

  test("also over several segments that are short", async () => {
    const directory = temporaryDirectory();
    const first = await open(directory, { segmentOctets: 1_000 });
    const numbers = Array.from({ length: 12 }, (_, i) => i + 1);
    for (const n of numbers) {
      const body = bodyOf(`body ${n}`);
      await first.write([add(alice, n, body)], [body]);
    }
    expect(first.stats().segments).toBeGreaterThan(3);
    await first.close();
    const second = await open(directory);
    expect(second.lastMessages.map(({ message }) => message.id)).toEqual(numbers.map(idOf));
    await second.close();
  });

  test("but what a compaction copied was known before", async () => {
    const directory = temporaryDirectory();
    const [body, other] = [bodyOf("hello"), bodyOf(randomBytes(10_000))];
    const first = await open(directory);
    await first.write([add(alice, 1, body)], [body]);
    await first.write([{ kind: "ConfirmMessages", ids: [idOf(1)] }]);
    await first.write([add(alice, 2, other)], [other]);
    await first.contents(alice);
    await first.write([remove(alice, 2)]);
    expect((await first.compact()).segments).toBe(1);
    await first.close();
    const second = await open(directory);
    expect((await ids(second, alice)).live).toEqual([idOf(1)]);
    expect(second.lastMessages).toEqual([]);
    await second.close();
  });
});

test("a damaged view stays until a whole one takes its place: a part of that looks like a good one", async () => {
  const directory = temporaryDirectory();
  const ownLog = collectLog();
  const limits = { flushAfterMs: 600_000, checkpointIdleMs: 600_000 };
  const body = bodyOf("hello");
  const first = await openStore({ directory, log: ownLog });
  for (let n = 1; n <= 20; n += 1) await first.write([add(alice, n, body)], [body]);
  await first.close();
  const views = join(directory, "views", "mailboxes");
  const name = filesIn(views).find((file) => file.endsWith(".db")) ?? "";
  const path = join(views, name);
  flip(path, 40);
  const damaged = fs.readFileSync(path);
  const second = await openStore({ directory, log: ownLog, limits });
  expect((await second.contents(alice)).messages).toHaveLength(20);
  expect(fs.readFileSync(path).equals(damaged)).toBe(true);
  await second.close();
  const rebuilds = () =>
    ownLog.lines.filter(({ message }) => message.includes("rebuilding")).length;
  const before = rebuilds();
  expect(before).toBeGreaterThan(0);
  const third = await openStore({ directory, log: ownLog });
  expect((await third.contents(alice)).messages).toHaveLength(20);
  expect(rebuilds()).toBe(before);
  expect(filesIn(views).filter((file) => file.endsWith(".new"))).toEqual([]);
  await third.close();
});

test("a tombstone says what its reader deleted, also from a view and from the journal", async () => {
  const directory = temporaryDirectory();
  const tombstone = { id: idOf(1), removedAtMs: 5, fingerprint: "what it was" };
  const kept = { id: idOf(2), removedAtMs: 6 };
  const first = await open(directory);
  await first.write([{ kind: "RemoveMessage", mailbox: alice, tombstone }, remove(bob, 1)]);
  await first.write([{ kind: "RemoveMessage", mailbox: alice, tombstone: kept }]);
  await first.close();
  const second = await open(directory);
  expect((await second.contents(alice)).tombstones).toEqual([tombstone, kept]);
  await second.close();
  fs.rmSync(join(directory, "views"), { recursive: true });
  const third = await open(directory);
  expect((await third.contents(alice)).tombstones).toEqual([tombstone, kept]);
  await third.close();
});

describe("what was written is there after a restart", () => {
  test("messages, tombstones, registers, local values, identity", async () => {
    const directory = temporaryDirectory();
    const body = bodyOf("hello");
    const first = await open(directory);
    await first.write(
      [
        add(alice, 2, body),
        add(alice, 1, body),
        add(bob, 3, body),
        remove(bob, 3),
        putRegister("account/alice", 7),
        { kind: "PutLocal", key: "__proto__", value: { roster: ["é\u2028"] } },
      ],
      [body],
    );
    const before = [...first.catalog()];
    await first.close();
    const second = await open(directory);
    expect(second.identity).toBe(first.identity);
    expect([...second.catalog()]).toEqual([
      expect.objectContaining({ mailbox: alice, messages: 2, tombstones: 0, pending: false }),
      expect.objectContaining({ mailbox: bob, messages: 0, tombstones: 1, pending: false }),
    ]);
    expect(before.map(({ mailbox }) => mailbox)).toEqual([alice, bob]);
    expect(await ids(second, alice)).toEqual({ live: [idOf(1), idOf(2)], removed: [] });
    expect(await ids(second, bob)).toEqual({ live: [], removed: [idOf(3)] });
    expect((await second.contents(alice)).messages[0]).toEqual(messageOf(1, body));
    expect(second.register("account/alice")).toEqual(registerState(7, 7));
    expect(second.local("__proto__")).toEqual({ roster: ["é\u2028"] });
    expect((await second.readBody(body.digest))?.toString()).toBe("hello");
    await second.close();
  });

  test("U+0085, U+2028, U+2029 and NUL in the trace (S9)", async () => {
    const directory = temporaryDirectory();
    const body = bodyOf("x");
    const trace = "Return-Path: <\u0085\u2028\u2029\v\f\u0000é\ud83d\ude00@b.test>\r\n";
    const first = await open(directory);
    await first.write([add(alice, 1, body, trace), add(alice, 2, body)], [body]);
    await first.close();
    const second = await open(directory);
    const { messages } = await second.contents(alice);
    expect(messages.map((message) => message.trace)).toEqual([
      trace,
      "Return-Path: <a@b.test>\r\n",
    ]);
    expect(log.lines.filter(({ message }) => message.includes("damaged"))).toEqual([]);
    await second.close();
  });

  test("without views/, everything is rebuilt from the journal", async () => {
    const directory = temporaryDirectory();
    const body = bodyOf("body");
    const first = await open(directory, { segmentOctets: 2_000 });
    for (let n = 1; n <= 30; n++) await first.write([add(alice, n, body)], [body]);
    await first.write([
      { kind: "DropMailbox", mailbox: bob },
      add(bob, 99, body),
      remove(alice, 5),
    ]);
    await first.write([putRegister("r", 3)]);
    const before = [await first.contents(alice), await first.contents(bob), [...first.catalog()]];
    await first.close();
    fs.rmSync(join(directory, "views"), { recursive: true });
    const second = await open(directory);
    const contents = [await second.contents(alice), await second.contents(bob)];
    expect([...contents, [...second.catalog()]]).toEqual(before);
    expect(second.register("r")).toEqual(registerState(3, 3));
    await second.close();
  });

  test.each([
    ["deleted", (path: string) => fs.rmSync(path)],
    ["cut", (path: string) => fs.truncateSync(path, fs.statSync(path).size - 10)],
    ["flipped", (path: string) => flip(path, 300)],
  ])("a view file that was %s is rebuilt", async (_what, damage) => {
    const directory = temporaryDirectory();
    const body = bodyOf("body");
    const first = await open(directory);
    for (let n = 1; n <= 5; n++) await first.write([add(alice, n, body)], [body]);
    const before = await first.contents(alice);
    await first.close();
    const views = join(directory, "views", "mailboxes");
    const view = filesIn(views).find((name) => name.endsWith(".db")) ?? "";
    damage(join(views, view));
    const second = await open(directory);
    expect(await second.contents(alice)).toEqual(before);
    await second.close();
  });
});

function flip(path: string, octet: number): void {
  const content = fs.readFileSync(path);
  content[octet] = (content[octet] ?? 0) ^ 1;
  fs.writeFileSync(path, content);
}

describe("a mailbox", () => {
  test("a tombstone wins whatever comes first, and duplicates change nothing", async () => {
    const directory = temporaryDirectory();
    const store = await open(directory);
    const body = bodyOf("body");
    await store.write([remove(alice, 1), add(alice, 1, body), add(alice, 2, body)], [body]);
    await store.write([add(bob, 2, body), add(bob, 1, body), add(bob, 2, body)]);
    await store.write([remove(bob, 1), remove(bob, 1), add(bob, 1, body)]);
    const [a, b] = [await store.contents(alice), await store.contents(bob)];
    expect(a.summary).toEqual(b.summary);
    expect(a.summary).toMatchObject({ messages: 1, tombstones: 1, octets: 4 + 25 });
    expect(await store.summary(alice)).toEqual(a.summary);
    expect(a.summary.digest).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
    await store.close();
  });

  test("an unknown or dropped one is empty, and can begin anew", async () => {
    const directory = temporaryDirectory();
    const first = await open(directory);
    const body = bodyOf("body");
    await first.write([add(alice, 1, body), remove(alice, 2)], [body]);
    await first.write([{ kind: "DropMailbox", mailbox: alice }]);
    expect(first.hasMailbox(alice)).toBe(false);
    expect((await first.contents(alice)).summary.digest).toBe("0".repeat(32));
    await first.write([add(alice, 3, body)]);
    expect(await ids(first, alice)).toEqual({ live: [idOf(3)], removed: [] });
    await first.close();
    const second = await open(directory);
    expect(await ids(second, alice)).toEqual({ live: [idOf(3)], removed: [] });
    await second.close();
  });

  test("memory follows open views: their number and documents are bounded", async () => {
    const store = await open(temporaryDirectory(), { openViewsMax: 3, openViewDocumentsMax: 100 });
    const body = bodyOf("body");
    for (let n = 0; n < 40; n++) {
      await store.write([add(`m${n % 8}@ring.test` as MailboxName, n, body)], [body]);
      await store.contents(`m${n % 8}@ring.test` as MailboxName);
    }
    expect(store.stats().openViews).toBeLessThanOrEqual(3);
    for (let n = 0; n < 8; n++) {
      expect((await store.contents(`m${n}@ring.test` as MailboxName)).messages).toHaveLength(5);
    }
    await store.close();
  });

  test("a view that nobody uses is closed, and loses nothing", async () => {
    const store = await open(temporaryDirectory(), { closeIdleAfterMs: 1, flushAfterMs: 1 });
    const body = bodyOf("body");
    await store.write([add(alice, 1, body)], [body]);
    expect(await ids(store, alice)).toEqual({ live: [idOf(1)], removed: [] });
    await vi.waitUntil(() => store.stats().openViews === 0, { timeout: 30_000, interval: 20 });
    expect(await ids(store, alice)).toEqual({ live: [idOf(1)], removed: [] });
    await store.close();
  });
});

describe("bodies", () => {
  test("one copy, however many messages refer to it", async () => {
    const store = await open(temporaryDirectory());
    const body = bodyOf(randomBytes(100_000));
    await store.write([add(alice, 1, body)], [body]);
    const before = store.stats().journalOctets;
    await store.write([add(bob, 2, body)], [body]);
    expect(store.stats().journalOctets - before).toBeLessThan(2_000);
    await store.close();
  });

  test("a message without its body is a bug of the caller", async () => {
    const store = await open(temporaryDirectory());
    await expect(store.write([add(alice, 1, bodyOf("absent"))])).rejects.toThrow(/does not have/);
    expect(store.hasMailbox(alice)).toBe(false);
    await store.close();
  });

  test("large ones are files; a range may be read; the spool is empty afterwards", async () => {
    const directory = temporaryDirectory();
    const store = await open(directory);
    const content = randomBytes(3_000_000);
    const digest = digestOf(content);
    for (const n of [1, 2]) {
      const path = store.spoolPath();
      fs.writeFileSync(path, content);
      const body = { kind: "file" as const, digest, octets: content.length, path };
      await store.write([add(alice, n, body)], [body]);
    }
    expect(filesIn(join(directory, "spool"))).toEqual([]);
    expect(filesIn(join(directory, "bodies"))).toEqual([
      digest.slice(0, 2),
      join(digest.slice(0, 2), digest),
    ]);
    await store.close();
    const again = await open(directory);
    expect((await again.readBody(digest))?.equals(content)).toBe(true);
    const range = await again.readBody(digest, { offset: 1_000_000, length: 500 });
    expect(range?.equals(content.subarray(1_000_000, 1_000_500))).toBe(true);
    await again.close();
  });

  test("a spooled file of another size is not taken", async () => {
    const directory = temporaryDirectory();
    const store = await open(directory);
    const path = store.spoolPath();
    fs.writeFileSync(path, "1234");
    const body = { kind: "file" as const, digest: digestOf(Buffer.from("1234")), octets: 5, path };
    await expect(store.write([add(alice, 1, body)], [body])).rejects.toThrow(/4 octets, not 5/);
    expect(await store.hasBody(body.digest)).toBe(false);
    await store.close();
  });

  test.each(["inline", "file"])(
    "a flipped bit in an %s one is found and healed (D7)",
    async (kind) => {
      const directory = temporaryDirectory();
      const store = await open(directory, kind === "file" ? { inlineBodyOctetsMax: 10 } : {});
      const body = bodyOf("a body to be damaged");
      await store.write([add(alice, 1, body)], [body]);
      const path =
        kind === "file"
          ? join(directory, "bodies", body.digest.slice(0, 2), body.digest)
          : join(directory, "journal", "000001.log");
      flip(path, fs.readFileSync(path).indexOf("a body to be damaged") + 3);
      await expect(store.readBody(body.digest)).rejects.toThrow(BodyCorruptError);
      expect(await store.hasBody(body.digest)).toBe(false);
      await store.write([], [body]);
      expect((await store.readBody(body.digest))?.equals(body.bytes)).toBe(true);
      await store.close();
    },
  );

  test("those of sealed segments are found through the index, also a damaged one", async () => {
    const directory = temporaryDirectory();
    const first = await open(directory, { segmentOctets: 4_000 });
    const bodies = Array.from({ length: 60 }, (_, n) => bodyOf(`body ${n} ${"x".repeat(300)}`));
    for (const [n, body] of bodies.entries()) await first.write([add(alice, n, body)], [body]);
    await first.close();
    flip(join(directory, "journal", "000001.idx"), 80);
    flip(
      join(directory, "journal", "000003.idx"),
      fs.statSync(join(directory, "journal", "000003.idx")).size - 12,
    );
    fs.rmSync(join(directory, "journal", "000002.idx"));
    const second = await open(directory, { segmentOctets: 4_000 });
    for (const { digest, bytes } of bodies) {
      expect((await second.readBody(digest))?.equals(bytes)).toBe(true);
    }
    expect(await second.readBody("0".repeat(64) as BodyDigest)).toBeUndefined();
    await second.close();
    expect(filesIn(join(directory, "journal"))).toContain("000002.idx");
  });
});

describe("the disk", () => {
  async function onSimulated(seed: number) {
    const disk = new SimulatedDisk(seeded(seed));
    const directory = temporaryDirectory();
    return { disk, directory, reopen: () => openStore({ directory, log, disk }) };
  }

  test("full: refused, nothing of it shows, later writes work (D9, S25)", async () => {
    const { disk, reopen } = await onSimulated(1);
    const store = await reopen();
    const body = bodyOf("b".repeat(500));
    disk.freeOctets = 300;
    const write = store.write([add(alice, 1, body), putRegister("r", 1)], [body]);
    expect(store.register("r")).toBeDefined();
    await expect(write).rejects.toThrow(StoreFullError);
    expect(store.register("r")).toBeUndefined();
    expect(await ids(store, alice)).toEqual({ live: [], removed: [] });
    disk.freeOctets = Infinity;
    await store.write([add(alice, 2, body)], [body]);
    await store.close();
    disk.crash();
    const again = await reopen();
    expect(await ids(again, alice)).toEqual({ live: [idOf(2)], removed: [] });
    await again.close();
  });

  test.each([1, 2, 3, 4, 5])(
    "what a start has shown survives a power cut (seed %i)",
    async (seed) => {
      const { disk, reopen } = await onSimulated(seed);
      const first = await reopen();
      disk.failSyncs = true;
      const body = bodyOf("in memory only");
      await expect(first.write([add(alice, 1, body)], [body])).rejects.toThrow(StoreFailedError);
      await first.close();
      disk.restart();
      const second = await reopen();
      expect(await ids(second, alice)).toEqual({ live: [idOf(1)], removed: [] });
      disk.stopAfter(0);
      await second.close();
      disk.crash();
      const third = await reopen();
      expect(await ids(third, alice)).toEqual({ live: [idOf(1)], removed: [] });
      expect((await third.readBody(body.digest))?.equals(body.bytes)).toBe(true);
      await third.close();
    },
  );

  test("a failed fsync is final (D6)", async () => {
    const { disk, reopen } = await onSimulated(2);
    const store = await reopen();
    const told: Error[] = [];
    store.onFailure((error) => told.push(error));
    disk.failSyncs = true;
    const body = bodyOf("body");
    await expect(store.write([add(alice, 1, body)], [body])).rejects.toThrow(StoreFailedError);
    disk.failSyncs = false;
    await expect(store.write([add(alice, 2, body)], [body])).rejects.toThrow(StoreFailedError);
    await expect(store.durable()).rejects.toThrow(StoreFailedError);
    expect(told).toHaveLength(1);
    expect(store.stats().failed).toBe(true);
    expect(await ids(store, alice)).toEqual({ live: [], removed: [] });
    await store.close();
  });

  test.each([1, 5, 19, 21, 60, 200])(
    "a tail torn by %i octets is cut off, and nothing glued to it",
    async (cut) => {
      const directory = temporaryDirectory();
      const path = join(directory, "journal", "000001.log");
      const body = bodyOf("body");
      const first = await open(directory);
      await first.write([add(alice, 1, body)], [body]);
      const whole = fs.statSync(path).size;
      await first.write([add(alice, 2, body)]);
      await first.close();
      fs.rmSync(join(directory, "views"), { recursive: true });
      fs.truncateSync(path, fs.statSync(path).size - cut);
      const second = await open(directory);
      expect(fs.statSync(path).size).toBe(whole);
      expect(log.lines.at(-1)?.message).toMatch(/torn record/);
      await second.write([add(alice, 3, body)]);
      await second.close();
      const third = await open(directory);
      expect(await ids(third, alice)).toEqual({ live: [idOf(1), idOf(3)], removed: [] });
      await third.close();
    },
  );

  test.each([0, 5, 9, 13, 17, 25, 200])(
    "a bit flipped at octet %i of a record costs that record only",
    async (at) => {
      const directory = temporaryDirectory();
      const path = join(directory, "journal", "000001.log");
      const body = bodyOf("body");
      const first = await open(directory);
      await first.write([add(alice, 1, body)], [body]);
      const offset = fs.statSync(path).size;
      await first.write([add(alice, 2, body)]);
      await first.write([add(alice, 3, body)]);
      await first.close();
      fs.rmSync(join(directory, "views"), { recursive: true });
      flip(path, offset + at);
      log.lines.length = 0;
      const second = await open(directory);
      expect(await ids(second, alice)).toEqual({ live: [idOf(1), idOf(3)], removed: [] });
      expect(log.lines).toContainEqual(
        expect.objectContaining({ level: "error", message: expect.stringMatching(/damaged here/) }),
      );
      await second.close();
    },
  );

  test("a mail that contains journal records is not taken for them", async () => {
    const directory = temporaryDirectory();
    const path = join(directory, "journal", "000001.log");
    const other = temporaryDirectory();
    const forger = await open(other);
    const small = bodyOf("small");
    await forger.write([add(alice, 666, small)], [small]);
    await forger.close();
    const evil = bodyOf(fs.readFileSync(join(other, "journal", "000001.log")));
    const first = await open(directory);
    await first.write([add(alice, 1, evil)], [evil]);
    await first.write([add(alice, 2, evil)]);
    await first.close();
    fs.rmSync(join(directory, "views"), { recursive: true });
    flip(path, 0);
    const second = await open(directory);
    expect(await ids(second, alice)).toEqual({ live: [idOf(2)], removed: [] });
    await second.close();
  });
});

describe("compaction", () => {
  test("frees what nobody refers to and keeps the rest, also across a restart", async () => {
    const directory = temporaryDirectory();
    const store = await open(directory, { segmentOctets: 20_000, inlineBodyOctetsMax: 2_000 });
    const bodies = Array.from({ length: 100 }, (_, n) => bodyOf(`${n} ${"y".repeat(1_000)}`));
    const shared = bodyOf("z".repeat(1_500));
    const large = bodyOf("l".repeat(5_000));
    await store.write([add(bob, 1_000, shared), add(alice, 1_001, shared)], [shared]);
    await store.write([add(alice, 1_002, large)], [large]);
    for (const [n, body] of bodies.entries()) await store.write([add(alice, n, body)], [body]);
    for (let n = 0; n < 90; n++) await store.write([remove(alice, n)]);
    await store.write([remove(alice, 1_001), remove(alice, 1_002)]);
    await store.write([{ kind: "DropMailbox", mailbox: "c@ring.test" as MailboxName }]);
    const before = [await store.contents(alice), await store.contents(bob)];
    const octets = store.stats().journalOctets;
    const report = await store.compact();
    expect(report.segments).toBeGreaterThan(2);
    expect(store.stats().journalOctets).toBeLessThan(octets - 60_000);
    const check = async (checked: typeof store) => {
      expect([await checked.contents(alice), await checked.contents(bob)]).toEqual(before);
      expect((await checked.readBody(shared.digest))?.equals(shared.bytes)).toBe(true);
      expect(await checked.readBody(bodies[3]?.digest ?? large.digest)).toBeUndefined();
      expect(await checked.readBody(large.digest)).toBeUndefined();
      for (const body of bodies.slice(90)) {
        expect((await checked.readBody(body.digest))?.equals(body.bytes)).toBe(true);
      }
    };
    await check(store);
    expect(filesIn(join(directory, "bodies")).filter((name) => name.length > 60)).toEqual([]);
    await store.close();
    fs.rmSync(join(directory, "views"), { recursive: true });
    const again = await open(directory);
    await check(again);
    await again.close();
  });

  test("a body that becomes referred to again meanwhile is kept", async () => {
    const store = await open(temporaryDirectory(), { segmentOctets: 5_000 });
    const bodies = Array.from({ length: 20 }, (_, n) => bodyOf(`${n} ${"y".repeat(1_000)}`));
    for (const [n, body] of bodies.entries()) await store.write([add(alice, n, body)], [body]);
    for (let n = 0; n < 20; n++) await store.write([remove(alice, n)]);
    const compacting = store.compact();
    const writes = bodies.map((body, n) => store.write([add(bob, 100 + n, body)], [body]));
    await Promise.all([compacting, ...writes]);
    for (const { digest, bytes } of bodies) {
      expect((await store.readBody(digest))?.equals(bytes)).toBe(true);
    }
    await store.close();
  });
});

describe("the directory", () => {
  test("is for the owner alone", async () => {
    const directory = join(temporaryDirectory(), "data");
    const store = await open(directory, { inlineBodyOctetsMax: 3 });
    const body = bodyOf("body");
    await store.write([add(alice, 1, body), putRegister("r", 1)], [body]);
    await store.close();
    for (const name of ["", ...filesIn(directory)]) {
      const { mode } = fs.statSync(join(directory, name));
      const isDirectory = fs.statSync(join(directory, name)).isDirectory();
      expect([name, (mode & 0o777).toString(8)]).toEqual([name, isDirectory ? "700" : "600"]);
    }
  });

  test("of a newer version is refused (K5)", async () => {
    const directory = temporaryDirectory();
    await (await open(directory)).close();
    const path = join(directory, "version");
    const version = JSON.parse(fs.readFileSync(path, "utf8")) as object;
    fs.writeFileSync(path, JSON.stringify({ ...version, format: 4 }));
    await expect(open(directory)).rejects.toThrow(StoreVersionError);
    await expect(open(directory)).rejects.toThrow(/newer version \(format 4/);
    fs.rmSync(path);
    await expect(open(directory)).rejects.toThrow(/no "version" file/);
  });

  test.each([1, 2])(
    "of format %i is read, and is of format 3 from the first start on",
    async (format) => {
      const directory = temporaryDirectory();
      const first = await open(directory);
      const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
      for (const n of numbers) await first.write([add(alice, n, bodyOf(`${n}`))], [bodyOf(`${n}`)]);
      // One by one, as format 1 has them.
      for (const n of numbers.slice(0, 10)) await first.write([remove(alice, n)]);
      const before = await first.contents(alice);
      await first.close();
      const path = join(directory, "version");
      const formatIn = (): unknown =>
        (JSON.parse(fs.readFileSync(path, "utf8")) as { format: unknown }).format;
      expect(formatIn()).toBe(3);
      fs.writeFileSync(
        path,
        fs.readFileSync(path, "utf8").replace('"format":3', `"format":${format}`),
      );
      const options = { tombstonesPerPack: 8, flushAfterMs: 0 };
      const second = await open(directory, options);
      expect(formatIn()).toBe(3);
      expect(await second.contents(alice)).toEqual(before);
      await second.write(numbers.slice(10, 18).map((n) => remove(alice, n)));
      const after = await ids(second, alice);
      expect(after).toEqual({ live: [idOf(19), idOf(20)], removed: expect.anything() });
      expect(after.removed).toHaveLength(18);
      await second.close();
      const third = await open(directory, options);
      const { live, removed } = await ids(third, alice);
      expect([live, [...removed].sort()]).toEqual([after.live, [...after.removed].sort()]);
      await third.close();
    },
  );

  test.each([0, 1.5, -1, "1", null])("of format %j is no store of ours", async (format) => {
    const directory = temporaryDirectory();
    await (await open(directory)).close();
    const path = join(directory, "version");
    const version = JSON.parse(fs.readFileSync(path, "utf8")) as object;
    fs.writeFileSync(path, JSON.stringify({ ...version, format }));
    await expect(open(directory)).rejects.toThrow(/is damaged/);
  });

  test("what is left in the spool is deleted at the start", async () => {
    const directory = temporaryDirectory();
    const first = await open(directory);
    fs.writeFileSync(first.spoolPath(), "half a mail");
    await first.close();
    await (await open(directory)).close();
    expect(filesIn(join(directory, "spool"))).toEqual([]);
  });
});
