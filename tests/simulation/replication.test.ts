/**
 * Whole rings of real members on simulated time, network and disks, a quarter of them on the real
 * store: members crash, freeze, are cut off, join, leave and lose their disks under the hands of
 * clients, and what the clients were told must hold in the end (I1 to I9, I11 and I12).
 * `RINGPOST_SEEDS=1000` runs more seeds, `RINGPOST_SEED=42` one of them; `npm run simulate` says more.
 */
import { expect, test } from "vitest";
import { hasteFor } from "./replication-clock.js";
import { allEvents, type EventKind } from "./replication-plan.js";
import { simulate } from "./replication-scenario.js";

const chosen = process.env["RINGPOST_SEED"];
const seedCount = Number(process.env["RINGPOST_SEEDS"] ?? 80);
const perTest = 20;

async function holds(
  seed: number,
  options: Omit<Parameters<typeof simulate>[0], "seed">,
): Promise<void> {
  const verdict = await simulate({ seed, ...options });
  expect(verdict.violations, `seed ${seed}`).toEqual([]);
  expect(verdict.acknowledged, `seed ${seed}`).toBe(verdict.mails);
}

const firstSeeds = chosen
  ? [Number(chosen)]
  : Array.from({ length: Math.ceil(seedCount / perTest) }, (_, i) => 1 + i * perTest);

test.each(firstSeeds)("seeds from %i: some kinds of events, drawn", async (first) => {
  const count = chosen ? 1 : Math.min(perTest, seedCount - first + 1);
  for (let seed = first; seed < first + count; seed += 1) await holds(seed, {});
});

test("time goes on while members work, and their timers are early", async () => {
  const count = chosen ? 1 : Math.ceil(seedCount / 8);
  const first = chosen ? Number(chosen) : 9_001;
  for (let seed = first; seed < first + count; seed += 1) {
    await holds(seed, { haste: hasteFor(seed) });
  }
});

test.each(["memory", "journal"] as const)(
  "all kinds of events at once, %s disks",
  async (disks) => {
    for (let seed = 5_001; seed <= 5_002; seed += 1)
      await holds(seed, { events: allEvents, disks });
  },
);

const alone: readonly { readonly kinds: string; readonly events: readonly EventKind[] }[] = [
  { kinds: "crashes", events: ["crash"] },
  { kinds: "crashes of all", events: ["crashAll"] },
  { kinds: "joining and leaving", events: ["join", "leave"] },
];
test.each(alone)("$kinds, and seldom any repair", async ({ events }) => {
  for (let seed = 6_001; seed <= 6_003; seed += 1) {
    await holds(seed, { events, repairIntervalMs: 60_000, disks: "memory" });
  }
});

test.each(["memory", "journal"] as const)("all crash on slow disks, %s", async (disks) => {
  for (let seed = 7_001; seed <= 7_002; seed += 1) {
    await holds(seed, { events: ["crashAll"], flushMaxMs: 1_000, disks });
  }
});

test.each([1, 2])("a ring of %i keeps the promises that it makes", async (members) => {
  for (let seed = 8_001; seed <= 8_006; seed += 1) await holds(seed, { members });
});

// Seeds in which mail was lost when a checkpoint vouched for views that only the page cache had.
test.each([67, 186])("a member alone is killed and loses power, seed %i", async (seed) => {
  await holds(seed, { members: 1, events: ["crash", "crashAll"], disks: "journal" });
});

// The only members that the joiners knew left the ring, and the joiners asked each other for ever.
test("joiners outlive the members by which they came", async () => {
  await holds(702_416, {});
});

test.each(["memory", "journal"] as const)(
  "a seed is a run, event by event: %s disks",
  async (disks) => {
    const hashes = new Set<string>();
    for (const seed of [1, 2, 3]) {
      const first = await simulate({ seed, disks, busyMs: 15_000 });
      expect(await simulate({ seed, disks, busyMs: 15_000 })).toEqual(first);
      // Somebody who looks on changes nothing.
      const witness = () => undefined;
      expect(await simulate({ seed, disks, busyMs: 15_000, witness })).toEqual(first);
      hashes.add(first.hash);
    }
    expect(hashes.size).toBe(3);
  },
);
