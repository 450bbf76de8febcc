import { expect, test } from "vitest";
import type { Clock } from "./ports.js";
import { RingClock } from "./ring-clock.js";

function clockAt(wallMs: number): Clock & { wall: number; monotonic: number } {
  return {
    wall: wallMs,
    monotonic: 0,
    wallMs() {
      return this.wall;
    },
    monotonicMs() {
      return this.monotonic;
    },
    sleep: () => Promise.resolve(),
  };
}

test("follows the clock that is ahead, and goes on at its own pace", () => {
  const clock = clockAt(1_000);
  const ring = new RingClock(clock);
  expect(ring.nowMs()).toBe(1_000);
  ring.hear(500);
  expect(ring.nowMs()).toBe(1_000);
  ring.hear(9_000);
  expect(ring.nowMs()).toBe(9_000);
  clock.monotonic += 250;
  clock.wall += 250;
  expect(ring.nowMs()).toBe(9_250);
});

test("does not go back when the wall clock does", () => {
  const clock = clockAt(5_000);
  const ring = new RingClock(clock);
  expect(ring.nowMs()).toBe(5_000);
  clock.wall = 1_000;
  clock.monotonic += 10;
  expect(ring.nowMs()).toBe(5_010);
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, 2 ** 47, undefined as unknown as number])(
  "%s is nobody's time",
  (otherMs) => {
    const ring = new RingClock(clockAt(1_000));
    ring.hear(otherMs);
    expect(ring.nowMs()).toBe(1_000);
  },
);
