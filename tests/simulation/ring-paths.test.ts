/** Length of lookups in ideal rings against Chord's figures (ToN 2003, §6.2 and §6.3). */
import { expect, test } from "vitest";
import { find } from "../../src/ring/answer.js";
import { fingerStart } from "../../src/ring/fingers.js";
import { createLookup, type LookupResult } from "../../src/ring/lookup.js";
import type { MemberRef } from "../../src/ring/member.js";
import { initialState, type RingState } from "../../src/ring/state.js";
import type { Address, MemberUuid, RingId } from "../../src/shared/ids.js";
import { successorOf } from "./ring-ideal.js";
import { seededRandom } from "./ring-network.js";

const bits = 48;

interface IdealRing {
  readonly ids: readonly bigint[];
  readonly states: ReadonlyMap<bigint, RingState>;
}

function idealRing(members: number, listLength: number, random: () => number): IdealRing {
  const drawn = new Set<bigint>();
  while (drawn.size < members) drawn.add(randomKey(random));
  const ids = [...drawn].sort((a, b) => (a < b ? -1 : 1));
  const refs = new Map<bigint, MemberRef>();
  for (const id of ids) {
    const name = id.toString();
    refs.set(id, { id: id as RingId, addr: name as Address, uuid: name as MemberUuid });
  }
  const at = (id: bigint): MemberRef => {
    const ref = refs.get(id);
    if (ref === undefined) throw new Error(`no member ${id}`);
    return ref;
  };
  const states = new Map<bigint, RingState>();
  for (const [i, id] of ids.entries()) {
    const self = at(id);
    const parameters = { bits, replicas: listLength - 1 };
    const list = Array.from({ length: listLength }, (_, k) => at(ids[(i + k + 1) % members] ?? 0n));
    const fingers = Array.from({ length: bits }, (_, k) =>
      at(successorOf(fingerStart(self.id, k, bits), ids)),
    );
    states.set(id, {
      ...initialState({ self, parameters, listLength, known: [] }),
      ...{ member: true, predecessor: at(ids.at(i - 1) ?? 0n), successors: list, fingers },
    });
  }
  return { ids, states };
}

function randomKey(random: () => number): RingId {
  return BigInt(Math.floor(random() * 2 ** bits)) as RingId;
}

function lookup(ring: IdealRing, from: RingState, key: RingId, dead: ReadonlySet<bigint>) {
  const { listLength } = from;
  const run = createLookup({ key, bits, listLength, origin: find(from, key) });
  let action = run.start();
  while (action.kind === "ask") {
    const state = ring.states.get(action.member.id);
    if (state === undefined || dead.has(state.self.id)) action = run.unanswered();
    else action = run.answered(find(state, key));
  }
  return action.result;
}

/**
 * Hops to the owner. A list that reaches beyond the key names it, so the paper's hop from there to
 * the key's predecessor is saved: as many to the owner here as to the predecessor there.
 */
function hops(result: LookupResult & { readonly ok: true }): number {
  const { path, closestBefore } = result;
  return path.findIndex((member) => member.id === closestBefore.id) + 1;
}

function survey(members: number, listLength: number, deadShare: number, lookups: number) {
  const random = seededRandom(members + listLength);
  const ring = idealRing(members, listLength, random);
  const dead = new Set(ring.ids.filter(() => random() < deadShare));
  const live = ring.ids.filter((id) => !dead.has(id));
  let [hopsSum, timeoutsSum, failed] = [0, 0, 0];
  for (let i = 0; i < lookups; i++) {
    const from = ring.states.get(live[Math.floor(random() * live.length)] ?? 0n);
    const key = randomKey(random);
    const result = from && lookup(ring, from, key, dead);
    if (result?.ok !== true || result.owner.id !== successorOf(key, live)) failed += 1;
    else {
      hopsSum += hops(result);
      timeoutsSum += result.timeouts;
    }
  }
  return { hops: hopsSum / lookups, timeouts: timeoutsSum / lookups, failed };
}

test.each([
  [256, 4],
  [256, 20],
  [1_024, 4],
  [1_024, 20],
])("%s members with lists of %s: 1/2 log2 N - 1/2 log2 r + 1", (members, r) => {
  const found = survey(members, r, 0, 4_000);
  const expected = Math.log2(members) / 2 - Math.log2(r) / 2 + 1;
  expect(found).toMatchObject({ failed: 0, timeouts: 0 });
  expect(Math.abs(found.hops - expected)).toBeLessThan(0.4);
});

// Means of the paper's table for 1,000 nodes and r = 20.
test.each([
  [0.1, 4.03, 0.6],
  [0.3, 4.44, 2.02],
  [0.5, 5.09, 5.1],
])("a share %s dies at once: no lookup fails", (share, paperHops, paperTimeouts) => {
  const found = survey(1_000, 20, share, 4_000);
  expect(found.failed).toBe(0);
  expect(found.hops).toBeLessThan(paperHops + 0.4);
  // Those of the paper are on the way to the predecessor; dead owners come on top here.
  expect(found.timeouts).toBeLessThan(paperTimeouts + share / (1 - share) + 0.3);
});
