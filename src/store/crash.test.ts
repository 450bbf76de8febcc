import fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { MailboxName } from "../shared/ids.js";
import { StoreFullError } from "../shared/store-errors.js";
import { type DurableStore, openStore } from "./index.js";
import type { StoreLimits } from "./options.js";
import { seeded, SimulatedDisk } from "./simulated-disk.js";
import {
  add,
  bodyOf,
  collectLog,
  idOf,
  putRegister,
  remove,
  temporaryDirectory,
} from "./test-support.js";

const limits: Partial<StoreLimits> = {
  segmentOctets: 12_000,
  inlineBodyOctetsMax: 600,
  tombstonesPerPack: 3,
  checkpointOctets: 4_000,
  checkpointIdleMs: 20,
  openViewsMax: 2,
  openViewDocumentsMax: 60,
  flushAfterMs: 0,
  flushClosedAfterMs: 0,
  pendingPerMailboxMax: 8,
  pendingOperationsSoftMax: 30,
  pendingOperationsMax: 60,
  compactDeadShare: 0.3,
  vouchedBodyMs: 0,
};

const mailboxes = ["a", "b", "c", "d"].map((name) => `${name}@ring.test` as MailboxName);

/** What the test knows of one message. */
interface Known {
  readonly mailbox: MailboxName;
  readonly n: number;
  readonly content: Buffer;
  added: "acknowledged" | "refused" | "unknown";
  removed: "no" | "acknowledged" | "unknown";
}

/** A random user of the store that remembers every answer. */
class Workload {
  readonly known: Known[] = [];
  /** Per register: the newest acknowledged and the newest attempted value. */
  readonly registers = new Map<string, { acknowledged: number; attempted: number }>();
  #next = 1;
  readonly #contents: Buffer[] = [];

  constructor(
    readonly random: () => number,
    readonly disk: SimulatedDisk,
  ) {}

