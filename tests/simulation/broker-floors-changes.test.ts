/** Tombstones of queues are forgotten while the members of the ring change; see `broker-floors-changes.ts`. */
import { expect, test } from "vitest";
import { ChangesScenario, closeBehind } from "./broker-floors-changes.js";
import type { ChangeKind } from "./broker-floors-faults.js";
import { hasteFor } from "./replication-clock.js";

const more = Number(process.env["RINGPOST_SEEDS"] ?? 0);
const seedsUpTo = (few: number): readonly number[] =>
  Array.from({ length: Math.max(few, more) }, (_, i) => i + 1);

const brief = ["power", "process", "freeze", "cut", "cut one way", "late"] as const;
const coming = ["join", "leave", "away", "cut off"] as const;

const rings: readonly (readonly [string, number, readonly ChangeKind[], readonly number[]])[] = [
  // Here entries that only one member had would be acknowledged, if they were shown.
  ["of three, whose members die and freeze", 3, brief, more > 0 ? seedsUpTo(1) : [2, 12]],
  ["of three to seven that come and go", 4, [...brief, "full", "skew", ...coming], seedsUpTo(3)],
  ["of six, whose groups change", 6, [...coming, "freeze", "late"], seedsUpTo(1)],
  ["that loses disks", 4, ["wipe", "join", "away", "freeze"], seedsUpTo(1)],
  ["of two, where one goes on alone", 2, [...brief, "full", "skew"], seedsUpTo(2)],
];
const runs = rings.flatMap(([ring, members, kinds, seeds]) =>
  seeds.map((seed) => [ring, seed, members, kinds] as const),
);
const restless = rings
  .slice(1, 3)
  .map(([ring, members, kinds], i) => [`${ring}, restless`, 2_001 + i, members, kinds] as const);

test.each([...runs, ...restless])(
  "floors rise in a ring %s: nothing is lost, doubled or comes back: seed %i",
  async (name, seed, members, kinds) => {
    const haste = name.includes("restless") ? hasteFor(seed) : undefined;
    const disks = seed % 2 === 0 && members !== 3 ? "journal" : "memory";
    const changing = kinds.includes("join");
    const evictAfterMs = changing ? 5_000 : 3_600_000;
    const floors = { ...closeBehind, lagMs: [0, 20, 100, 400][seed % 4] ?? 0 };
    const ring = { members, kinds, disks, evictAfterMs, floors, haste } as const;
    const run = await ChangesScenario.run({ seed, ...ring });
    expect(run.violations).toEqual([]);
    expect(run.passed).toBeGreaterThan(100);
    expect(run.raised).toBeGreaterThan(10);
    if (changing) expect(run.epochs).toBeGreaterThan(members * 2);
  },
  120_000,
);
