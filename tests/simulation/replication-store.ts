/** A store in memory whose writes become durable a simulated moment later, or never. */
import { createHash } from "node:crypto";
import type { Copy } from "../../src/replication/delivery.js";
import type {
  BodyRange,
  CatalogEntry,
  Files,
  MailboxContents,
  MailboxSummary,
  SpoolFile,
  Store,
} from "../../src/replication/ports.js";
import type { Body } from "../../src/shared/body.js";
import type { BodyDigest, MailboxName, MessageId } from "../../src/shared/ids.js";
import { type Floor, isSunk } from "../../src/shared/floor.js";
import type {
  Operation,
  RegisterState,
  StoredMessage,
  Tombstone,
} from "../../src/shared/operation.js";
import {
  BodyCorruptError,
  StoreFailedError,
  StoreFullError,
} from "../../src/shared/store-errors.js";
import type {
  OpenedStore,
  OpenOptions,
  SimulatedStorage,
  StorageOptions,
} from "./replication-disks.js";

const modulus = 1n << 128n;

function share(id: string, state: "live" | "removed" | "floor"): bigint {
  const hash = createHash("sha256").update(`${id} ${state}`).digest("hex");
  return BigInt(`0x${hash.slice(0, 32)}`);
}

class MailboxState {
  readonly live = new Map<MessageId, StoredMessage>();
  readonly removed = new Map<MessageId, Tombstone>();
  floor: Floor | undefined;
  #digest = 0n;
  #summary: MailboxSummary | undefined;

  add(message: StoredMessage): void {
    if (this.live.has(message.id) || this.removed.has(message.id)) return;
    if (isSunk(this.floor, message.id)) return;
    this.live.set(message.id, message);
    this.#change(share(message.id, "live"));
  }

  remove(tombstone: Tombstone): void {
    const { id } = tombstone;
    if (this.removed.has(id) || isSunk(this.floor, id)) return;
    this.removed.set(id, tombstone);
    this.#change(share(id, "removed"));
    if (this.live.delete(id)) this.#change(modulus - share(id, "live"));
  }

  raise(floor: Floor): void {
    if (this.floor !== undefined && floor.below <= this.floor.below) return;
    if (this.floor !== undefined) this.#change(modulus - share(this.floor.below, "floor"));
    this.#change(share(floor.below, "floor"));
    this.floor = floor;
    for (const id of [...this.live.keys()].filter((each) => isSunk(floor, each))) {
      this.live.delete(id);
      this.#change(modulus - share(id, "live"));
    }
    for (const id of [...this.removed.keys()].filter((each) => isSunk(floor, each))) {
      this.removed.delete(id);
      this.#change(modulus - share(id, "removed"));
    }
  }

  #change(by: bigint): void {
    this.#digest = (this.#digest + by) % modulus;
    this.#summary = undefined;
  }

  summary(): MailboxSummary {
    this.#summary ??= {
      digest: this.#digest.toString(16).padStart(32, "0"),
      messages: this.live.size,
      tombstones: this.removed.size,
      octets: [...this.live.values()].reduce((sum, { bodyOctets }) => sum + bodyOctets, 0),
    };
    return this.#summary;
  }

  clone(): MailboxState {
    const copy = new MailboxState();
    for (const [id, message] of this.live) copy.live.set(id, message);
    for (const [id, tombstone] of this.removed) copy.removed.set(id, tombstone);
    copy.floor = this.floor;
    copy.#digest = this.#digest;
    return copy;
  }
}

const noMailbox = new MailboxState();

interface Entry {
  readonly operations: readonly Operation[];
  readonly bodies: readonly { readonly digest: BodyDigest; readonly bytes: Buffer }[];
}

/** What a store comes to, on disk or in memory. */
class StoreState {
  mailboxes = new Map<MailboxName, MailboxState>();
  registers = new Map<string, RegisterState>();
  locals = new Map<string, unknown>();
  bodies = new Map<BodyDigest, Buffer>();
  /** All that were ever added, and those whose client is known to have read the 250. */
  added = new Map<MessageId, Copy>();
  confirmed = new Set<MessageId>();

  apply({ operations, bodies }: Entry): void {
    for (const { digest, bytes } of bodies) this.bodies.set(digest, bytes);
    for (const operation of operations) this.#applyOne(operation);
  }

