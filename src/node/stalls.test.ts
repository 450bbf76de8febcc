import { expect, test } from "vitest";
import { Stalls } from "./stalls.js";

test("a loop that stands still is measured, one that does not is not blamed", async () => {
  const stalls = new Stalls({ warn: () => undefined });
  await new Promise((resolve) => setTimeout(resolve, 100));
  const before = stalls.worstMs();
  const endMs = performance.now() + before + 300;
  while (performance.now() < endMs);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(stalls.worstMs()).toBeGreaterThan(before + 250);
  stalls.stop();
});
