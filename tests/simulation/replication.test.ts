/**
 * Whole rings of the real `Replication`, on simulated time, network and disks: members crash, are
 * cut off, join, leave and lose their disks under the hands of clients, and what the clients were
 * told must hold in the end (DESIGN's invariants I1, I3, I4, I5, I6, I8, I12).
 * `RINGPOST_SEEDS=1000` runs more seeds, `RINGPOST_SEED=42` one of them.
 */
import { expect, test } from "vitest";
import { allEvents, type EventKind } from "./replication-plan.js";
import { simulate } from "./replication-scenario.js";

const chosen = process.env["RINGPOST_SEED"];
const seedCount = Number(process.env["RINGPOST_SEEDS"] ?? 100);
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

test("all kinds of events at once", async () => {
  for (let seed = 5_001; seed <= 5_005; seed += 1) await holds(seed, { events: allEvents });
});

const alone: readonly (readonly EventKind[])[] = [["crash"], ["crashAll"], ["join", "leave"]];
test.each(alone)("%s %s, and seldom any repair", async (...events) => {
  const options = { events: events.filter(Boolean), repairIntervalMs: 60_000 };
  for (let seed = 6_001; seed <= 6_005; seed += 1) await holds(seed, options);
});

test("the whole ring crashes, on slow disks", async () => {
  for (let seed = 7_001; seed <= 7_005; seed += 1) {
    await holds(seed, { events: ["crashAll"], flushMaxMs: 1_000 });
  }
});

test("the same seed gives the same run, event by event", async () => {
  const [first, second, other] = [
    await simulate({ seed: 1, events: allEvents }),
    await simulate({ seed: 1, events: allEvents }),
    await simulate({ seed: 2, events: allEvents }),
  ];
  expect(second).toEqual(first);
  expect(other.hash).not.toBe(first.hash);
});
