import type { RingId } from "../shared/ids.js";
import { advance, between, distance } from "./identifier.js";
import { type MemberRef, sameMember } from "./member.js";

/** finger[i] = successor(id + 2^i) as far as known; entry 0 first (Chord, table 1). */
export type FingerTable = readonly (MemberRef | undefined)[];

/** Preceding fingers that an answer to `find` names: enough to route around dead ones. */
const precedingMax = 8;

export function fingerStart(self: RingId, index: number, bits: number): RingId {
  return advance(self, 1n << BigInt(index), bits);
}

/** The highest finger that a member at this distance (> 0) can be: floor(log2 distance). */
function reach(steps: bigint): number {
  return steps.toString(2).length - 1;
}

interface Owner {
  readonly self: MemberRef;
  readonly bits: number;
}

/**
 * Sets the finger `index` and every later one whose start `member` also succeeds.
 * Returns the table and the first index that is not covered.
 */
export function setFinger(
  owner: Owner,
  table: FingerTable,
  index: number,
  member: MemberRef,
): { readonly table: FingerTable; readonly next: number } {
  const { self, bits } = owner;
  const steps = distance(self.id, member.id, bits);
  const last = steps === 0n ? bits - 1 : Math.max(index, reach(steps));
  return { table: fill(table, index, last, member), next: last + 1 };
}

/** Fingers that the successor list answers: those that start within it. */
export function fillFromList(
  owner: Owner,
  table: FingerTable,
  successors: readonly MemberRef[],
): { readonly table: FingerTable; readonly next: number } {
  let index = 0;
  let filled = table;
  for (const member of successors) {
    const last = reach(distance(owner.self.id, member.id, owner.bits));
    if (last < index) continue;
    filled = fill(filled, index, last, member);
    index = last + 1;
  }
  return { table: filled, next: index };
}

function fill(table: FingerTable, first: number, last: number, member: MemberRef): FingerTable {
  let next: (MemberRef | undefined)[] | undefined;
  for (let i = first; i <= last; i++) {
    const present = table[i];
    if (present !== undefined && sameMember(present, member)) continue;
    next ??= [...table];
    next[i] = member;
  }
  return next ?? table;
}

/** Without a member that did not answer. Returns the same table when it was not in it. */
export function dropFinger(table: FingerTable, dead: MemberRef): FingerTable {
  if (!table.some((finger) => finger?.uuid === dead.uuid)) return table;
  return table.map((finger) => (finger?.uuid === dead.uuid ? undefined : finger));
}

/** Distinct fingers strictly between `self` and `key`, the closest to the key first. */
export function closestPreceding(self: MemberRef, table: FingerTable, key: RingId): MemberRef[] {
  const found: MemberRef[] = [];
  let previous: MemberRef | undefined;
  for (let i = table.length - 1; i >= 0 && found.length < precedingMax; i--) {
    const finger = table[i];
    if (finger === undefined || finger.uuid === previous?.uuid) continue;
    previous = finger;
    if (finger.id !== self.id && between(self.id, finger.id, key)) found.push(finger);
  }
  return found;
}
