/**
 * What Zave's steps write ("How to make Chord correct", IEEE TSE 2017), as functions of the
 * member's own state and one answer. `step.ts` decides when they are applied.
 *
 * Zave keeps lists at length L with placeholders (last + 1) where a dead entry was dropped. A
 * placeholder is dead and skips nobody, so a shorter list says the same; ours have up to L entries.
 */
import { between } from "./identifier.js";
import type { MemberRef } from "./member.js";

/** A member's ring state as another member is told of it. */
export interface RingView {
  readonly self: MemberRef;
  readonly predecessor: MemberRef | undefined;
  readonly successors: readonly MemberRef[];
}

interface Base {
  readonly self: MemberRef;
  /** The list before the step. */
  readonly successors: readonly MemberRef[];
  /** L. */
  readonly listLength: number;
}

/**
 * `successors = [head, ...head.successors without its last]`, cut where the circle closes.
 *
 * A head that lost its own successors has a short list that does not reach around to us. Then the
 * old entries beyond it stay: each new pair lies within an old one, so no member is newly skipped.
 */
export function adoptList(base: Base, head: RingView): readonly MemberRef[] {
  const list: MemberRef[] = [];
  let last = base.self.id;
  let closed = false;
  for (const entry of [head.self, ...head.successors]) {
    if (list.length === base.listLength) break;
    if (!between(last, entry.id, base.self.id)) {
      closed = true;
      break;
    }
    list.push(entry);
    last = entry.id;
  }
  if (closed) return list;
  for (const entry of base.successors) {
    if (list.length === base.listLength) break;
    if (!between(last, entry.id, base.self.id)) continue;
    list.push(entry);
    last = entry.id;
  }
  return list;
}

/** The candidate for `StabilizeFromPredecessor`, if the successor knows of a closer member. */
export function closerSuccessor(self: MemberRef, successor: RingView): MemberRef | undefined {
  const candidate = successor.predecessor;
  if (candidate === undefined) return undefined;
  return between(self.id, candidate.id, successor.self.id) ? candidate : undefined;
}

export type JoinVerdict =
  | { readonly kind: "join"; readonly successors: readonly MemberRef[] }
  /** `from` is not the predecessor-to-be. */
  | { readonly kind: "elsewhere" }
  /** The ring knows another member, live or dead, under the joiner's id. */
  | { readonly kind: "held"; readonly holder: MemberRef };

/**
 * Join(j): the list comes from the predecessor-to-be `from`, where between(from, j, its first
 * successor). A member that comes back may still be that first successor itself.
 */
export function joinFrom(base: Base, from: RingView): JoinVerdict {
  const { self } = base;
  if (from.self.id === self.id) return { kind: "held", holder: from.self };
  const [first] = from.successors;
  if (first !== undefined && first.id === self.id) {
    if (first.uuid !== self.uuid || first.addr !== self.addr)
      return { kind: "held", holder: first };
  } else if (first !== undefined && !between(from.self.id, self.id, first.id)) {
    return { kind: "elsewhere" };
  }
  const list: MemberRef[] = [];
  let last = self.id;
  for (const entry of from.successors) {
    if (!between(last, entry.id, self.id)) continue;
    list.push(entry);
    last = entry.id;
  }
  // Nobody but the two of us is known, so the circle closes at `from`.
  if (list.length === 0) list.push(from.self);
  return { kind: "join", successors: list.slice(0, base.listLength) };
}

/** Rectify(n) without its ping: true when `notifier` is the better predecessor by its place. */
export function isCloserPredecessor(
  self: MemberRef,
  predecessor: MemberRef | undefined,
  notifier: MemberRef,
): boolean {
  return predecessor === undefined || between(predecessor.id, notifier.id, self.id);
}
