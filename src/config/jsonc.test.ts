import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsoncError, type JsonValue, parseJsonc } from "./jsonc.js";

function plain(value: JsonValue): unknown {
  switch (value.kind) {
    case "string":
    case "number":
    case "boolean":
      return value.value;
    case "null":
      return null;
    case "array":
      return value.items.map(plain);
    case "object":
      return Object.fromEntries(value.fields.map((field) => [field.key, plain(field.value)]));
  }
}

test("every JSON text means what it means to JSON.parse (RFC 8259)", () => {
  const json = fc.json({ maxDepth: 6 }).filter((text) => !text.includes("__proto__"));
  fc.assert(
    fc.property(json, fc.constantFrom(undefined, 1, "\t"), (text, indent) => {
      const laidOut = JSON.stringify(JSON.parse(text), undefined, indent);
      // -0 is written as 0; both are the same number to everybody who reads a file.
      expect(JSON.stringify(plain(parseJsonc(laidOut)))).toBe(JSON.stringify(JSON.parse(laidOut)));
    }),
    { seed: 7, numRuns: 500 },
  );
});

test("any text is read or refused with a place in it, and never anything else", () => {
  const piece = fc.constantFrom(...'{}[]:,"\\/*-+.eE0179tnu \n\r', "true", "null", "//", "/*");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const text = pieces.join("");
      try {
        parseJsonc(text);
      } catch (error) {
        expect(error).toBeInstanceOf(JsoncError);
        const { line, column } = error as JsoncError;
        expect(line).toBeLessThanOrEqual(text.split("\n").length);
        expect(column).toBeLessThanOrEqual((text.split("\n")[line - 1]?.length ?? 0) + 1);
      }
    }),
    { seed: 11, numRuns: 2_000 },
  );
});

test("comments and trailing commas", () => {
  const text = '// one\n{ /* two */ "a": [1, 2,], // three\n "b": "// text", }\n';
  expect(plain(parseJsonc(text))).toEqual({ a: [1, 2], b: "// text" });
});

test("keys know their lines", () => {
  const value = parseJsonc('{\n "a": 1,\n // comment\n "b": 2 }');
  if (value.kind !== "object") throw new Error("not an object");
  expect(value.fields.map(({ key, line }) => [key, line])).toEqual([
    ["a", 2],
    ["b", 4],
  ]);
});

describe("errors say where", () => {
  test.each([
    ["", 1, 1, "expected a value, found the end of the file"],
    ["{", 1, 2, 'expected "key" or }, found the end of the file'],
    ['{\n  "bits" 3\n}', 2, 10, 'expected : after "bits", found "3"'],
    ['{\n  "bits": 3\n  "id": 2\n}', 3, 3, 'expected , or }, found "\\""'],
    ['{ "id": two }', 1, 9, "expected a value, found two (text needs double quotes)"],
    ["{ bits: 3 }", 1, 3, 'expected "key" or }, found "b"'],
    ['{ "a": 1, "a": 2 }', 1, 11, '"a" is given twice'],
    ['{ "a": "b }', 1, 8, "this text is never closed; add a double quote"],
    ['{ "a": "\\x" }', 1, 8, 'bad escape or control character; write \\\\ for "\\"'],
    ["{ /* a }", 1, 3, "this comment is never closed"],
    ["{} {}", 1, 4, 'expected the end of the file, found "{"'],
    ["[1 2]", 1, 4, 'expected , or ], found "2"'],
    ["[".repeat(20), 1, 18, "nested too deeply"],
  ])("%j", (text, line, column, message) => {
    expect(() => parseJsonc(text)).toThrow(expect.objectContaining({ line, column, message }));
  });
});
