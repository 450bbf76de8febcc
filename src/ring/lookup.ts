/**
 * Iterative lookup: asks members ever closer to the key, and goes around those that do not answer.
 * Logic only; `actor.ts` sends the questions. (Chord, figure 5: find_successor by way of
 * closest_preceding_node, with the alternatives of §6.3 for failed nodes.)
 */
import type { MemberUuid, RingId } from "../shared/ids.js";
import { betweenRightInclusive, distance } from "./identifier.js";
import type { MemberRef } from "./member.js";
import type { Found } from "./message.js";

export type LookupResult =
  | {
      readonly ok: true;
      /** The first live member at or after the key. */
      readonly owner: MemberRef;
      /** The closest before the key that answered; with `predecessorOnly` the last live one. */
      readonly closestBefore: MemberRef;
      /** Members that answered, in order, beginning with the one that asks. */
      readonly path: readonly MemberRef[];
      /** Members that did not. */
      readonly timeouts: number;
    }
  | {
      readonly ok: false;
      /** `unroutable`: every way that was heard of ends at a member that does not answer. */
      readonly reason: "not-a-member" | "unroutable" | "too-many-hops";
      readonly path: readonly MemberRef[];
      readonly timeouts: number;
    };

type LookupAction =
  | { readonly kind: "ask"; readonly member: MemberRef }
  | { readonly kind: "done"; readonly result: LookupResult };

export interface LookupOptions {
  readonly key: RingId;
  readonly bits: number;
  /** The own answer to `find`; absent when the way leads through others alone (join, repair). */
  readonly origin?: Found;
  /** Whom to ask first, in this order, without `origin`. */
  readonly entries?: readonly MemberRef[];
  /** Never asked and never the owner: who joins must not be routed to itself. */
  readonly exclude?: MemberUuid;
  /** True: the owner need not be asked, only its predecessor is wanted. */
  readonly predecessorOnly?: boolean;
  /** Members asked at most. */
  readonly asksMax?: number;
  /** L: a predecessor with fewer successors than this knows of no further ones. */
  readonly listLength: number;
}

const asksMaxDefault = 128;

/** Feed it answers; it says whom to ask next. One question is out at a time. */
export interface Lookup {
  start(): LookupAction;
  answered(found: Found): LookupAction;
  unanswered(): LookupAction;
}

type Standing = "unasked" | "alive" | "dead";

interface Candidate {
  readonly member: MemberRef;
  standing: Standing;
  /** Clockwise distance to the key: 0 for a member at the key. */
  readonly before: bigint;
}

export function createLookup(options: LookupOptions): Lookup {
  return new IterativeLookup(options);
}

class IterativeLookup implements Lookup {
  readonly #options: LookupOptions;
  readonly #candidates = new Map<MemberUuid, Candidate>();
  readonly #path: MemberRef[] = [];
  readonly #entries: MemberRef[];
  #timeouts = 0;
  #asks = 0;
  /** The closest live member strictly before the key. */
  #closest: Found | undefined;
  #asking: Candidate | undefined;

  constructor(options: LookupOptions) {
    this.#options = options;
    this.#entries = [...(options.entries ?? [])];
  }

  start(): LookupAction {
    const { origin, entries = [] } = this.#options;
    for (const entry of entries) this.#see(entry);
    if (origin !== undefined) this.#take(origin);
    return this.#next();
  }

  answered(found: Found): LookupAction {
    this.#take(found);
    return this.#next();
  }

  unanswered(): LookupAction {
    if (this.#asking !== undefined) this.#asking.standing = "dead";
    this.#timeouts += 1;
    return this.#next();
  }

  #take(found: Found): void {
    this.#path.push(found.self);
    const self = this.#see(found.self);
    if (self !== undefined) self.standing = "alive";
    for (const member of found.preceding) this.#see(member);
    for (const member of found.successors) this.#see(member);
    if (found.predecessor !== undefined) this.#see(found.predecessor);
    if (this.#closest === undefined || this.#isCloser(found.self, this.#closest.self)) {
      this.#closest = found;
    }
  }

