/** Path length (Chord, ToN 2003, §VI-C) and simultaneous failures (§VI-D). */
import type { LookupResult } from "../src/ring/lookup.js";
import { successorOf } from "../tests/simulation/ring-ideal.js";
import { randomId, SettledRing } from "../tests/simulation/ring-settled.js";
import { showSpread, type Spread, spreadOf, type Table } from "./chord-format.js";

const bits = 160;

/**
 * Hops as the paper counts them: members that answered on the way up to the one that names the
 * owner, without the one that asks and without the owner.
 */
export function hopsOf(result: LookupResult & { readonly ok: true }): number {
  const { path, owner } = result;
  return path.slice(1).filter((member) => member.uuid !== owner.uuid).length;
}

export interface Survey {
  readonly hops: Spread;
  /** With the last one, to the owner itself. */
  readonly toOwner: Spread;
  readonly timeouts: Spread;
  /** No owner found, or another than the first live member at or after the key. */
  readonly failed: number;
}

export async function survey(options: {
  readonly seed: number;
  readonly members: number;
  readonly listLength: number;
  readonly deadShare?: number;
  readonly lookups: number;
}): Promise<Survey> {
  const ring = new SettledRing({ ...options, bits });
  const keys = Array.from({ length: options.lookups }, () => randomId(ring.random, bits));
  const [hops, toOwner, timeouts]: number[][] = [[], [], []];
  let failed = 0;
  for (const [i, result] of (await ring.lookups(keys)).entries()) {
    timeouts?.push(result.timeouts);
    if (!result.ok || result.owner.id !== successorOf(keys[i] ?? -1n, ring.live)) {
      failed += 1;
      continue;
    }
    hops?.push(hopsOf(result));
    toOwner?.push(result.path.length - 1);
  }
  return {
    ...{ hops: spreadOf(hops ?? []), toOwner: spreadOf(toOwner ?? []) },
    ...{ timeouts: spreadOf(timeouts ?? []), failed },
  };
}
