import { expect, test } from "vitest";
import { main } from "./main.js";
import { fakeWorld } from "./testing.js";

test.each([
  [["--minutes", "0"], /--minutes 0: must be a number above 0/],
  [["--minutes", "long"], /--minutes long/],
  [["--members", "two"], /--members two/],
  [["--members", "2"], /--members 2: must/],
  [["--replicas", "1"], /--replicas 1: must/],
  [["--members", "3", "--replicas", "3"], /--members 3: must/],
  [["--seed", "-1"], /--seed -1/],
])("%j is wrong usage, said before anything is started", async (args, line) => {
  const world = fakeWorld();
  expect(await main(["drill", ...args], world)).toBe(2);
  expect(world.stderrLines).toHaveLength(1);
  expect(world.stderrLines[0]).toMatch(line);
});
