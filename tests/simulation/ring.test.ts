/**
 * The ring's real logic and actor in simulated time, asserted in every state.
 * RINGPOST_SEEDS=n runs n seeds of each kind instead of the few below.
 */
import { describe, expect, test } from "vitest";
import { liveThroughAnything, liveThroughCrashes, overlapping } from "./ring-scenario.js";

const seedsAsked = Number(process.env["RINGPOST_SEEDS"] ?? 0);
const smallSeeds = seedsAsked > 0 ? seedsAsked : 120;
const largeSeeds = seedsAsked > 0 ? Math.ceil(seedsAsked / 100) : 2;
const timeoutMs = 300_000 + 2_000 * seedsAsked;

/** Rings of all sizes and paces; bits as few as the members allow, 3 to 8. */
function smallRing(seed: number, members: number) {
  const bitsMin = Math.ceil(Math.log2(members + 5)) + 1;
  return {
    options: {
      seed,
      bits: Math.max(3 + (seed % 6), bitsMin),
      replicas: 2,
      listLength: 3,
      viaJson: true,
    },
    life: {
      members,
      growMs: [5, 100, 800][seed % 3] ?? 5,
      faults: 60,
      faultMs: [30, 300, 800][(seed >> 2) % 3] ?? 30,
      quietMs: 20_000,
    },
  };
}

const largeRing = {
  options: {
    bits: 32,
    replicas: 2,
    listLength: 4,
    ring: { stabilizeIntervalMs: 1_000, fingerIntervalMs: 2_000, cacheIntervalMs: 10_000 },
  },
  life: { members: 1_000, growMs: 10, faults: 800, faultMs: 25, quietMs: 60_000 },
};

describe("within Zave's operating assumption the invariant holds in every state", () => {
  test(
    `${smallSeeds} small rings`,
    async () => {
      for (let seed = 1; seed <= smallSeeds; seed++) {
        const { options, life } = smallRing(seed, 5 + (seed % 8));
        await liveThroughCrashes(options, life);
      }
    },
    timeoutMs,
  );

  test(
    "queries that overlap all the time: latency as long as the stabilization interval",
    async () => {
      for (let seed = 1; seed <= Math.ceil(smallSeeds / 4); seed++) {
        await liveThroughCrashes(overlapping.options(seed), overlapping.life(seed));
      }
    },
    timeoutMs,
  );

  test(
    `1,000 members join, crash and come back, ${largeSeeds} seeds`,
    async () => {
      for (let seed = 1; seed <= largeSeeds; seed++) {
        const report = await liveThroughCrashes({ seed, ...largeRing.options }, largeRing.life);
        expect(report.crashes).toBeGreaterThan(300);
        expect(report.restarts).toBeGreaterThan(300);
      }
    },
    timeoutMs,
  );
});

/**
 * Seeds that found something: two members that kept giving each other dead entries (54), three that
 * went round the circle twice (5174, 6422).
 */
const oldFindings = [54, 5_174, 6_422];

/** No proof covers this; what must hold is that the live ones are one ideal ring in the end. */
test(
  `${smallSeeds} rings of 1 to 12 members, killed, cut apart and restarted without regard`,
  async () => {
    let apart = 0;
    const seeds = Array.from({ length: smallSeeds }, (_, i) => i + 1);
    for (const seed of [...seeds, ...oldFindings]) {
      const { options, life } = smallRing(seed, 1 + (seed % 12));
      if ((await liveThroughAnything(options, life)) === undefined) apart += 1;
    }
    // Survivors that never heard of each other are rare, or the members' caches are no use.
    expect(apart).toBeLessThanOrEqual(Math.ceil(smallSeeds / 50));
  },
  timeoutMs,
);

test("the same seed gives the same run, another one another", async () => {
  const hashes: string[] = [];
  for (const seed of [7, 7, 8]) {
    const { options, life } = smallRing(7, 12);
    hashes.push((await liveThroughCrashes({ ...options, seed }, life)).traceHash);
  }
  expect(hashes[0]).toBe(hashes[1]);
  expect(hashes[0]).not.toBe(hashes[2]);
});
