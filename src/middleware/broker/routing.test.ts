import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { matches, matchesTopic, type Pattern } from "./routing.js";

/** Slow and obvious: every way to read the pattern is tried. */
function model(pattern: readonly string[], words: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return words.length === 0;
  if (first === "#") {
    for (let n = 0; n <= words.length; n += 1) if (model(rest, words.slice(n))) return true;
    return false;
  }
  const [word, ...others] = words;
  return word !== undefined && (first === "*" || first === word) && model(rest, others);
}

const split = (text: string): string[] => (text === "" ? [] : text.split("."));
const plain: Pattern = { key: "", headers: {}, match: "all" };

describe("topic", () => {
  test.each([
    ["a.b.c", "a.b.c", true],
    ["a.*.c", "a.b.c", true],
    ["a.*.c", "a.c", false],
    ["#", "", true],
    ["*", "", false],
    ["#", "a.b.c", true],
    ["a.#", "a", true],
    ["#.a", "b.a", true],
    ["#.a.#", "b.a.c.d", true],
    ["#.a.#", "b.c", false],
    ["a.#.b", "a.b", true],
    ["*.#", "", false],
    ["a..b", "a..b", true],
    ["a.*.b", "a..b", true],
    ["a", "A", false],
  ])("%s and %s: %s", (pattern, key, expected) => {
    expect(matchesTopic(pattern, key)).toBe(expected);
  });

  test("agrees with trying every way to read the pattern", () => {
    const word = fc.constantFrom("a", "b", "");
    const part = fc.constantFrom("a", "b", "", "*", "#");
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 6 }),
        fc.array(word, { maxLength: 6 }),
        (parts, words) => {
          const [pattern, key] = [parts.join("."), words.join(".")];
          expect(matchesTopic(pattern, key)).toBe(model(split(pattern), split(key)));
        },
      ),
      { numRuns: 3_000 },
    );
  });

  test("a pattern of many # is not slow", () => {
    const pattern = Array.from({ length: 128 }, () => "#").join(".");
    const key = Array.from({ length: 128 }, () => "a").join(".");
    expect(matchesTopic(`${pattern}.b`, key)).toBe(false);
  });
});

test("direct: equal keys; no key is the empty one", () => {
  expect(matches("direct", { ...plain, key: "a" }, { routingKey: "a" })).toBe(true);
  expect(matches("direct", { ...plain, key: "a" }, { routingKey: "a.b" })).toBe(false);
  expect(matches("direct", plain, {})).toBe(true);
});

test("fanout: everything", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (key, routingKey) => {
      expect(matches("fanout", { ...plain, key }, { routingKey })).toBe(true);
    }),
  );
});

test("headers: all or any of the binding's are there with the same value and type", () => {
  const value = fc.constantFrom<string | number | boolean>("1", 1, true, "x");
  const headers = fc.dictionary(fc.constantFrom("a", "b", "c", "toString"), value);
  fc.assert(
    fc.property(headers, headers, (wanted, given) => {
      const names = Object.keys(wanted);
      const hits = names
        .filter((name) => Object.keys(given).includes(name))
        .filter((name) => given[name] === wanted[name]);
      const pattern = { key: "", headers: wanted };
      const message = { headers: given };
      expect(matches("headers", { ...pattern, match: "all" }, message)).toBe(
        hits.length === names.length,
      );
      expect(matches("headers", { ...pattern, match: "any" }, message)).toBe(hits.length > 0);
    }),
  );
});

test("headers: names that begin with x- count only where the binding says so", () => {
  const wanted = { a: 1, "x-b": 2 };
  const hits = (match: Pattern["match"], headers: Record<string, number>): boolean =>
    matches("headers", { key: "", headers: wanted, match }, { headers });
  const only = { a: { a: 1 }, b: { "x-b": 2 }, both: wanted };
  expect([hits("all", only.a), hits("all", only.b), hits("all", only.both)]).toEqual([
    ...[true, false, true],
  ]);
  expect([hits("any", only.a), hits("any", only.b)]).toEqual([true, false]);
  expect([hits("all-with-x", only.a), hits("all-with-x", only.both)]).toEqual([false, true]);
  expect([hits("any-with-x", only.a), hits("any-with-x", only.b)]).toEqual([true, true]);
});

test("headers that an object inherits are not there", () => {
  const wanted = JSON.parse('{"constructor": "x"}') as Record<string, string>;
  const pattern: Pattern = { key: "", headers: wanted, match: "any" };
  expect(matches("headers", pattern, { headers: {} })).toBe(false);
});
