import { expect, test } from "vitest";
import type { MemberUuid } from "../shared/ids.js";
import { Liveness } from "./liveness.js";

const [ann, bob] = ["ann", "bob"] as MemberUuid[] as [MemberUuid, MemberUuid];

function ticking(liveness: Liveness, ticks: number, others: readonly MemberUuid[] = [ann, bob]) {
  for (let n = 0; n < ticks; n += 1) liveness.tick(others);
}

test("a pause of this node is one tick, however long it was", () => {
  const liveness = new Liveness();
  liveness.heard(ann);
  ticking(liveness, 2);
  // Frozen here for a minute; then the timer fires once, and the answers that came are read.
  ticking(liveness, 1);
  expect(liveness.isQuiet(ann)).toBe(false);
  ticking(liveness, 2);
  expect(liveness.isQuiet(ann)).toBe(true);
});

test("members that were never heard go quiet, those off the roster don't", () => {
  const liveness = new Liveness();
  liveness.heard(bob);
  ticking(liveness, 5, [ann]);
  expect([liveness.isQuiet(ann), liveness.isQuiet(bob)]).toEqual([true, false]);
  ticking(liveness, 5, []);
  expect(liveness.isQuiet(ann)).toBe(false);
});

test("those who wait are told once, and only of their member", () => {
  const liveness = new Liveness();
  const told: string[] = [];
  liveness.whenQuiet(ann, () => told.push("ann"));
  liveness.whenQuiet(ann, () => told.push("taken back"))();
  liveness.whenQuiet(bob, () => told.push("bob"));
  ticking(liveness, 4);
  liveness.heard(bob);
  ticking(liveness, 1);
  expect(told).toEqual(["ann"]);
  ticking(liveness, 5);
  expect(told).toEqual(["ann", "bob"]);
});
