/** The tables of `npm run bench:chord`, scaled down: they hold what the large ones show. */
import { describe, expect, test } from "vitest";
import { churn } from "../../bench/chord-churn.js";
import { measureLoad } from "../../bench/chord-load.js";
import { measurePaths } from "../../bench/chord-paths.js";

// A list that reaches beyond the key names the owner, so the paper's hop from there to the key's
// predecessor is spared: as many hops to the owner here as to the predecessor there.
test.each([
  [256, 4],
  [256, 20],
  [1_024, 4],
  [1_024, 20],
])("paths among %s members with lists of %s: 1/2 log2 N - 1/2 log2 r + 1", async (members, r) => {
  const report = await measurePaths({ seed: 1, members, listLength: r, lookups: 1_000 });
  const toOwner = report.hops.mean + 1;
  expect(report.failed).toBe(0);
  expect(report.allTimeouts.mean).toBe(0);
  expect(Math.abs(toOwner - (Math.log2(members) / 2 - Math.log2(r) / 2 + 1))).toBeLessThan(0.4);
});

test("paths with the successor alone: 1/2 log2 N", async () => {
  const report = await measurePaths({ seed: 1, members: 1_024, listLength: 1, lookups: 1_000 });
  expect(report.failed).toBe(0);
  expect(Math.abs(report.hops.mean - 5)).toBeLessThan(0.4);
});

// Means of the paper for 1,000 members and r = 20.
test.each([
  [0.1, 4.03, 0.6],
  [0.3, 4.44, 2.02],
  [0.5, 5.09, 5.1],
])("a share %s dies at once: no lookup fails", async (deadShare, paperHops, paperTimeouts) => {
  const options = { seed: 1, members: 1_000, listLength: 20, deadShare };
  const report = await measurePaths({ ...options, lookups: 1_500, rings: 5 });
  expect(report.failed).toBe(0);
  expect(report.hops.mean).toBeLessThan(paperHops);
  expect(report.timeouts.mean).toBeLessThan(paperTimeouts);
  // Dead owners, and some of them twice.
  const odds = deadShare / (1 - deadShare);
  expect(report.allTimeouts.mean).toBeLessThan(paperTimeouts + 1.5 * odds);
});

describe("members come and crash, five times as often as in the paper's last row", () => {
  const options = { seed: 1, members: 100, listLength: 20, rate: 0.2, warmUpMs: 120_000 };

  test("no lookup fails", async () => {
    const report = await churn({ ...options, lookups: 400 });
    expect(report).toMatchObject({ wrong: 0, none: 0 });
    expect(Math.min(report.joins, report.crashes)).toBeGreaterThan(50);
  });

  test("the same seed gives the same figures", async () => {
    const small = { ...options, members: 30, listLength: 4, rate: 0.05, lookups: 50 };
    expect(await churn(small)).toEqual(await churn(small));
  });
});

test("load: the fullest member and the 99th percentile are those of random arcs", () => {
  const { owned, copies } = measureLoad({ seed: 1, members: 1_000, keys: 50_000 });
  // ln 1000 + 0.58 = 7.5 and ln 100 = 4.6 times the mean, give or take.
  expect(owned.fullest).toBeGreaterThan(5.5);
  expect(owned.fullest).toBeLessThan(11);
  expect(owned.p99).toBeGreaterThan(3.8);
  expect(owned.p99).toBeLessThan(5.5);
  // Three arcs in a row vary less than one.
  expect(copies.fullest).toBeLessThan(owned.fullest);
});
