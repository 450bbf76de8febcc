/** What may be done to a ring, and what a ring left alone has to come to. */
import type { RingSnapshot } from "../../src/ring/ports.js";
import type { RingWorld, SimulatedMember } from "./ring-world.js";

/**
 * Zave's operating assumption: no crash leaves a member without a live successor, nor the ring with
 * fewer than L + 1 principals.
 */
export function mayCrash(world: RingWorld, victim: SimulatedMember): boolean {
  const { invariant, options } = world;
  const { uuid } = victim.ref;
  if (!invariant.established || !invariant.survives(uuid)) return false;
  const left = invariant.principals - (invariant.isPrincipal(uuid) ? 1 : 0);
  return left > options.listLength;
}

/** What keeps the ring from being ideal, or undefined. */
export function flawOf(world: RingWorld): string | undefined {
  const { bits, listLength } = world.options;
  const up = world.members.filter((member) => member.life.up);
  const late = world.members.find(({ life }) => life.isRetrying || (life.up && !life.joined));
  if (late !== undefined) return `${late.ref.id} has not joined`;
  const sorted = up.sort((a, b) => (a.ref.id < b.ref.id ? -1 : 1));
  const ids = sorted.map((member) => member.ref.id);
  for (const [i, member] of sorted.entries()) {
    const view = member.life.ring.snapshot();
    const wanted: bigint[] = [];
    for (let k = 1; k <= Math.min(listLength, ids.length - 1); k++) {
      wanted.push(ids[(i + k) % ids.length] ?? -1n);
    }
    const list = view.successors.map((entry) => entry.id);
    if (list.join() !== wanted.join()) {
      return `successors of ${member.ref.id}: [${list.join()}], not [${wanted.join()}]`;
    }
    const before = ids.at(i - 1);
    if (ids.length > 1 && view.predecessor?.id !== before) {
      return `predecessor of ${member.ref.id}: ${view.predecessor?.id}, not ${before}`;
    }
    const finger = wrongFinger(view, ids, bits);
    if (finger !== undefined) return finger;
  }
  return undefined;
}

function wrongFinger(view: RingSnapshot, ids: readonly bigint[], bits: number): string | undefined {
  const { self } = view;
  for (const [k, finger] of view.fingers.entries()) {
    const start = (self.id + (1n << BigInt(k))) % (1n << BigInt(bits));
    const wanted = successorOf(start, ids);
    if (finger.id !== wanted) return `finger ${k} of ${self.id}: ${finger.id}, not ${wanted}`;
  }
  return undefined;
}

/** First of the ascending ids at or after the point. */
export function successorOf(point: bigint, ids: readonly bigint[]): bigint {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ids[middle] ?? 0n) < point) low = middle + 1;
    else high = middle;
  }
  return ids[low % ids.length] ?? -1n;
}
