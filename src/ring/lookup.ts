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
      /** Questions that were not answered. */
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
  /** Times that it was asked. */
  asks: number;
  /** Clockwise distance to the key: 0 for a member at the key. */
  readonly before: bigint;
  /** Clockwise distance from the key. */
  readonly after: bigint;
  /** What it answered. */
  found: Found | undefined;
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
    if (self !== undefined) Object.assign(self, { standing: "alive", found });
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
      const { key, bits } = this.#options;
      const before = distance(member.id, key, bits);
      const after = before === 0n ? 0n : (1n << BigInt(bits)) - before;
      candidate = { member, standing: "unasked", asks: 0, before, after, found: undefined };
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
    const best = this.#bestBefore(closest);
    if (this.#options.predecessorOnly === true) return this.#nextPredecessor(closest, best);
    if (best !== undefined && !this.#listsOwner(closest)) return this.#ask(best);
    return this.#settleOwner(closest, best);
  }

  /** Nearest before the key of those not asked yet, when nearer than the closest that answered. */
  #bestBefore(closest: Found): Candidate | undefined {
    const gap = this.#gap(closest.self);
    let best: Candidate | undefined;
    for (const candidate of this.#candidates.values()) {
      if (candidate.standing !== "unasked" || candidate.before === 0n) continue;
      if (candidate.before < (best?.before ?? gap)) best = candidate;
    }
    return best;
  }

  /**
   * A member that has just joined is known to its successor first: with its predecessor alone to
   * go by, two that join at the same place would not see each other. Only one
   * silent successor is waited for.
   */
  #nextPredecessor(closest: Found, best: Candidate | undefined): LookupAction {
    if (best !== undefined) return this.#ask(best);
    const successor = this.#nearestAfter(true);
    if (successor?.standing === "unasked") return this.#ask(successor);
    return this.#done(closest.self, closest.self);
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
  #settleOwner(closest: Found, best: Candidate | undefined): LookupAction {
    if (!this.#listReaches(closest)) return this.#fail("unroutable");
    const owner = this.#nearestAfter(false);
    if (owner === undefined) return this.#fail("unroutable");
    if (owner.standing === "unasked") return this.#ask(owner);
    const gone = this.#silentBetween(owner);
    if (gone !== undefined) {
      // Who came between those two is unknown to the owner and to old lists, but not to its
      // predecessor: on to the last live one before the key.
      if (best !== undefined) return this.#ask(best);
      // Both its neighbours have it: the answer may just have been late.
      const isVouchedFor = closest.successors[0]?.uuid === gone.member.uuid;
      if (isVouchedFor && gone.asks === 1) return this.#ask(gone);
    }
    return this.#done(owner.member, closest.self);
  }

  /** The nearest at or after the key, with or without those known to be dead. */
  #nearestAfter(withDead: boolean): Candidate | undefined {
    let nearest: Candidate | undefined;
    for (const candidate of this.#candidates.values()) {
      if (candidate.standing === "dead" && !withDead) continue;
      if (nearest === undefined || candidate.after < nearest.after) nearest = candidate;
    }
    return nearest;
  }

  /** The owner's predecessor, when it would own the key but did not answer. */
  #silentBetween(owner: Candidate): Candidate | undefined {
    const before = owner.found?.predecessor;
    const candidate = before && this.#candidates.get(before.uuid);
    const isBetween = candidate?.standing === "dead" && candidate.after < owner.after;
    return isBetween ? candidate : undefined;
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
    candidate.asks += 1;
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