  #applyOne(operation: Operation): void {
    switch (operation.kind) {
      case "AddMessage":
        this.added.set(operation.message.id, operation);
        return this.#mailbox(operation.mailbox).add(operation.message);
      case "RemoveMessage":
        return this.#mailbox(operation.mailbox).remove(operation.tombstone);
      case "RaiseFloor":
        return this.#mailbox(operation.mailbox).raise(operation.floor);
      case "PutRegister":
        this.registers.set(operation.register, operation.state);
        return;
      case "DropMailbox":
        this.mailboxes.delete(operation.mailbox);
        return;
      case "ConfirmMessages":
        for (const id of operation.ids) this.confirmed.add(id);
        return;
      case "PutLocal":
        this.locals.set(operation.key, operation.value);
    }
  }

  #mailbox(name: MailboxName): MailboxState {
    const known = this.mailboxes.get(name);
    if (known) return known;
    const created = new MailboxState();
    this.mailboxes.set(name, created);
    return created;
  }

  clone(): StoreState {
    const copy = new StoreState();
    for (const [name, mailbox] of this.mailboxes) copy.mailboxes.set(name, mailbox.clone());
    copy.registers = new Map(this.registers);
    copy.locals = new Map(this.locals);
    copy.bodies = new Map(this.bodies);
    copy.added = new Map(this.added);
    copy.confirmed = new Set(this.confirmed);
    return copy;
  }
}

/** A member's disk without files: it keeps whole operations, in the order of their writes. */
export class MemoryStorage implements SimulatedStorage {
  readonly durable = new StoreState();
  isFull = false;
  syncFails = false;
  #open: MemoryStore | undefined;

  constructor(readonly options: StorageOptions) {}

  open(options: OpenOptions): Promise<OpenedStore> {
    const store = new MemoryStore(this, options);
    this.#open = store;
    const { added, confirmed } = this.durable;
    const recent = [...added.values()].filter(({ message }) => !confirmed.has(message.id));
    return Promise.resolve({
      store,
      files: store.files,
      recent,
      onFailure: (listener) => {
        store.onFailure = listener;
      },
    });
  }

  crash(kind: "power" | "process"): void {
    this.#open?.crash(kind);
    this.#open = undefined;
    this.syncFails = false;
  }

  setFull(full: boolean): void {
    this.isFull = full;
  }

  failSync(): void {
    this.syncFails = true;
  }

  mend(): void {
    this.isFull = false;
    this.syncFails = false;
  }

  flipBit(): string | undefined {
    const digest = this.options.dice.pick([...this.durable.bodies.keys()]);
    if (digest === undefined) return undefined;
    for (const { bodies } of [this.durable, this.#open?.state ?? this.durable]) {
      const damaged = Buffer.from(bodies.get(digest) ?? Buffer.alloc(1));
      damaged[0] = (damaged[0] ?? 0) ^ 0x10;
      bodies.set(digest, damaged);
    }
    return `body ${digest.slice(0, 8)}`;
  }
}

interface Waiting extends Entry {
  readonly done: () => void;
  readonly fail: (error: Error) => void;
}

/** One life of a store: from the start of a member to its crash. */
export class MemoryStore implements Store {
  readonly state: StoreState;
  readonly files: Files;
  onFailure: (error: StoreFailedError) => void = () => undefined;
  readonly #spool = new Map<string, Buffer>();
  #failure: StoreFailedError | undefined;
  #queue: Waiting[] = [];
  #isFlushing = false;
  #spooled = 0;

  constructor(
    private readonly storage: MemoryStorage,
    private readonly options: OpenOptions,
  ) {
    this.state = storage.durable.clone();
    this.files = memoryFiles(this.#spool);
  }

  write(operations: readonly Operation[], bodies: readonly Body[] = []): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.storage.isFull) return Promise.reject(new StoreFullError("the disk is full"));
    const entry = { operations, bodies: bodies.map((body) => this.#taken(body)) };
    this.state.apply(entry);
    return new Promise((done, fail) => {
      this.#queue.push({ ...entry, done, fail });
      this.#flushSoon();
    });
  }

  #taken(body: Body): { digest: BodyDigest; bytes: Buffer } {
    if (body.kind === "bytes") return body;
    const bytes = this.#spool.get(body.path);
    if (!bytes) throw new Error(`there is no spooled file ${body.path}`);
    this.#spool.delete(body.path);
    return { digest: body.digest, bytes };
  }

  durable(): Promise<void> {
    return this.#queue.length === 0 ? Promise.resolve() : this.write([]);
  }

