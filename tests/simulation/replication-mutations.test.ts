/** The checker of the simulation finds bugs, each within a few seeds, and none where none is. */
import { expect, test } from "vitest";
import { bugs, controls } from "./replication-bugs.js";
import { simulate } from "./replication-scenario.js";

const seedsMax = 25;

test.each(bugs)("it finds it when $name", async ({ options, finding }) => {
  const violations: string[] = [];
  for (
    let seed = 1;
    seed <= seedsMax && !violations.some((text) => finding.test(text));
    seed += 1
  ) {
    violations.push(...(await simulate({ seed, ...options })).violations);
  }
  expect(violations.join("\n")).toMatch(finding);
});

test.each(controls)("%s alone do no harm", async (_, options) => {
  for (let seed = 1; seed <= 6; seed += 1) {
    expect((await simulate({ seed, ...options })).violations, `seed ${seed}`).toEqual([]);
  }
});
