import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Poller } from "./poller.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a poller that was told during a look to rest leaves no timer behind when it ends", async () => {
  const end = new AbortController();
  let looks = 0;
  const poller: Poller = new Poller({
    ...{ minMs: 10, maxMs: 100, signal: end.signal },
    look: async () => {
      looks += 1;
      if (looks > 1) poller.rest(10_000);
      return false;
    },
  });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(looks).toBe(2);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(looks).toBe(3);
  end.abort();
  await poller.ended;
  // It would keep the process alive.
  expect(vi.getTimerCount()).toBe(0);
});
