/** Bugs planted around the real logic must be found by the checks that the real logic passes. */
import { expect, test } from "vitest";
import { type MutationName, mutations } from "./ring-mutations.js";
import { liveThroughCrashes, overlapping } from "./ring-scenario.js";

async function firstFailure(name: MutationName, seeds: number, overlap: boolean): Promise<string> {
  const planted = mutations[name];
  for (let seed = 1; seed <= seeds; seed++) {
    const usual = {
      options: { seed, bits: 6, replicas: 2, listLength: 3 },
      life: { members: 5 + (seed % 8), growMs: 300, faults: 40, faultMs: 200, quietMs: 20_000 },
    };
    const options = overlap ? overlapping.options(seed) : usual.options;
    const life = overlap ? overlapping.life(seed) : usual.life;
    try {
      await liveThroughCrashes({ ...options, ...planted }, life);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
  return "not found";
}

const invariant = /OneLiveSuccessor|SufficientPrincipals/;
const notIdeal = /not ideal|not joined/;

test.each<[MutationName, RegExp]>([
  ["joins with the successor alone", invariant],
  ["adopts a candidate that may be dead", notIdeal],
  ["keeps a dead successor", notIdeal],
  ["keeps a dead predecessor", notIdeal],
])("a member that %s is found out", async (name, message) => {
  expect(await firstFailure(name, 30, false)).toMatch(message);
});

test("a member that serves its state while a query is out is found out", async () => {
  const name = "serves its state while a query is out";
  expect(await firstFailure(name, 120, true)).toMatch(invariant);
});