  pick<T>(list: readonly T[]): T {
    const item = list[Math.floor(this.random() * list.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  async run(store: DurableStore, steps: number): Promise<void> {
    const flying: Promise<void>[] = [];
    for (let i = 0; i < steps && !this.disk.stopped; i++) {
      flying.push(this.#step(store).catch(() => undefined));
      if (this.random() < 0.3) await Promise.race([...flying, new Promise(setImmediate)]);
      if (this.random() < 0.05) await Promise.all(flying.splice(0));
    }
    await Promise.all(flying);
  }

  #step(store: DurableStore): Promise<void> {
    const dice = this.random();
    if (dice < 0.55) return this.#add(store);
    if (dice < 0.8) return this.#remove(store);
    if (dice < 0.9) return this.#register(store);
    if (dice < 0.93) return this.#compact(store);
    if (dice < 0.97) return store.contents(this.pick(mailboxes)).then(() => undefined);
    // The disk fills up, and is emptied a little later.
    this.disk.freeOctets = Math.floor(this.random() * 2_000);
    setImmediate(() => setImmediate(() => (this.disk.freeOctets = Infinity)));
    return Promise.resolve();
  }

  async #compact(store: DurableStore): Promise<void> {
    await store.compact();
  }

  #content(): Buffer {
    if (this.#contents.length > 0 && this.random() < 0.3) return this.pick(this.#contents);
    const content = Buffer.alloc(Math.floor(this.random() * 900), `body ${this.#next} `);
    this.#contents.push(content);
    return content;
  }

  async #add(store: DurableStore): Promise<void> {
    const content = this.#content();
    const body = bodyOf(content);
    const count = this.random() < 0.2 ? 3 : 1;
    const added = Array.from({ length: count }, (_, i): Known => {
      const mailbox = mailboxes[(this.#next + i) % mailboxes.length] ?? this.pick(mailboxes);
      return { mailbox, n: this.#next++, content, added: "unknown", removed: "no" };
    });
    this.known.push(...added);
    try {
      await store.write(
        added.map(({ mailbox, n }) => add(mailbox, n, body)),
        [body],
      );
      for (const message of added) message.added = "acknowledged";
    } catch (error) {
      if (!(error instanceof StoreFullError)) throw error;
      for (const message of added) message.added = "refused";
    }
  }

  async #remove(store: DurableStore): Promise<void> {
    const candidates = this.known.filter(({ added }) => added === "acknowledged");
    if (candidates.length === 0) return;
    const message = this.pick(candidates);
    const before = message.removed;
    if (before === "no") message.removed = "unknown";
    try {
      await store.write([remove(message.mailbox, message.n)]);
      message.removed = "acknowledged";
    } catch (error) {
      if (error instanceof StoreFullError && message.removed === "unknown")
        message.removed = before;
      throw error;
    }
  }

  async #register(store: DurableStore): Promise<void> {
    const name = this.pick(["lock/a", "account/b", "roster"]);
    const state = this.registers.get(name) ?? { acknowledged: 0, attempted: 0 };
    this.registers.set(name, state);
    state.attempted += 1;
    const value = state.attempted;
    await store.write([putRegister(name, value)]);
    state.acknowledged = Math.max(state.acknowledged, value);
  }

  /** Every promise kept, nothing refused to be seen, nothing corrupt served. */
  async verify(store: DurableStore): Promise<void> {
    const live = new Map<string, Set<string>>();
    const tombs = new Map<string, Set<string>>();
    for (const mailbox of mailboxes) {
      const { messages, tombstones, summary } = await store.contents(mailbox);
      live.set(mailbox, new Set(messages.map(({ id }) => id)));
      tombs.set(mailbox, new Set(tombstones.map(({ id }) => id)));
      expect(summary.messages).toBe(messages.length);
      expect([...messages].sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(messages);
    }
    for (const message of this.known) {
      const id = idOf(message.n);
      const isLive = live.get(message.mailbox)?.has(id) === true;
      const isRemoved = tombs.get(message.mailbox)?.has(id) === true;
      if (message.removed === "acknowledged") expect([id, isRemoved]).toEqual([id, true]);
      if (message.removed === "no") expect([id, isRemoved]).toEqual([id, false]);
      if (message.added === "refused") expect([id, isLive]).toEqual([id, false]);
      if (message.added === "acknowledged") expect([id, isLive]).toEqual([id, !isRemoved]);
      if (isLive) {
        const read = await store.readBody(bodyOf(message.content).digest);
        expect([id, read?.equals(message.content)]).toEqual([id, true]);
      }
      // From now on it is known what became of it.
      if (message.added === "unknown") message.added = isLive ? "acknowledged" : "refused";
      if (message.removed === "unknown") message.removed = isRemoved ? "acknowledged" : "no";
    }
    for (const [name, { acknowledged, attempted }] of this.registers) {
      const value = Number(store.register(name)?.value ?? 0);
      expect(value).toBeGreaterThanOrEqual(acknowledged);
      expect(value).toBeLessThanOrEqual(attempted);
    }
  }
}

/** What a crash may do to the views: nothing, lose all since the checkpoint, or lose everything. */
function damageViews(directory: string, snapshot: string, random: () => number): string {
  const views = join(directory, "views");
  const dice = random();
  if (dice < 0.4) return "kept";
  if (dice < 0.6) {
    fs.rmSync(views, { recursive: true, force: true });
    return "deleted";
  }
  if (dice < 0.8 && fs.existsSync(snapshot)) {
    fs.rmSync(views, { recursive: true, force: true });
    fs.cpSync(snapshot, views, { recursive: true });
    return "old";
  }
  for (const name of fs.readdirSync(views, { recursive: true, encoding: "utf8" })) {
    const path = join(views, name);
    if (!name.includes("mailboxes") || !name.endsWith(".db") || random() < 0.5) continue;
    fs.truncateSync(path, Math.floor(fs.statSync(path).size * random()));
  }
  return "torn";
}

async function simulate(seed: number): Promise<void> {
  const random = seeded(seed);
  const disk = new SimulatedDisk(random);
  const directory = temporaryDirectory();
  const snapshot = join(temporaryDirectory(), "views");
  const workload = new Workload(random, disk);
  const log = collectLog();
  for (let round = 0; round < 6; round++) {
    const store = await openStore({ directory, log, disk, limits });
    await workload.verify(store);
    if (random() < 0.3)
      fs.cpSync(join(directory, "views"), snapshot, { recursive: true, force: true });
    disk.stopAfter(random() < 0.8 ? 20 + Math.floor(random() * 600) : Infinity);
    await workload.run(store, 200);
    if (!disk.stopped && random() < 0.5) {
      disk.stopAfter(Infinity);
      await workload.verify(store);
    }
    if (random() < 0.8) disk.stopAfter(0);
    await store.close();
    if (random() < 0.3) disk.restart();
    else disk.crash();
    damageViews(directory, snapshot, random);
  }
  const store = await openStore({ directory, log, disk, limits });
  await workload.verify(store);
  expect(workload.known.some(({ added }) => added === "acknowledged")).toBe(true);
  await store.close();
}

const seedList = process.env["STORE_SEED_LIST"]?.split(",").map(Number);

describe("a disk that loses, tears and refuses", () => {
  const seeds = Number(process.env["STORE_SEEDS"] ?? 25);
  const first = Number(process.env["STORE_SEED"] ?? 1);
  test.each(seedList ?? Array.from({ length: seeds }, (_, i) => first + i))(
    "seed %i",
    async (seed) => {
      await simulate(seed);
    },
  );
});
