import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { RingId } from "../shared/ids.js";
import {
  between,
  betweenRightInclusive,
  distance,
  formatRingId,
  parseRingId,
  ringIdOf,
} from "./identifier.js";

describe("between: the open interval on the circle", () => {
  test.each([
    [10n, 15n, 20n, true],
    [10n, 10n, 20n, false],
    [10n, 20n, 20n, false],
    [10n, 25n, 20n, false],
    [200n, 250n, 20n, true],
    [200n, 5n, 20n, true],
    [200n, 100n, 20n, false],
    [7n, 7n, 7n, false],
    [7n, 8n, 7n, true],
    [7n, 6n, 7n, true],
  ])("%s < %s < %s: %s", (a, x, b, expected) => {
    expect(between(a, x, b)).toBe(expected);
  });

  test("agrees with clockwise distances, for any three points", () => {
    const point = fc.bigInt({ min: 0n, max: 255n });
    fc.assert(
      fc.property(point, point, point, (a, x, b) => {
        const whole = a === b ? 256n : distance(a, b, 8);
        const steps = distance(a, x, 8);
        expect(between(a, x, b)).toBe(steps > 0n && steps < whole);
        expect(betweenRightInclusive(a, x, b)).toBe(x === b || between(a, x, b));
      }),
    );
  });
});

describe("parseRingId", () => {
  test.each([
    ["0", 8, 0n],
    ["255", 8, 255n],
    ["0xff", 8, 255n],
    ["0XFF", 8, 255n],
    [" 42 ", 8, 42n],
    ["1", 1, 1n],
    ["0xffffffffffffffffffffffffffffffffffffffff", 160, (1n << 160n) - 1n],
  ])("%s with %s bits", (text, bits, id) => {
    expect(parseRingId(text, bits)).toEqual({ ok: true, id });
  });

  test.each([
    ["256", 8, /outside 0\.\.255/],
    ["2", 1, /outside 0\.\.1/],
    ["0x10000000000000000000000000000000000000000", 160, /outside/],
    ["-1", 8, /neither/],
    ["1.5", 8, /neither/],
    ["", 8, /neither/],
    ["0x", 8, /neither/],
    ["12a", 8, /neither/],
    ["9".repeat(100_000), 160, /neither/],
    ["1\n2", 8, /neither/],
  ])("refuses %j with %s bits in one line", (text, bits, error) => {
    const parsed = parseRingId(text, bits);
    expect(parsed.ok).toBe(false);
    if (parsed.ok) return;
    expect(parsed.error).toMatch(error);
    expect(parsed.error).not.toContain("\n");
    expect(parsed.error.length).toBeLessThan(200);
  });

  test("reads back what formatRingId writes", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 160 }), fc.bigInt({ min: 0n }), (bits, n) => {
        const id = (n % (1n << BigInt(bits))) as RingId;
        expect(parseRingId(formatRingId(id), bits)).toEqual({ ok: true, id });
        expect(parseRingId(`0x${id.toString(16)}`, bits)).toEqual({ ok: true, id });
      }),
    );
  });
});

// FIPS 180-4 example: SHA-1("abc") = a9993e36 4706816a ba3e2571 7850c26c 9cd0d89d.
test.each([
  [160, 0xa9993e364706816aba3e25717850c26c9cd0d89dn],
  [32, 0xa9993e36n],
  [8, 0xa9n],
  [3, 0b101n],
  [1, 1n],
])("ringIdOf takes the first %s bits of SHA-1", (bits, id) => {
  expect(ringIdOf("abc", bits)).toBe(id);
});
