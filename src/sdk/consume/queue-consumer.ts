/**
 * One consumer of a queue of the ring. The queue is a maildrop: what is retrieved is leased, and
 * comes again unless it is settled in time. An entry has one message, or, of an exclusive queue, as many
 * as came together; it is settled when all of them are.
 */
import type { Pop3Client } from "../../client/pop3-client.js";
import type { ConsumeOptions } from "../api.js";
import { Poller } from "../account/poller.js";
import { headerField } from "../header-field.js";
import type { InboundMessage, Link, Shown } from "../link/ports.js";
import { batchesOf } from "./batches.js";
import type { Bell } from "./bell.js";
import { messageOf } from "./message.js";
import type { Settler, Wish } from "./settler.js";
import { DeliveryStream, type Settle } from "./stream.js";
import { within } from "../waiting.js";

/** How long the end of a consumer waits for the ring; a lease that nobody ends is over by itself. */
const givenBackMs = 5_000;
/** After its time is over, no sender sends the rest of a message; what it sent before is there by then. */
const lateMs = 600_000;
/** Until the next look, where a bell tells of what comes: only to be safe, and while entries are in hand. */
const restMs = { quiet: 10_000, inHand: 100 } as const;

export interface QueueConsumerOptions {
  readonly queue: string;
  readonly link: Link;
  readonly settler: Settler;
  /** Opens the queue's maildrop. */
  readonly open: (use: (client: Pop3Client) => Promise<void>) => Promise<void>;
  readonly leaseMs: number;
  readonly poll: { readonly minMs: number; readonly maxMs: number };
  /** Told why the queue can't be consumed (any more); it is tried again. */
  readonly failed: (error: unknown) => void;
  readonly closing: AbortSignal;
  /** Tells when the queue is worth a look. */
  readonly bell?: Bell | undefined;
  /** Where pushed entries come, and pokes. */
  readonly opened: (consumer: QueueConsumer) => void;
  readonly closed: (consumer: QueueConsumer) => void;
}

interface Entry {
  readonly uid: string;
  readonly redelivered: number;
  readonly isSingle: boolean;
  /** Messages that are not settled. */
  readonly left: Set<InboundMessage>;
  /** Messages that are not in the application's hands: the lease is kept for them. */
  readonly kept: Set<InboundMessage>;
  isRejected: boolean;
  isReleased: boolean;
}

export class QueueConsumer {
  readonly stream: DeliveryStream;
  readonly #options: QueueConsumerOptions;
  readonly #end = new AbortController();
  readonly #poller: Poller;
  /** In hand, by unique-id. */
  readonly #entries = new Map<string, Entry>();
  /** Those that have blocks of a message, in front of the one that made it whole. */
  readonly #blocks = new Map<InboundMessage, Entry[]>();
  /** All their blocks are here. */
  readonly #whole = new WeakSet<InboundMessage>();
  /** The ring may not know yet what became of them. */
  readonly #settling = new Set<string>();
  /** The ring was asked to, and has not answered. */
  readonly #extending = new Set<string>();
  readonly #leases: NodeJS.Timeout;
  /** Something was left in the queue because there was no room for it. */
  #isShort = false;
  /** A session in which entries are fetched; never rejects. */
  #collecting: Promise<unknown> = Promise.resolve();
  #isQuiet = false;
  /** The last look has shown all that there was. */
  #isResting = false;
  /** It found something, and has not been quiet since. */
  #isBusy = false;

