import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DotStuffer, needsNoStuffing, TopCutter } from "./stuffing.js";

const latin1 = (text: string) => Buffer.from(text, "latin1");

function stuffed(pieces: readonly Buffer[]): string {
  const stuffer = new DotStuffer();
  const out = pieces.map((piece) => Buffer.from(stuffer.push(piece)));
  return Buffer.concat([...out, stuffer.end()]).toString("latin1");
}

/** What RFC 1939 §3 has a client do. */
function unstuffed(reply: string): string {
  expect(reply.endsWith(".\r\n")).toBe(true);
  return reply.slice(0, -3).replace(/(^|\r\n)\./g, "$1");
}

function everySplit(octets: Buffer): Buffer[][] {
  return Array.from({ length: octets.length + 1 }, (_, at) => [
    octets.subarray(0, at),
    octets.subarray(at),
  ]);
}

describe("DotStuffer, RFC 1939 §3", () => {
  test.each([
    ["nothing to do", "a\r\nb\r\n", "a\r\nb\r\n.\r\n"],
    ["empty", "", ".\r\n"],
    ["a line of a dot", "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"],
    ["the first line", ".a\r\n", "..a\r\n.\r\n"],
    ["only dots", "..\r\n...\r\n", "...\r\n....\r\n.\r\n"],
    ["a dot at the very end", "a\r\n.", "a\r\n..\r\n.\r\n"],
    ["no end of the last line", "a", "a\r\n.\r\n"],
    ["a CR at the very end", "a\r", "a\r\r\n.\r\n"],
    ["lone LF and CR begin no line", "a\n.\nb\r.\r\n", "a\n.\nb\r.\r\n.\r\n"],
    ["CR CR LF dot", "\r\r\n.\r\n", "\r\r\n..\r\n.\r\n"],
    ["8-bit and NUL", "\xff\0\r\n.\xfe\r\n", "\xff\0\r\n..\xfe\r\n.\r\n"],
  ])("%s, split at every octet", (_, body, reply) => {
    for (const pieces of everySplit(latin1(body))) expect(stuffed(pieces)).toBe(reply);
  });

  test("gives back what came in, but for the end of the last line", () => {
    const part = fc.constantFrom(".", "..", "\r\n", "\r", "\n", "\r\n.", "a", "\0", "\xff");
    const pieces = fc.array(
      fc.array(part, { maxLength: 8 }).map((parts) => latin1(parts.join(""))),
    );
    fc.assert(
      fc.property(pieces, (pieces) => {
        const body = Buffer.concat(pieces).toString("latin1");
        const whole = body === "" || body.endsWith("\r\n") ? body : `${body}\r\n`;
        const reply = stuffed(pieces);
        expect(unstuffed(reply)).toBe(whole);
        expect(reply.indexOf("\r\n.\r\n")).toBe(whole === "" ? -1 : reply.length - 5);
        expect(reply).toBe(stuffed([latin1(body)]));
        const asIs = needsNoStuffing(latin1(body));
        if (asIs) expect(reply).toBe(`${body}.\r\n`);
      }),
    );
  });

  test("needsNoStuffing sees each reason", () => {
    expect(needsNoStuffing(latin1("a\r\nb.\r\n"))).toBe(true);
    expect(needsNoStuffing(latin1(""))).toBe(true);
    for (const body of [".a\r\n", "a\r\n.b\r\n", "a", "a\n", "a\r"]) {
      expect(needsNoStuffing(latin1(body))).toBe(false);
    }
  });
});

function top(pieces: readonly Buffer[], lines: number): { text: string; read: number } {
  const cutter = new TopCutter(lines);
  let text = "";
  let read = 0;
  for (const piece of pieces) {
    if (cutter.done) break;
    read++;
    text += cutter.push(piece).toString("latin1");
  }
  return { text, read };
}

describe("TopCutter, RFC 1939 §7 TOP", () => {
  const mail = "A: 1\r\nB: 2\r\n\r\none\r\n\r\nthree\r\n";
  test.each([
    [0, "A: 1\r\nB: 2\r\n\r\n"],
    [1, "A: 1\r\nB: 2\r\n\r\none\r\n"],
    [2, "A: 1\r\nB: 2\r\n\r\none\r\n\r\n"],
    [3, mail],
    [4, mail],
    [1e20, mail],
  ])("%i lines of the body, split at every octet", (lines, text) => {
    for (const pieces of everySplit(latin1(mail))) expect(top(pieces, lines).text).toBe(text);
  });

  test.each([
    ["no header", "\r\nbody\r\nmore\r\n", 1, "\r\nbody\r\n"],
    ["no body", "A: 1\r\n", 5, "A: 1\r\n"],
    ["a lone LF ends no line", "A: 1\n\nx\r\n\r\ny\r\n", 0, "A: 1\n\nx\r\n\r\n"],
  ])("%s", (_, body, lines, text) => {
    for (const pieces of everySplit(latin1(body))) expect(top(pieces, lines).text).toBe(text);
  });

  test("needs nothing behind the last line", () => {
    expect(top(["A: 1\r\n\r\n", "x\r\n", "y"].map(latin1), 1).read).toBe(2);
  });
});