  #see(member: MemberRef): Candidate | undefined {
    if (member.uuid === this.#options.exclude) return undefined;
    let candidate = this.#candidates.get(member.uuid);
    if (candidate === undefined) {
      const before = distance(member.id, this.#options.key, this.#options.bits);
      candidate = { member, standing: "unasked", before };
      this.#candidates.set(member.uuid, candidate);
    }
    return candidate;
  }

  /** Distance to the key; the key itself is the farthest, since it is not strictly before it. */
  #gap(member: MemberRef): bigint {
    const { key, bits } = this.#options;
    const steps = distance(member.id, key, bits);
    return steps === 0n ? 1n << BigInt(bits) : steps;
  }

  #isCloser(a: MemberRef, b: MemberRef): boolean {
    return this.#gap(a) < this.#gap(b);
  }

  #next(): LookupAction {
    const closest = this.#closest;
    if (closest === undefined) return this.#askEntry();
    const gap = this.#gap(closest.self);
    let best: Candidate | undefined;
    for (const candidate of this.#candidates.values()) {
      if (candidate.standing !== "unasked" || candidate.before === 0n) continue;
      if (candidate.before >= (best?.before ?? gap)) continue;
      best = candidate;
    }
    const { predecessorOnly = false } = this.#options;
    if (!predecessorOnly && this.#listsOwner(closest)) return this.#settleOwner(closest);
    if (best !== undefined) return this.#ask(best);
    return predecessorOnly ? this.#done(closest.self, closest.self) : this.#settleOwner(closest);
  }

  /**
   * The list that reaches beyond the key names the owner, so those before the key need not be
   * asked, nor waited for if they are dead. If the list is behind the times, the owner's own predecessor
   * is a closer candidate.
   */
  #listsOwner(closest: Found): boolean {
    const { key } = this.#options;
    return closest.successors.some(
      (entry) =>
        betweenRightInclusive(closest.self.id, key, entry.id) &&
        this.#candidates.get(entry.uuid)?.standing !== "dead",
    );
  }

  /** Who comes after the key? */
  #settleOwner(closest: Found): LookupAction {
    if (!this.#listReaches(closest)) return this.#fail("unroutable");
    let owner: Candidate | undefined;
    for (const candidate of this.#candidates.values()) {
      if (candidate.standing === "dead") continue;
      if (owner === undefined || this.#after(candidate) < this.#after(owner)) owner = candidate;
    }
    if (owner === undefined) return this.#fail("unroutable");
    if (owner.standing === "alive") return this.#done(owner.member, closest.self);
    return this.#ask(owner);
  }

  /**
   * The predecessor's list must reach the key. When all of it lies before the key and is dead,
   * members that we have not heard of may own the key. A short list names everybody there is.
   */
  #listReaches(closest: Found): boolean {
    const { key, listLength } = this.#options;
    const last = closest.successors.at(-1);
    if (last === undefined || closest.successors.length < listLength) return true;
    return betweenRightInclusive(closest.self.id, key, last.id);
  }

  #after(candidate: Candidate): bigint {
    return distance(this.#options.key, candidate.member.id, this.#options.bits);
  }

  #askEntry(): LookupAction {
    for (;;) {
      const entry = this.#entries.shift();
      if (entry === undefined) return this.#fail("unroutable");
      const candidate = this.#candidates.get(entry.uuid);
      if (candidate?.standing === "unasked") return this.#ask(candidate);
    }
  }

  #ask(candidate: Candidate): LookupAction {
    this.#asks += 1;
    if (this.#asks > (this.#options.asksMax ?? asksMaxDefault)) return this.#fail("too-many-hops");
    this.#asking = candidate;
    return { kind: "ask", member: candidate.member };
  }

  #done(owner: MemberRef, closestBefore: MemberRef): LookupAction {
    const { timeouts, path } = this.#outcome();
    return { kind: "done", result: { ok: true, owner, closestBefore, path, timeouts } };
  }

  #fail(reason: "unroutable" | "too-many-hops"): LookupAction {
    return { kind: "done", result: { ok: false, reason, ...this.#outcome() } };
  }

  #outcome(): { readonly path: readonly MemberRef[]; readonly timeouts: number } {
    return { path: this.#path, timeouts: this.#timeouts };
  }
}
