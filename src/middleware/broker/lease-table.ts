/**
 * What is handed out of one queue, and to whom: in memory of its leader only. Pure; the times come
 * with the calls. Whatever is forgotten here is handed out again.
 */
import type { MessageId } from "../../shared/ids.js";
import type { StoredMessage } from "../../shared/operation.js";
import type { FormerDeliveries } from "./delivery-counts.js";
import { type DeathReason, type EntryFacts, factsIn } from "./entry.js";
import { Heap } from "./heap.js";

export interface Now {
  /** Never goes back: for leases and delays. */
  readonly monotonicMs: number;
  /** Milliseconds since 1970: for what messages say. */
  readonly wallMs: number;
}

export interface Leased {
  readonly message: StoredMessage;
  /** How often it was handed out before. */
  readonly redelivered: number;
}

export interface Doomed {
  readonly message: StoredMessage;
  readonly why: DeathReason;
}

export interface LeaseRules {
  readonly leaseMs: number;
  readonly deliveriesMax: number;
  /** Dead letters of others: they neither expire nor die again. */
  readonly isForDead: boolean;
}

export interface Counts {
  readonly ready: number;
  readonly delayed: number;
  readonly leased: number;
  readonly octets: number;
}

interface Entry {
  readonly message: StoredMessage;
  readonly facts: EntryFacts;
  state: "ready" | "delayed" | "leased" | "held";
  deliveries: number;
  /** A former leader may have handed it out. */
  maybe: boolean;
  /** Of what waits in a heap, only what has the present one counts. */
  version: number;
  session: string | undefined;
}

interface Waiting {
  readonly id: MessageId;
  readonly version: number;
}
interface Timed extends Waiting {
  readonly atMs: number;
}
interface Sorted extends Waiting {
  readonly priority: number;
}

/** Of what is over, in a heap. */
const sparesMax = 1_000;

const isMoreUrgent = (a: Sorted, b: Sorted): boolean =>
  a.priority !== b.priority ? a.priority > b.priority : a.id < b.id;
const isSooner = (a: Timed, b: Timed): boolean => a.atMs < b.atMs;

const octetsOf = ({ bodyOctets, trace }: StoredMessage): number =>
  bodyOctets + Buffer.byteLength(trace);

/** At least so often, with what a former leader may have done. */
const timesBefore = ({ deliveries, maybe }: Entry): number =>
  Math.max(deliveries - 1, maybe ? 1 : 0);

export class LeaseTable {
  /** Changes when an entry comes back that was handed out; not when it was only shown. */
  returns = 0;
  private readonly entries = new Map<MessageId, Entry>();
  private readonly ready = new Heap<Sorted>(isMoreUrgent);
  /** Ends of leases and of delays, by the monotonic clock. */
  private readonly timers = new Heap<Timed>(isSooner);
  /** Ends of lives, by the wall clock. */
  private readonly ends = new Heap<Timed>(isSooner);
  private doomed: Doomed[] = [];

  constructor(public rules: LeaseRules) {}

  get size(): number {
    return this.entries.size;
  }

  has(id: MessageId): boolean {
    return this.entries.has(id);
  }

  get(id: MessageId): StoredMessage | undefined {
    return this.entries.get(id)?.message;
  }

  *messages(): Iterable<StoredMessage> {
    for (const { message } of this.entries.values()) yield message;
  }

  /** What is in the queue now: what is new is handed out, what is gone is forgotten. */
  reconcile(messages: readonly StoredMessage[], now: Now): void {
    const there = new Set(messages.map(({ id }) => id));
    for (const id of this.entries.keys()) if (!there.has(id)) this.entries.delete(id);
    for (const message of messages) if (!this.entries.has(message.id)) this.admit(message, now);
  }

  private admit(message: StoredMessage, now: Now): void {
    const facts = factsIn(message);
    if (!facts) return;
    const entry: Entry = {
      ...{ message, facts, state: "ready", deliveries: 0, maybe: false, version: 0 },
      session: undefined,
    };
    this.entries.set(message.id, entry);
    const { deliverAtMs = 0, expiresAtMs } = facts;
    if (expiresAtMs !== undefined && !this.rules.isForDead) {
      this.ends.push({ id: message.id, version: 0, atMs: expiresAtMs });
      this.tidy(this.ends, ({ id }) => this.entries.has(id));
    }
    const delayMs = deliverAtMs - now.wallMs;
    if (delayMs > 0) this.wait(entry, "delayed", now.monotonicMs + delayMs);
    else this.makeReady(entry);
  }

