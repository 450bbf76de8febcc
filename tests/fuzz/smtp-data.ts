/** The end of data and its dots, RFC 5321 §4.1.1.4 and §4.5.2, said in a second way. */
import fc from "fast-check";
import { Unstuffer } from "../../src/smtp/unstuff.js";
import { check, fuzzer } from "./fuzzer.js";
import { cutAt, cuts, latin1, mutated, tokenSoup } from "./octets.js";

export interface ReferenceData {
  /** Undefined when the end has not come. */
  readonly end: number | undefined;
  readonly content: string;
  /** A CR or LF that is no part of a CRLF. */
  readonly bare: boolean;
}

/** Whole octets at once, by regular expressions. A CR at the very end may still become a CRLF. */
export function referenceData(text: string): ReferenceData {
  const match = /(?:^|\r\n)(\.\r\n)/.exec(text);
  const end = match === null ? undefined : match.index + match[0].length;
  const stuffed = match === null ? text : text.slice(0, match.index + match[0].length - 3);
  const bare = /\r(?!\n|$)|(?<!\r)\n/.test(stuffed);
  return { end, content: stuffed.replace(/(^|\r\n)\./g, "$1"), bare };
}

export const dataTokens = [
  "\r\n",
  ".",
  "\r\n.\r\n",
  "\r",
  "\n",
  "..",
  "x",
  "\n.\n",
  "\r.\r",
  "a b",
];

export const smtpData = fuzzer({
  name: "smtp-data",
  testRuns: 3_000,
  inputs: fc.record({
    octets: fc.oneof(
      tokenSoup(dataTokens),
      mutated(["Subject: x\r\n\r\n.\r\n..\r\n.a\r\nb\r\n.\r\nQUIT\r\n"], dataTokens),
    ),
    cuts,
  }),
  run({ octets, cuts: at }) {
    const expected = referenceData(latin1(octets));
    const unstuffer = new Unstuffer();
    let content = "";
    let consumed = 0;
    let end: number | undefined;
    for (const piece of cutAt(octets, at)) {
      const unstuffed = unstuffer.feed(piece);
      content += unstuffed.content.toString("latin1");
      if (unstuffed.end !== undefined) {
        end = consumed + unstuffed.end;
        break;
      }
      consumed += piece.length;
    }
    check(end === expected.end, () => `the end is at ${end}, not at ${expected.end}`);
    if (unstuffer.bareLineEnd !== expected.bare) {
      check(false, () => `bare line ends: ${unstuffer.bareLineEnd}, not ${expected.bare}`);
    }
    // Dots at the cut are not decided yet; what is refused is of no use.
    if (expected.bare || end === undefined) return;
    check(content === expected.content, () => "other content than the reference");
  },
});
