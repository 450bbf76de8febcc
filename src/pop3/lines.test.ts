import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Line, LineReader } from "./lines.js";

function readAll(pieces: readonly Buffer[], octetsMax: number): Line[] {
  const reader = new LineReader();
  const lines: Line[] = [];
  for (const piece of pieces) {
    reader.push(piece);
    for (let line = reader.next(octetsMax); line; line = reader.next(octetsMax)) lines.push(line);
  }
  return lines;
}

const text = (text: string): Line => ({ kind: "line", text });
const tooLong: Line = { kind: "lineTooLong" };

describe("LineReader", () => {
  test.each([
    ["CRLF", "STAT\r\nNOOP\r\n", [text("STAT"), text("NOOP")]],
    ["bare LF is tolerated", "STAT\nNOOP\n", [text("STAT"), text("NOOP")]],
    ["an empty line is a line", "\r\n\n", [text(""), text("")]],
    ["one CR belongs to the end, others do not", "A\r\r\n", [text("A\r")]],
    ["no end, no line", "STAT", []],
    ["octets above 127 stay octets", "USER \xc3\xa0\r\n", [text("USER \xc3\xa0")]],
    ["exactly the limit", `${"a".repeat(18)}\r\n`, [text("a".repeat(18))]],
    ["one octet more", `${"a".repeat(19)}\r\nNOOP\r\n`, [tooLong, text("NOOP")]],
    ["much more is told once", `${"a".repeat(1000)}\r\nNOOP\r\n`, [tooLong, text("NOOP")]],
  ])("%s", (_, octets, lines) => {
    expect(readAll([Buffer.from(octets, "latin1")], 20)).toEqual(lines);
  });

  test("tells of a line that is too long before its end comes", () => {
    expect(readAll([Buffer.alloc(100, "a")], 20)).toEqual([tooLong]);
  });

  test("keeps nothing of an endless line", () => {
    const reader = new LineReader();
    for (let i = 0; i < 1_000; i++) {
      reader.push(Buffer.alloc(10_000, "a"));
      reader.next(20);
      expect(reader.full).toBe(false);
    }
  });

  test("is full when more is waiting than is good", () => {
    const reader = new LineReader();
    reader.push(Buffer.alloc(20_000, "NOOP\r\n"));
    expect(reader.full).toBe(true);
    while (reader.full) reader.next(20);
    expect(reader.next(20)).toEqual(text("NOOP"));
  });

  test("cuts the same lines however the octets are split", () => {
    const line = fc.oneof(
      fc.constantFrom("", "STAT", "RETR 1", "\r", "a\rb", "\0", "x".repeat(19), "x".repeat(60)),
      fc.string({ maxLength: 30 }),
    );
    const lines = fc.array(fc.tuple(line, fc.constantFrom("\r\n", "\n")));
    fc.assert(
      fc.property(lines, fc.array(fc.integer({ min: 1, max: 40 })), (parts, sizes) => {
        const octets = Buffer.from(parts.flat().join(""), "latin1");
        expect(readAll(split(octets, sizes), 20)).toEqual(readAll([octets], 20));
      }),
    );
  });
});

function split(octets: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    pieces.push(octets.subarray(at, at + size));
    at += size;
  }
  return [...pieces, octets.subarray(at)];
}
