/** The checker of the simulation finds bugs, each within a few seeds, and none where none is. */
import { describe, expect, test } from "vitest";
import { bugs, controls } from "./replication-bugs.js";
import { drawPlan, type Plan } from "./replication-plan.js";
import { runPlan, simulate } from "./replication-scenario.js";
import { keepOnly, keepText, nameOf, shrink } from "./replication-shrink.js";
import { tell } from "./replication-story.js";

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
  for (let seed = 1; seed <= 4; seed += 1) {
    expect((await simulate({ seed, ...options })).violations, `seed ${seed}`).toEqual([]);
  }
});

describe("a failing run", () => {
  const planted = bugs.find(
    ({ name }) => name === "a copy is dropped by who says to have stored it",
  );
  const options = planted?.options ?? {};

  async function failing(): Promise<Plan> {
    for (let seed = 1; seed <= seedsMax; seed += 1) {
      const plan = drawPlan({ seed, ...options });
      const { violations } = await runPlan(plan, options);
      if (violations.some((violation) => nameOf(violation) === "lost")) return plan;
    }
    throw new Error("no seed fails");
  }

  test("is made small, and told as a history of the mail", async () => {
    const plan = await failing();
    const small = await shrink(plan, "lost", options, 60);
    expect(small.plan.items.length).toBeLessThan(plan.items.length / 4);
    expect(nameOf(small.violations[0] ?? "")).toBe("lost");
    // What the command that it prints runs.
    const { seed, members, items } = small.plan;
    const again = keepOnly(drawPlan({ seed, ...options, members }), keepText(items));
    expect((await runPlan(again, options)).violations).toEqual(small.violations);
    const story = (await tell(small.plan, options)).join("\n");
    const [, mail = ""] = /lost: (mail \d+)/.exec(small.violations[0] ?? "") ?? [];
    expect(story).toContain(`a client sends ${mail} for`);
    expect(story).toContain(`acknowledged ${mail} in`);
    expect(story).toContain("start uuid-1");
    expect(story).toContain(`VIOLATION lost: ${mail}`);
  });
});

test("items are named by ranges", () => {
  const plan = drawPlan({ seed: 1 });
  const text = "0,2-5,9";
  expect(keepOnly(plan, text).items.map(({ number }) => number)).toEqual([0, 2, 3, 4, 5, 9]);
  expect(keepText(keepOnly(plan, text).items)).toBe(text);
});
