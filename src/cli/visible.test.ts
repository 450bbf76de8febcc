import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { visibleLine, visibleLines, wrapped } from "./visible.js";

describe("what a stranger wrote drives no terminal", () => {
  test.each([
    ["\u001b[31mred\u001b[0m", "^[[31mred^[[0m"],
    ["\u001b]0;title\u0007", "^[]0;title^G"],
    ["\u009b31m", "<U+009B>31m"],
    ["a\u202egnp.exe", "a<U+202E>gnp.exe"],
    ["a\u200bb\ufeff", "a<U+200B>b<U+FEFF>"],
    ["over\r\nwritten\rhere", "over written here"],
    ["\u007f\u0000", "^?^@"],
    ["grün 緑 🔑", "grün 緑 🔑"],
  ])("%j is shown as %s", (text, shown) => expect(visibleLine(text)).toBe(shown));

  test("whatever it is, no control character is left", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        for (const line of [visibleLine(text), ...visibleLines(text)]) {
          expect(line).not.toMatch(/[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e]/u);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("wrapped", () => {
  test("breaks at spaces, and long words anywhere", () => {
    expect(wrapped("one two three", 8)).toEqual(["one two", "three"]);
    expect(wrapped("abcdefghij", 4)).toEqual(["abcd", "efgh", "ij"]);
    expect(wrapped("", 4)).toEqual([""]);
  });

  test("loses nothing but spaces, and is never too wide", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", " ", "é", "🔑") }), (text) => {
        const lines = wrapped(text, 10);
        for (const line of lines) expect([...line].length).toBeLessThanOrEqual(10);
        expect(lines.join("").replaceAll(" ", "")).toBe(text.replaceAll(" ", ""));
      }),
    );
  });
});
