/** A `Store` in memory whose writes become durable a simulated moment later, or never. */
import { createHash } from "node:crypto";
import type {
  CatalogEntry,
  MailboxContents,
  MailboxSummary,
  Store,
} from "../../src/replication/ports.js";
import type { Body } from "../../src/shared/body.js";
import type { BodyDigest, MailboxName, MessageId } from "../../src/shared/ids.js";
import type {
  Operation,
  RegisterState,
  StoredMessage,
  Tombstone,
} from "../../src/shared/operation.js";

const modulus = 1n << 128n;

function share(id: string, state: "live" | "removed"): bigint {
  const hash = createHash("sha256").update(`${id} ${state}`).digest("hex");
  return BigInt(`0x${hash.slice(0, 32)}`);
}

class MailboxState {
  readonly live = new Map<MessageId, StoredMessage>();
  readonly removed = new Map<MessageId, Tombstone>();
  digest = 0n;

  add(message: StoredMessage): void {
    if (this.live.has(message.id) || this.removed.has(message.id)) return;
    this.live.set(message.id, message);
    this.digest = (this.digest + share(message.id, "live")) % modulus;
  }

  remove(tombstone: Tombstone): void {
    const { id } = tombstone;
    if (this.removed.has(id)) return;
    this.removed.set(id, tombstone);
    this.digest = (this.digest + share(id, "removed")) % modulus;
    if (this.live.delete(id)) this.digest = (this.digest - share(id, "live") + modulus) % modulus;
  }

  summary(): MailboxSummary {
    return {
      digest: this.digest.toString(16).padStart(32, "0"),
      messages: this.live.size,
      tombstones: this.removed.size,
      octets: [...this.live.values()].reduce((sum, { bodyOctets }) => sum + bodyOctets, 0),
    };
  }

  clone(): MailboxState {
    const copy = new MailboxState();
    for (const [id, message] of this.live) copy.live.set(id, message);
    for (const [id, tombstone] of this.removed) copy.removed.set(id, tombstone);
    copy.digest = this.digest;
    return copy;
  }
}

interface Entry {
  readonly operations: readonly Operation[];
  readonly bodies: readonly Body[];
}

/** What a store comes to, on disk or in memory. */
export class StoreState {
  mailboxes = new Map<MailboxName, MailboxState>();
  registers = new Map<string, RegisterState>();
  locals = new Map<string, unknown>();
  bodies = new Map<BodyDigest, Buffer>();
  /** All that were ever added, and those whose client is known to have read the 250. */
  added = new Map<MessageId, { readonly mailbox: MailboxName; readonly message: StoredMessage }>();
  confirmed = new Set<MessageId>();

  apply({ operations, bodies }: Entry): void {
    for (const body of bodies) {
      if (body.kind === "bytes") this.bodies.set(body.digest, body.bytes);
    }
    for (const operation of operations) this.#applyOne(operation);
  }

  #applyOne(operation: Operation): void {
    switch (operation.kind) {
      case "AddMessage":
        this.added.set(operation.message.id, operation);
        return this.#mailbox(operation.mailbox).add(operation.message);
      case "RemoveMessage":
        return this.#mailbox(operation.mailbox).remove(operation.tombstone);
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

interface MemoryStoreOptions {
  /** What is durable; outlives the store. */
  readonly disk: StoreState;
  readonly after: (ms: number, run: () => void) => void;
  readonly random: () => number;
  /** Between a write and its durability. */
  readonly flushMaxMs: number;
}

interface Waiting extends Entry {
  readonly done: () => void;
}

/** One life of a store: from the start of a member to its crash. */
export class MemoryStore implements Store {
  readonly #options: MemoryStoreOptions;
  readonly #state: StoreState;
  #queue: Waiting[] = [];
  #isFlushing = false;
  #spooled = 0;

  constructor(options: MemoryStoreOptions) {
    this.#options = options;
    this.#state = options.disk.clone();
  }

  write(operations: readonly Operation[], bodies: readonly Body[] = []): Promise<void> {
    this.#state.apply({ operations, bodies });
    return new Promise((done) => {
      this.#queue.push({ operations, bodies, done });
      this.#flushSoon();
    });
  }

  durable(): Promise<void> {
    return this.#queue.length === 0 ? Promise.resolve() : this.write([]);
  }

  /** Group commit: what came meanwhile goes together, in order. */
  #flushSoon(): void {
    if (this.#isFlushing || this.#queue.length === 0) return;
    this.#isFlushing = true;
    const { after, random, flushMaxMs } = this.#options;
    const count = this.#queue.length;
    after(random() * flushMaxMs, () => {
      this.#isFlushing = false;
      for (const entry of this.#queue.splice(0, count)) {
        this.#options.disk.apply(entry);
        entry.done();
      }
      this.#flushSoon();
    });
  }

  /** Some of what was under way has reached the disk; nobody was told. */
  crash(): void {
    const count = Math.floor(this.#options.random() * (this.#queue.length + 1));
    for (const entry of this.#queue.splice(0, count)) this.#options.disk.apply(entry);
    this.#queue = [];
  }

  async contents(name: MailboxName): Promise<MailboxContents> {
    const { after, random } = this.#options;
    if (random() < 0.1) await new Promise<void>((resolve) => after(1, resolve));
    const mailbox = this.#state.mailboxes.get(name) ?? new MailboxState();
    const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);
    return {
      messages: [...mailbox.live.values()].sort(byId),
      tombstones: [...mailbox.removed.values()],
      summary: mailbox.summary(),
    };
  }

  hasMailbox(name: MailboxName): boolean {
    return this.#state.mailboxes.has(name);
  }

  /** Of what is durable; `pending` where memory knows more. */
  *catalog(): Iterable<CatalogEntry> {
    const flying = new Set(
      this.#queue.flatMap(({ operations }) =>
        operations.flatMap((operation) => ("mailbox" in operation ? operation.mailbox : [])),
      ),
    );
    for (const [mailbox] of this.#state.mailboxes) {
      const durable = this.#options.disk.mailboxes.get(mailbox) ?? new MailboxState();
      yield { mailbox, ...durable.summary(), pending: flying.has(mailbox) };
    }
  }

  register(name: string): RegisterState | undefined {
    return this.#state.registers.get(name);
  }

  registers(): Iterable<readonly [string, RegisterState]> {
    return this.#state.registers;
  }

  local(key: string): unknown {
    return this.#state.locals.get(key);
  }

  /** Here a deleted message is gone. */
  journaled(id: MessageId): ReturnType<Store["journaled"]> {
    for (const [mailbox, { live }] of this.#state.mailboxes) {
      const message = live.get(id);
      if (message) return Promise.resolve({ mailbox, message });
    }
    return Promise.resolve(undefined);
  }

  hasBody(digest: BodyDigest): Promise<boolean> {
    return Promise.resolve(this.#state.bodies.has(digest));
  }

  readBody(
    digest: BodyDigest,
    range?: { readonly offset: number; readonly length: number },
  ): Promise<Buffer | undefined> {
    const body = this.#state.bodies.get(digest);
    return Promise.resolve(
      range ? body?.subarray(range.offset, range.offset + range.length) : body,
    );
  }

  spoolPath(): string {
    this.#spooled += 1;
    return `/spool/${this.#spooled}`;
  }
}