  private makeReady(entry: Entry): void {
    entry.state = "ready";
    entry.session = undefined;
    entry.version += 1;
    const { message, facts, version } = entry;
    this.ready.push({ id: message.id, version, priority: facts.priority });
    this.tidy(this.ready, this.isCurrent);
  }

  private wait(entry: Entry, state: "delayed" | "leased", untilMs: number): void {
    entry.state = state;
    entry.version += 1;
    this.timers.push({ id: entry.message.id, version: entry.version, atMs: untilMs });
    this.tidy(this.timers, this.isCurrent);
  }

  private readonly isCurrent = ({ id, version }: Waiting): boolean =>
    this.entries.get(id)?.version === version;

  /** What is over comes to the top of a heap late, or never: where nobody takes anything, or for long leases. */
  private tidy<T extends Waiting>(heap: Heap<T>, isWanted: (item: T) => boolean): void {
    if (heap.size > 2 * this.entries.size + sparesMax) heap.keep(isWanted);
  }

  /** What it keeps in mind besides its entries. */
  get waiting(): number {
    return this.ready.size + this.timers.size + this.ends.size;
  }

  /** What is due happens: leases and delays end, lives end. */
  private settle(now: Now): void {
    for (let first = this.timers.peek(); first; first = this.timers.peek()) {
      if (first.atMs > now.monotonicMs) break;
      this.timers.pop();
      const entry = this.entries.get(first.id);
      if (entry?.version !== first.version) continue;
      if (entry.state === "leased") this.returns += 1;
      this.comeBack(entry, now);
    }
    for (let first = this.ends.peek(); first; first = this.ends.peek()) {
      if (first.atMs > now.wallMs) break;
      this.ends.pop();
      const entry = this.entries.get(first.id);
      if (!entry || entry.state === "held") continue;
      // Who has it at the moment may finish it; else it is dead when it comes back.
      if (entry.state !== "leased") this.doom(entry, "expired");
    }
  }

  /** False when it is to become a dead letter. */
  private comeBack(entry: Entry, now: Now): boolean {
    const { deliveriesMax, isForDead } = this.rules;
    const isWorn = !isForDead && entry.deliveries >= deliveriesMax;
    const isExpired = this.isExpired(entry, now);
    if (isExpired || isWorn) this.doom(entry, isExpired ? "expired" : "deliveries");
    else this.makeReady(entry);
    return !isExpired && !isWorn;
  }

  private doom(entry: Entry, why: DeathReason): void {
    this.holdEntry(entry);
    this.doomed.push({ message: entry.message, why });
  }

  private holdEntry(entry: Entry): void {
    entry.state = "held";
    entry.session = undefined;
    entry.version += 1;
  }

  private isExpired({ facts }: Entry, now: Now): boolean {
    const { expiresAtMs = Infinity } = facts;
    return !this.rules.isForDead && expiresAtMs <= now.wallMs;
  }

  /** Hands out up to `max`; what the session has already comes first, so that asking twice is harmless. */
  take(session: string, max: number, now: Now): readonly Leased[] {
    this.settle(now);
    const taken: Entry[] = [];
    for (let first = this.ready.peek(); first && taken.length < max; first = this.ready.peek()) {
      this.ready.pop();
      const entry = this.entries.get(first.id);
      if (entry?.version !== first.version) continue;
      if (this.isExpired(entry, now)) {
        this.doom(entry, "expired");
        continue;
      }
      entry.session = session;
      entry.deliveries += 1;
      this.wait(entry, "leased", now.monotonicMs + this.rules.leaseMs);
      taken.push(entry);
    }
    return taken.map((entry) => ({ message: entry.message, redelivered: timesBefore(entry) }));
  }

  /** What former leaders have done with the entries that are here. */
  remember({ counts, uncertain }: FormerDeliveries, now: Now): void {
    for (const entry of this.entries.values()) {
      entry.deliveries = counts.get(entry.message.id) ?? 0;
      entry.maybe = uncertain;
      if (entry.state === "ready" && entry.deliveries > 0) this.comeBack(entry, now);
    }
  }

  /** False while there is an entry of which only a former leader, who died, knew whether it was handed out. */
  isCertain(): boolean {
    return ![...this.entries.values()].some(({ maybe }) => maybe);
  }

  /** How often entries were handed out, without who has them now: it may turn out that they were only shown. */
  deliveries(): readonly (readonly [MessageId, number])[] {
    return [...this.entries.values()].flatMap(({ message, deliveries, state }) => {
      const before = state === "leased" ? deliveries - 1 : deliveries;
      return before > 0 ? [[message.id, before] as const] : [];
    });
  }

  hasReady(now: Now): boolean {
    this.settle(now);
    for (let first = this.ready.peek(); first; first = this.ready.peek()) {
      if (this.entries.get(first.id)?.version === first.version) return true;
      this.ready.pop();
    }
    return false;
  }

