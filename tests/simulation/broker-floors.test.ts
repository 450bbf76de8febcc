/** Tombstones of queues are forgotten while members die and come back; see `broker-floors.ts`. */
import { expect, test } from "vitest";
import { floors, FloorScenario } from "./broker-floors.js";

const seeds = Number(process.env["RINGPOST_SEEDS"] ?? 12);

/** Here an entry was acknowledged that only one member had, and came again under another id. */
const former = [1_014];

test.each([...Array.from({ length: seeds }, (_, i) => i + 1), ...former])(
  "floors rise while members die and come back: nothing is lost, doubled or comes back: seed %i",
  async (seed) => {
    const disks = seed % 4 === 0 || former.includes(seed) ? "journal" : "memory";
    const members = 3 + (seed % 3);
    const run = await FloorScenario.run({ seed, members, disks });
    expect(run.violations).toEqual([]);
    expect(run.passed).toBeGreaterThan(100);
    // One above the other; how many there are to forget depends on how many messages share an entry.
    expect(run.raised).toBeGreaterThan(1);
    // What is left is what would make the next one, and the last of each publisher.
    expect(run.tombstones).toBeLessThan(4 * floors.tombstones);
  },
  120_000,
);
