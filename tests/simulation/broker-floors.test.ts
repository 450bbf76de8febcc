/** Tombstones of queues are forgotten while members die and come back; see `broker-floors.ts`. */
import { expect, test } from "vitest";
import { floors, FloorScenario } from "./broker-floors.js";
import { hasteFor } from "./replication-clock.js";

const seeds = Number(process.env["RINGPOST_SEEDS"] ?? 12);

/** Here an entry was acknowledged that only one member had, and came again under another id. */
const former = [1_014];

const runs = [
  ...[...Array.from({ length: seeds }, (_, i) => i + 1), ...former].map(
    (seed) => ["", seed] as const,
  ),
  ...Array.from({ length: Math.ceil(seeds / 3) }, (_, i) => ["restless, ", 2_001 + i] as const),
];

test.each(runs)(
  "floors rise while members die and come back: nothing is lost, doubled or comes back: %sseed %i",
  async (how, seed) => {
    const haste = how === "" ? undefined : hasteFor(seed);
    const disks = seed % 4 === 0 || former.includes(seed) ? "journal" : "memory";
    const members = 3 + (seed % 3);
    const run = await FloorScenario.run({ seed, members, disks, haste });
    expect(run.violations).toEqual([]);
    expect(run.passed).toBeGreaterThan(100);
    // One above the other; how many there are to forget depends on how many messages share an entry.
    expect(run.raised).toBeGreaterThan(1);
    // What is left is what would make the next one, and the last of each publisher.
    expect(run.tombstones).toBeLessThan(4 * floors.tombstones);
  },
  120_000,
);