  constructor(options: QueueConsumerOptions, consume: ConsumeOptions) {
    this.#options = options;
    this.stream = new DeliveryStream({
      ...consume,
      closing: options.closing,
      // Else the queue is looked into when its time has come: for a hundred queues that is much.
      onRoom: () => {
        if (!this.#isShort || !this.stream.hasMuchRoom) return;
        this.#isShort = false;
        this.#poller.poke();
      },
      // It may be closed already, before this object is whole.
      onClose: () => queueMicrotask(() => this.#close()),
      givenBack: () => this.#givenBack(),
    });
    const { minMs, maxMs } = options.poll;
    const { signal } = this.#end;
    this.#poller = new Poller({ minMs, maxMs, look: () => this.#look(), signal });
    this.#leases = setInterval(() => this.#keepLeases(), Math.max(options.leaseMs / 3, 10));
    this.#leases.unref();
    options.bell?.add(this);
    options.opened(this);
  }

  get queue(): string {
    return this.#options.queue;
  }

  /** It looks again when it is poked. */
  get isQuiet(): boolean {
    return this.#isQuiet;
  }

  poke(): void {
    this.#poller.poke();
  }

  /** Is this delivery of an entry, by its first message, in hand here and not settled? */
  has(uid: string, { messages, waiting }: Shown): boolean {
    const first = messages[0] ?? waiting[0];
    const left = [...(this.#entries.get(uid)?.left ?? [])];
    return left.some((one) => one.redelivered === first?.redelivered);
  }

  /** Also of entries that were pushed, as mails. */
  async take(uid: string, shown: Shown, redelivered: number): Promise<void> {
    const { messages, waiting, over = [] } = shown;
    for (const message of over) await this.#over(message);
    for (const message of messages) this.#whole.add(message);
    const left = new Set([...messages, ...waiting]);
    if (left.size === 0) return this.#settleLater({ kind: "ack", entry: uid });
    const isSingle = left.size === 1 && waiting.length === 0;
    const state = { isRejected: false, isReleased: false };
    const entry: Entry = { uid, redelivered, isSingle, left, kept: new Set(left), ...state };
    this.#entries.set(uid, entry);
    for (const message of waiting) {
      this.#blocks.set(message, [...(this.#blocks.get(message) ?? []), entry]);
    }
    for (const message of messages) await this.#offer(entry, message, 0);
  }

  async #look(): Promise<boolean | number> {
    this.#isQuiet = false;
    this.#isResting = false;
    this.#isShort = !this.stream.hasMuchRoom;
    if (this.#isShort) return false;
    let found = false;
    // As it is before the queue is listed: what is settled meanwhile is still in the list.
    const known = new Set([...this.#entries.keys(), ...this.#settling]);
    try {
      await this.#options.open(async (client) => {
        const collecting = this.#collect(client, known);
        this.#collecting = collecting.catch(() => undefined);
        found = await collecting;
      });
    } catch (error) {
      if (!this.#end.signal.aborted) this.#options.failed(error);
      return found;
    }
    return this.#restAfter(found);
  }

  /** The next look is when the bell says so. */
  #restAfter(found: boolean): boolean | number {
    this.#isBusy ||= found;
    if (this.#options.bell?.isOfUse !== true || this.#isShort) return found;
    this.#isResting = true;
    this.#beQuiet();
    if (this.#isQuiet) return restMs.quiet;
    return found && restMs.inHand;
  }

  /** Not before all is settled: what is in hand is shown again at each look, and to the bell it is something. */
  #beQuiet(): void {
    const hasSome = this.#entries.size > 0 || this.#settling.size > 0;
    if (!this.#isResting || this.#isQuiet || hasSome || this.#end.signal.aborted) return;
    this.#isQuiet = true;
    this.#poller.rest(restMs.quiet);
    this.#options.bell?.listen({ isBusy: this.#isBusy });
    this.#isBusy = false;
  }

  async #collect(client: Pop3Client, known: ReadonlySet<string>): Promise<boolean> {
    // Ended while it waited for the maildrop: what is not retrieved is not ours.
    if (this.#end.signal.aborted) return false;
    const listed = await client.list();
    const uids = listed.length === 0 ? [] : await client.uidl();
    // An exclusive queue shows what is in hand as well, since a process before this one may have had it; any
    // queue does, when its leader has died.
    const fresh = listed.filter(([number]) => !known.has(uids[number - 1] ?? ""));
    let found = false;
    for (const batch of batchesOf(fresh)) {
      this.#isShort = this.stream.room < batch.length;
      // What is not retrieved goes back to the queue at the end of the session.
      const numbers = batch.slice(0, Math.max(0, this.stream.room));
      if (numbers.length === 0 || this.#end.signal.aborted) break;
      const ids = numbers.map((number) => uids[number - 1] ?? "");
      for await (const mail of client.retrEach(numbers)) {
        found = (await this.#receive(mail, ids.shift() ?? "")) || found;
      }
    }
    return found;
  }

  async #receive(mail: Buffer, uid: string): Promise<boolean> {
    const { link, queue } = this.#options;
    const received = await link.receive(mail, uid, queue);
    switch (received.kind) {
      case "entry":
        await this.take(uid, received, Number(headerField(mail, "Ringpost-Redelivered")));
        return true;
      case "dead":
        this.#settleLater({ kind: "reject", entry: uid });
        return true;
      case "done":
        this.#settleLater({ kind: "ack", entry: uid });
        return true;
      default:
        // Its lease runs out, and it comes again.
        return false;
    }
  }

  async #offer(entry: Entry, inbound: InboundMessage, again: number): Promise<void> {
    try {
      const message = await messageOf(inbound, entry.redelivered + again);
      this.stream.offer(message, this.#settleOf(entry, inbound, again), again > 0);
    } catch (error) {
      this.#options.failed(error);
      this.#settle(this.#done(entry, inbound, true));
    }
  }

  #settleOf(entry: Entry, inbound: InboundMessage, again: number): Settle {
    const { link, settler, leaseMs } = this.#options;
    const { uid } = entry;
    return {
      ack: async () => {
        await link.consume(inbound);
        await this.#done(entry, inbound);
      },
      nack: async (delayMs) => {
        if (entry.isSingle) {
          this.#drop(entry);
          await this.#put({ kind: "nack", entry: uid, delayMs });
          return;
        }
        // The others of the entry are under way: this one waits here.
        entry.kept.add(inbound);
        const timer = setTimeout(() => void this.#offer(entry, inbound, again + 1), delayMs);
        timer.unref();
      },
      reject: () => this.#done(entry, inbound, true),
      working: () => settler.put({ kind: "extend", entry: uid, ms: leaseMs }),
      release: () => this.#release(entry),
      handed: () => {
        for (const each of this.#with(entry, inbound)) each.kept.delete(inbound);
      },
    };
  }

  /** All entries that have a part of the message. */
  #with(entry: Entry, inbound: InboundMessage): readonly Entry[] {
    return [...(this.#blocks.get(inbound) ?? []), entry];
  }

  async #done(entry: Entry, inbound: InboundMessage, isRejected = false): Promise<void> {
    const entries = this.#with(entry, inbound);
    this.#blocks.delete(inbound);
    for (const each of entries) each.isRejected ||= isRejected;
    await Promise.all(entries.map((each) => this.#doneIn(each, inbound)));
  }

  /** Nobody sends the rest of it: its blocks are done with. */
  async #over(message: InboundMessage): Promise<void> {
    await this.#options.link.consume(message);
    const entries = this.#blocks.get(message) ?? [];
    this.#blocks.delete(message);
    await Promise.all(entries.map((each) => this.#doneIn(each, message)));
  }

  /** Waits for the ring where others compete for the entry; else our journal knows that it is done. */
  async #doneIn(entry: Entry, inbound: InboundMessage): Promise<void> {
    entry.left.delete(inbound);
    entry.kept.delete(inbound);
    if (entry.left.size > 0) return;
    this.#drop(entry);
    const wish = { kind: entry.isRejected ? "reject" : "ack", entry: entry.uid } as const;
    if (entry.isSingle) await this.#put(wish);
    else this.#settleLater(wish);
  }

  /** Until the ring has done it, it may show the entry once more. */
  async #put(wish: Wish, urgency?: { readonly canWait: boolean }): Promise<void> {
    this.#settling.add(wish.entry);
    try {
      await this.#options.settler.put(wish, urgency);
    } finally {
      this.#settling.delete(wish.entry);
      this.#beQuiet();
    }
  }

  #settleLater(wish: Wish): void {
    this.#settle(this.#put(wish, { canWait: true }));
  }

  /** The consumer has ended: another one may have it at once. */
  #release(entry: Entry): void {
    if (entry.isReleased) return;
    entry.isReleased = true;
    this.#drop(entry);
    const { settler, closing } = this.#options;
    if (!closing.aborted) {
      this.#settle(settler.put({ kind: "nack", entry: entry.uid, delayMs: 0 }));
    }
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry.uid);
  }

  /** Nobody waits for it; what fails comes again. */
  #settle(settled: Promise<void>): void {
    settled.catch((error: unknown) => {
      if (!this.#options.closing.aborted) this.#options.failed(error);
    });
  }

  /** What waits for the application stays ours; what it has in hand it keeps by `working`. */
  #keepLeases(): void {
    const { settler, leaseMs } = this.#options;
    const longAgoMs = Date.now() - lateMs;
    for (const [message, [first]] of this.#blocks) {
      const isWaiting = first?.left.has(message) === true && !this.#whole.has(message);
      const { expiresAtMs = Number.POSITIVE_INFINITY } = message.properties;
      if (isWaiting && expiresAtMs < longAgoMs) this.#settle(this.#over(message));
    }
    for (const { uid, kept } of this.#entries.values()) {
      // While the ring does not answer, one of each waits, and not one more each time.
      if (kept.size === 0 || this.#extending.has(uid)) continue;
      this.#extending.add(uid);
      const extended = settler.put({ kind: "extend", entry: uid, ms: leaseMs }, { canWait: true });
      this.#settle(extended.finally(() => void this.#extending.delete(uid)));
    }
  }

  /** A client that closes next says nothing more: others would wait until the lease is over. */
  async #givenBack(): Promise<void> {
    const { closing: signal, queue } = this.#options;
    const settled = this.#settled();
    await within(settled, { ms: givenBackMs, what: queue, signal }).catch(() => undefined);
  }

  /** What is being fetched goes back as soon as it is here. */
  async #settled(): Promise<void> {
    await Promise.all([this.#collecting, this.stream.settled()]);
    await this.#options.settler.settled();
  }

  #close(): void {
    if (this.#end.signal.aborted) return;
    this.#end.abort();
    clearInterval(this.#leases);
    this.#options.bell?.delete(this);
    this.#options.closed(this);
  }
}
