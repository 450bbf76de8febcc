import { expect, test } from "vitest";
import { BlockSize } from "./block-size.js";

const [kib, minute] = [1_024, 60_000];
const max = 4_096 * kib;

test("each packet of those on their way that is refused halves it once", () => {
  const block = new BlockSize(max);
  for (let n = 0; n < 4; n += 1) {
    expect(block.refused({ octets: max, octetsMax: max }, 0)).toBe(true);
  }
  expect(block.octetsAt(0)).toBe(max / 2);
});

test("a packet smaller than it might have been is halved by what it was", () => {
  const block = new BlockSize(max);
  block.refused({ octets: 100 * kib, octetsMax: max }, 0);
  expect(block.octetsAt(0)).toBe(50 * kib);
});

test("what is as small as they come is refused for good, though its first frame is larger", () => {
  const block = new BlockSize(max);
  let octetsMax = max;
  let count = 0;
  while (block.refused({ octets: Math.max(octetsMax, 6 * kib), octetsMax }, 0)) {
    octetsMax = block.octetsAt(0);
    expect((count += 1)).toBeLessThan(20);
  }
  expect(octetsMax).toBe(4 * kib);
});

test("a larger one is tried after ten minutes, and as long as it passes up to what it was", () => {
  const block = new BlockSize(max);
  block.refused({ octets: max, octetsMax: max }, 0);
  block.refused({ octets: max / 2, octetsMax: max / 2 }, 0);
  expect(block.octetsAt(10 * minute - 1)).toBe(max / 4);
  expect(block.octetsAt(10 * minute)).toBe(max / 2);
  expect(block.octetsAt(19 * minute)).toBe(max / 2);
  expect(block.octetsAt(20 * minute)).toBe(max);
  expect(block.octetsAt(1_000 * minute)).toBe(max);
});

test("each time in vain, half as often, and once a day at least", () => {
  const block = new BlockSize(max);
  let nowMs = 0;
  const waits: number[] = [];
  block.refused({ octets: max, octetsMax: max }, nowMs);
  for (let n = 0; n < 10; n += 1) {
    const before = nowMs;
    while (block.octetsAt(nowMs) < max) nowMs += minute;
    waits.push((nowMs - before) / minute);
    block.refused({ octets: max, octetsMax: max }, nowMs);
  }
  expect(waits.slice(0, 4)).toEqual([10, 20, 40, 80]);
  expect(Math.max(...waits)).toBe(24 * 60);
});
