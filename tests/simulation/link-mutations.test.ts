/** The checker of the link's simulation finds bugs, each within a few seeds, and none where none is. */
import { expect, test } from "vitest";
import { bugs } from "./link-bugs.js";
import { history } from "./link-world.js";

const seedsMax = 12;

test.each(bugs)("it finds it when $name", async ({ plant, options, finding }) => {
  const violations: string[] = [];
  const undo = plant();
  try {
    for (let seed = 1; seed <= seedsMax && !finding.test(violations.join("\n")); seed += 1) {
      violations.push(...(await history({ seed, ...options, healMs: 12 * 3_600_000 })).violations);
    }
  } finally {
    undo();
  }
  expect(violations.join("\n")).toMatch(finding);
});

test.each(bugs)("and nothing when not", async ({ options }) => {
  expect((await history({ seed: 1, ...options })).violations).toEqual([]);
});
