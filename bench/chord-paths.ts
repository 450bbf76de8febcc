/** Lookups in settled rings, with all members alive or with some dead at once. */
import { distance } from "../src/ring/identifier.js";
import type { LookupResult } from "../src/ring/lookup.js";
import { successorOf } from "../tests/simulation/ring-ideal.js";
import { randomId, SettledRing } from "../tests/simulation/ring-settled.js";
import { type Spread, spreadOf } from "./chord-format.js";

/** As many as SHA-1 gives. */
const bits = 160;

/**
 * Hops as the paper counts them: members that answered, without the one that asks and without the
 * owner.
 */
export function hopsOf(result: LookupResult & { readonly ok: true }): number {
  const { path, owner } = result;
  return path.slice(1).filter((member) => member.uuid !== owner.uuid).length;
}

export interface PathOptions {
  readonly seed: number;
  readonly members: number;
  readonly listLength: number;
  readonly deadShare?: number;
  /** In all. */
  readonly lookups: number;
  /** Over how many rings: which of its members die makes a ring better or worse. Default 1. */
  readonly rings?: number;
}

export interface PathReport {
  readonly hops: Spread;
  /** Members asked in vain on the way to the key. */
  readonly timeouts: Spread;
  /** With those that were asked as owners of the key, and those asked twice. */
  readonly allTimeouts: Spread;
  /** No owner found, or another than the first live member at or after the key. */
  readonly failed: number;
}

export async function measurePaths(options: PathOptions): Promise<PathReport> {
  const { seed, lookups, rings = 1 } = options;
  const hops: number[] = [];
  const timeouts: number[] = [];
  const allTimeouts: number[] = [];
  let failed = 0;
  for (let i = 0; i < rings; i++) {
    const ring = new SettledRing({ ...options, bits, seed: seed * rings + i });
    const keys = Array.from({ length: lookups / rings }, () => randomId(ring.random, bits));
    for (const { key, result, silent } of await ring.lookups(keys)) {
      const owner = successorOf(key, ring.live);
      const room = distance(key, owner, bits);
      const onTheWay = silent.filter((id) => distance(key, id, bits) >= room);
      timeouts.push(onTheWay.length);
      allTimeouts.push(silent.length);
      if (result.ok && result.owner.id === owner) hops.push(hopsOf(result));
      else failed += 1;
    }
  }
  return {
    ...{ hops: spreadOf(hops), timeouts: spreadOf(timeouts) },
    ...{ allTimeouts: spreadOf(allTimeouts), failed },
  };
}
