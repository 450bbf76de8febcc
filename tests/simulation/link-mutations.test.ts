/** The checker of the link's simulation finds bugs, each within a few seeds, and none where none is. */
import { expect, test } from "vitest";
import { bugs } from "./link-bugs.js";
import { history } from "./link-world.js";

const seedsMax = 8;

test.each(bugs)("it finds it when $name", async ({ plant, options, finding, firstSeed = 1 }) => {
  const violations: string[] = [];
  const undo = plant();
  try {
    for (
      let seed = firstSeed;
      seed < firstSeed + seedsMax && !finding.test(violations.join("\n"));
      seed += 1
    ) {
      violations.push(...(await history({ seed, healMs: 2 * 3_600_000, ...options })).violations);
    }
  } finally {
    undo();
  }
  expect(violations.join("\n")).toMatch(finding);
});

test("it finds nothing in the same histories without them", async () => {
  const some = bugs.filter(({ options }, index) => index < 4 || options.healMs !== undefined);
  for (const { options, firstSeed: seed = 1 } of some) {
    expect((await history({ seed, ...options })).violations).toEqual([]);
  }
});