  /**
   * Of an exclusive queue: what its one consumer has not settled is handed out again, in its place. Only it
   * knows what had reached it when its connection broke or its process died, and nothing may pass what had
   * not. What was handed out as often as may be keeps its lease. Answers how many.
   */
  recall(): number {
    const { deliveriesMax, isForDead } = this.rules;
    let recalled = 0;
    for (const entry of this.entries.values()) {
      const isWorn = !isForDead && entry.deliveries >= deliveriesMax;
      if (entry.state !== "leased" || isWorn) continue;
      // Who was shown it gave it back, if it was no more than that: this one was with somebody twice. The first
      // time it may still be with its consumer, who asks for what comes next.
      if (entry.deliveries > 1) this.returns += 1;
      this.makeReady(entry);
      recalled += 1;
    }
    return recalled;
  }

  /** What a session has of this queue at the moment. */
  leasesOf(session: string): readonly Leased[] {
    return [...this.entries.values()]
      .filter((entry) => entry.session === session && entry.state === "leased")
      .map((entry) => ({ message: entry.message, redelivered: timesBefore(entry) }));
  }

  /** It was handed out but not looked at: as if it had not been. */
  giveBack(id: MessageId, session: string, now: Now): void {
    const entry = this.entries.get(id);
    if (entry?.state !== "leased" || entry.session !== session) return;
    entry.deliveries -= 1;
    this.comeBack(entry, now);
  }

  /** Not now: again after a while. */
  nack(id: MessageId, delayMs: number, now: Now): void {
    const entry = this.entries.get(id);
    if (entry?.state !== "leased") return;
    this.returns += 1;
    const isBack = this.comeBack(entry, now);
    if (isBack && delayMs > 0) this.wait(entry, "delayed", now.monotonicMs + delayMs);
  }

  /** The lease lasts `ms` from now. */
  extend(id: MessageId, ms: number, now: Now): void {
    const entry = this.entries.get(id);
    if (entry?.state === "leased") this.wait(entry, "leased", now.monotonicMs + ms);
  }

  /** Nobody gets it while it is being deleted. Undefined: it is not there, or held already. */
  hold(id: MessageId): StoredMessage | undefined {
    const entry = this.entries.get(id);
    if (!entry || entry.state === "held") return undefined;
    this.holdEntry(entry);
    return entry.message;
  }

  /** Was to be deleted and could not be. */
  unhold(id: MessageId, now: Now): void {
    const entry = this.entries.get(id);
    if (entry?.state !== "held") return;
    if (this.isExpired(entry, now)) this.doom(entry, "expired");
    else this.makeReady(entry);
  }

  /** Is deleted. */
  remove(id: MessageId): void {
    this.entries.delete(id);
  }

  reject(id: MessageId): void {
    const entry = this.entries.get(id);
    if (entry && entry.state !== "held") this.doom(entry, "rejected");
  }

  /**
   * What is too much is to become dead letters: the oldest that nobody has at the moment. Answers how
   * many. Those that are dying already are not counted as held by the queue.
   */
  dropOldest(bounds: { readonly messages: number; readonly octets: number }, now: Now): number {
    this.settle(now);
    const alive = [...this.entries.values()].filter(({ state }) => state !== "held");
    let messages = alive.length;
    let octets = alive.reduce((sum, { message }) => sum + octetsOf(message), 0);
    const isTooMuch = (): boolean => messages > bounds.messages || octets > bounds.octets;
    if (!isTooMuch()) return 0;
    let dropped = 0;
    alive.sort((a, b) => (a.message.id < b.message.id ? -1 : 1));
    for (const entry of alive) {
      if (!isTooMuch()) break;
      if (entry.state === "leased") continue;
      this.doom(entry, "overflow");
      messages -= 1;
      octets -= octetsOf(entry.message);
      dropped += 1;
    }
    return dropped;
  }

  /** Those that are to become dead letters; held until then. Each is answered once. */
  takeDoomed(now: Now): readonly Doomed[] {
    this.settle(now);
    const { doomed } = this;
    this.doomed = [];
    return doomed;
  }

  /** Did not become one: it is tried again. */
  doomAgain(doomed: Doomed): void {
    if (this.entries.get(doomed.message.id)?.state === "held") this.doomed.push(doomed);
  }

  counts(now: Now): Counts {
    this.settle(now);
    const counts = { ready: 0, delayed: 0, leased: 0, octets: 0 };
    for (const { state, message } of this.entries.values()) {
      counts.octets += octetsOf(message);
      if (state !== "held") counts[state] += 1;
    }
    return counts;
  }
}
