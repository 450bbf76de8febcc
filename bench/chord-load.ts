/** How evenly keys fall on members, by the product's own ids and placement. */
import { placementOf } from "../src/replication/placement.js";
import { emptyRoster, type Member, type Roster } from "../src/replication/roster.js";
import { ringIdOf } from "../src/ring/identifier.js";
import type { Address, MemberUuid } from "../src/shared/ids.js";
import { successorOf } from "../tests/simulation/ring-ideal.js";
import { spreadOf } from "./chord-format.js";

const bits = 160;
const replicas = 2;

export interface LoadReport {
  /** Of the member with the most keys, in multiples of the mean. */
  readonly fullest: number;
  readonly p99: number;
}

export interface LoadOptions {
  readonly seed: number;
  readonly members: number;
  readonly keys: number;
}

/** @returns for the owners alone, and for all r + 1 copies. */
export function measureLoad(options: LoadOptions): {
  readonly owned: LoadReport;
  readonly copies: LoadReport;
} {
  const { seed, members, keys } = options;
  const roster = rosterOf(seed, members);
  const ids = roster.members.map((member) => member.id);
  const positions = new Map(ids.map((id, at) => [id as bigint, at]));
  const owned = new Array<number>(members).fill(0);
  const copies = new Array<number>(members).fill(0);
  for (let k = 0; k < keys; k++) {
    const key = ringIdOf(`user${k}.${seed}@ring.test`, bits);
    const first = positions.get(successorOf(key, ids)) ?? -1;
    const group = Array.from({ length: replicas + 1 }, (_, i) => (first + i) % members);
    // `placementOf` looks at every member; the few that it checks show that it says the same.
    if (k % Math.ceil(keys / 200) === 0) {
      const wanted = placementOf(roster, key).current.map((member) => member.id);
      if (group.some((at, i) => ids[at] !== wanted[i])) throw new Error(`placement of ${key}`);
    }
    owned[first] = (owned[first] ?? 0) + 1;
    for (const at of group) copies[at] = (copies[at] ?? 0) + 1;
  }
  return { owned: reportOf(owned), copies: reportOf(copies) };
}

/** Ids by SHA-1 of the address, as without `--id`; each member on a host of its own. */
function rosterOf(seed: number, count: number): Roster {
  const members = Array.from({ length: count }, (_, i): Member => {
    const host = `10.${seed % 256}.${i >> 8}.${i % 256}`;
    const addr = `${host}:5000` as Address;
    const uuid = `uuid-${i}` as MemberUuid;
    return { id: ringIdOf(addr, bits), addr, uuid, incarnation: 1, state: "active" };
  });
  members.sort((a, b) => (a.id < b.id ? -1 : 1));
  return { ...emptyRoster({ bits, replicas, domain: "ring.test" }), epoch: 1, members };
}

function reportOf(counts: readonly number[]): LoadReport {
  const { mean, p99 } = spreadOf(counts);
  return { fullest: Math.max(...counts) / mean, p99: p99 / mean };
}
