import { describe, expect, test } from "vitest";
import { DelayMeter } from "./staleness.js";

describe("DelayMeter", () => {
  test("a frame that lay unread is late by that time, whatever the clocks say", () => {
    const meter = new DelayMeter();
    expect(meter.lateMs(5_000_000, 100)).toBe(0);
    expect(meter.lateMs(5_000_010, 115)).toBe(5);
    expect(meter.lateMs(5_000_020, 30_120)).toBe(30_000);
  });

  test("the first frame after a freeze longer than the windows is late", () => {
    const meter = new DelayMeter(1_000);
    meter.lateMs(0, 0);
    expect(meter.lateMs(10, 600_010)).toBe(600_000);
    expect(meter.lateMs(600_020, 600_020)).toBe(0);
  });

  test("clocks that drift apart do not add up over months", () => {
    const meter = new DelayMeter(60_000);
    let latestMs = 0;
    for (let sentMs = 0; sentMs < 30 * 86_400_000; sentMs += 10_000) {
      latestMs = Math.max(latestMs, meter.lateMs(sentMs, sentMs * 1.00005));
    }
    expect(latestMs).toBeLessThan(10);
  });
});
