import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Unstuffer } from "./unstuff.js";

/** RFC 5321 §4.5.2 to the letter, over a whole session: slow and plain. */
function reference(input: string): { content: string; rest: string | undefined; bare: boolean } {
  const ended = input.startsWith(".\r\n") ? 0 : input.indexOf("\r\n.\r\n") + 2;
  const whole = ended !== 1;
  const data = whole ? input.slice(0, ended) : input;
  const lines = data.split("\r\n");
  const content = lines.map((line) => (line.startsWith(".") ? line.slice(1) : line)).join("\r\n");
  return {
    content,
    rest: whole ? input.slice(ended + 3) : undefined,
    bare: /\r(?!\n)|(?<!\r)\n/.test(data),
  };
}

function feed(input: string, cuts: readonly number[]) {
  const unstuffer = new Unstuffer();
  const all = Buffer.from(input, "latin1");
  const borders = [0, ...cuts.map((cut) => cut % (all.length + 1)), all.length].sort(
    (a, b) => a - b,
  );
  const pieces: Buffer[] = [];
  for (let i = 1; i < borders.length; i++) {
    const from = borders[i - 1] ?? 0;
    const { content, end } = unstuffer.feed(Buffer.from(all.subarray(from, borders[i])));
    pieces.push(content);
    if (end !== undefined) {
      const rest = all.subarray(from + end).toString("latin1");
      return { content: Buffer.concat(pieces), rest, bare: unstuffer.bareLineEnd };
    }
  }
  return { content: Buffer.concat(pieces), rest: undefined, bare: unstuffer.bareLineEnd };
}

const octets = fc.array(fc.constantFrom(".", "\r", "\n", "\r\n", "a", "\0", "\x85", "\xff"), {
  maxLength: 40,
});
const cuts = fc.array(fc.nat(), { maxLength: 12 });

describe("against the reference, however TCP cuts", () => {
  test("clean data: content, end and rest are the same", () => {
    const lines = fc.array(
      fc.string({ unit: fc.constantFrom(".", "a", "\0", "\x85", "\xc3", "\xff"), maxLength: 6 }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(lines, octets, cuts, (data, rest, where) => {
        const input = `${data.map((line) => `${line}\r\n`).join("")}.\r\n${rest.join("")}`;
        const expected = reference(input);
        const actual = feed(input, where);
        expect(actual.content.toString("latin1")).toBe(expected.content);
        expect(actual.rest).toBe(expected.rest);
        expect(actual.bare).toBe(false);
      }),
      { numRuns: 3_000 },
    );
  });

  test("any octets: the same end, and a bare CR or LF before it never goes unseen", () => {
    fc.assert(
      fc.property(octets, cuts, (data, where) => {
        const input = data.join("");
        const expected = reference(input);
        const actual = feed(input, where);
        expect(actual.rest).toBe(expected.rest);
        // A CR at the very end is not known to be bare yet.
        if (expected.rest !== undefined) expect(actual.bare).toBe(expected.bare);
        if (expected.rest !== undefined && !expected.bare) {
          expect(actual.content.toString("latin1")).toBe(expected.content);
        }
      }),
      { numRuns: 5_000 },
    );
  });
});

describe("dots (RFC 5321 §4.5.2)", () => {
  test.each([
    [".\r\n", ""],
    ["..\r\n.\r\n", ".\r\n"],
    ["...\r\n.\r\n", "..\r\n"],
    [".a\r\n.\r\n", "a\r\n"],
    ["a.\r\n.\r\n", "a.\r\n"],
    ["\r\n.\r\n", "\r\n"],
    ["a\r\n..\r\n..b\r\n.\r\n", "a\r\n.\r\n.b\r\n"],
  ])("%j is %j, split at every octet", (input, content) => {
    for (let cut = 0; cut <= input.length; cut++) {
      const { content: got, rest } = feed(input, [cut]);
      expect([got.toString(), rest]).toEqual([content, ""]);
    }
    const everywhere = Array.from(input, (_, index) => index);
    expect(feed(input, everywhere).content.toString()).toBe(content);
  });
});

test("S5: lines of dots cost about what plain text costs", () => {
  const cost = (line: string) => {
    const data = Buffer.from(line.repeat(Math.floor(2_000_000 / line.length)));
    let best = Infinity;
    for (let run = 0; run < 7; run++) {
      const unstuffer = new Unstuffer();
      const began = process.cpuUsage();
      for (let at = 0; at < data.length; at += 65_536) {
        unstuffer.feed(Buffer.from(data.subarray(at, at + 65_536)));
      }
      const { user, system } = process.cpuUsage(began);
      best = Math.min(best, user + system);
    }
    return best;
  };
  const plain = cost(`${"x".repeat(76)}\r\n`);
  expect(cost("..\r\n")).toBeLessThan(Math.max(plain, 500) * 8);
});