  /** Group commit: what came meanwhile goes together, in order. */
  #flushSoon(): void {
    if (this.#isFlushing || this.#queue.length === 0) return;
    this.#isFlushing = true;
    const { dice, flushMaxMs } = this.storage.options;
    const count = this.#queue.length;
    this.options.after(dice.next() * flushMaxMs, () => {
      this.#isFlushing = false;
      if (this.storage.syncFails) return this.#fail();
      for (const entry of this.#queue.splice(0, count)) {
        this.storage.durable.apply(entry);
        entry.done();
      }
      this.#flushSoon();
    });
  }

  #fail(): void {
    this.#failure = new StoreFailedError("the disk failed");
    for (const { fail } of this.#queue) fail(this.#failure);
    this.onFailure(this.#failure);
  }

  /** Of what was under way, some has reached the disk, or all; nobody was told. */
  crash(kind: "power" | "process"): void {
    const share = kind === "process" ? 1 : this.storage.options.dice.next();
    const count = Math.floor(share * (this.#queue.length + 0.999));
    for (const entry of this.#queue.splice(0, count)) this.storage.durable.apply(entry);
    this.#queue = [];
  }

  async summary(name: MailboxName): Promise<MailboxSummary> {
    return (await this.contents(name)).summary;
  }

  async contents(name: MailboxName): Promise<MailboxContents> {
    if (this.storage.options.dice.chance(0.1)) {
      await new Promise<void>((resolve) => this.options.after(1, resolve));
    }
    const mailbox = this.state.mailboxes.get(name) ?? noMailbox;
    const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);
    return {
      messages: [...mailbox.live.values()].sort(byId),
      tombstones: [...mailbox.removed.values()],
      floor: mailbox.floor,
      summary: mailbox.summary(),
    };
  }

  async floor(name: MailboxName): Promise<Floor | undefined> {
    return (await this.contents(name)).floor;
  }

  hasMailbox(name: MailboxName): boolean {
    return this.state.mailboxes.has(name);
  }

  /** Of what is durable; `pending` where memory knows more. */
  *catalog(): Iterable<CatalogEntry> {
    const flying = new Set(
      this.#queue.flatMap(({ operations }) =>
        operations.flatMap((operation) => ("mailbox" in operation ? operation.mailbox : [])),
      ),
    );
    for (const mailbox of this.state.mailboxes.keys()) {
      const durable = this.storage.durable.mailboxes.get(mailbox) ?? noMailbox;
      yield { mailbox, ...durable.summary(), pending: flying.has(mailbox) };
    }
  }

  register(name: string): RegisterState | undefined {
    return this.state.registers.get(name);
  }

  registers(): Iterable<readonly [string, RegisterState]> {
    return this.state.registers;
  }

  local(key: string): unknown {
    return this.state.locals.get(key);
  }

  /** Here a deleted message is gone. */
  journaled(id: MessageId): ReturnType<Store["journaled"]> {
    for (const [mailbox, { live }] of this.state.mailboxes) {
      const message = live.get(id);
      if (message) return Promise.resolve({ mailbox, message });
    }
    return Promise.resolve(undefined);
  }

  hasBody(digest: BodyDigest): Promise<boolean> {
    return Promise.resolve(this.state.bodies.has(digest));
  }

  readBody(digest: BodyDigest, range?: BodyRange): Promise<Buffer | undefined> {
    const body = this.state.bodies.get(digest);
    if (!body || range) {
      return Promise.resolve(range && body?.subarray(range.offset, range.offset + range.length));
    }
    const isSound = createHash("sha256").update(body).digest("hex") === digest;
    return isSound ? Promise.resolve(body) : Promise.reject(new BodyCorruptError(digest));
  }

  spoolPath(): string {
    this.#spooled += 1;
    return `/spool/${this.#spooled}`;
  }
}

function memoryFiles(spool: Map<string, Buffer>): Files {
  const contentOf = (path: string): Buffer => {
    const content = spool.get(path);
    if (!content) throw Object.assign(new Error(`no file ${path}`), { code: "ENOENT" });
    return content;
  };
  return {
    create: (path): Promise<SpoolFile> => {
      spool.set(path, Buffer.alloc(0));
      return Promise.resolve({
        path,
        append: async (chunk) => {
          spool.set(path, Buffer.concat([contentOf(path), chunk]));
        },
        close: () => Promise.resolve(),
      });
    },
    link: async (from, to) => {
      spool.set(to, contentOf(from));
    },
    read: async (path, offset, length) => contentOf(path).subarray(offset, offset + length),
    remove: async (path) => {
      spool.delete(path);
    },
  };
}
