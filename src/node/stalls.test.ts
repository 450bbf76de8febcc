import { expect, test } from "vitest";
import { Stalls } from "./stalls.js";

test("a loop that stands still is measured", async () => {
  const stalls = new Stalls({ warn: () => undefined });
  await new Promise((resolve) => setTimeout(resolve, 100));
  const before = stalls.worstMs();
  const endMs = performance.now() + before + 300;
  while (performance.now() < endMs);
  await expect.poll(() => stalls.worstMs(), { timeout: 10_000 }).toBeGreaterThan(before + 250);
  stalls.stop();
});
