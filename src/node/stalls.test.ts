import { expect, test, vi } from "vitest";
import { Stalls } from "./stalls.js";

function standStill(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

test("a loop that stands still is measured", async () => {
  const stalls = new Stalls({ warn: () => undefined });
  try {
    // Again, should it not have begun to measure yet; longer than any stall that is not ours.
    await vi.waitFor(
      async () => {
        const before = stalls.worstMs();
        standStill(before + 300);
        await new Promise((next) => setTimeout(next, 50));
        expect(stalls.worstMs()).toBeGreaterThan(before + 250);
      },
      { timeout: 60_000 },
    );
  } finally {
    stalls.stop();
  }
});
