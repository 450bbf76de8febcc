/** POP3 input lines, SASL PLAIN and dot-stuffing, each against a second way to say it. */
import fc from "fast-check";
import { LineReader } from "../../src/pop3/lines.js";
import { decodeBase64, decodePlain } from "../../src/pop3/sasl.js";
import { DotStuffer, needsNoStuffing, TopCutter } from "../../src/pop3/stuffing.js";
import { check, fuzzer } from "./fuzzer.js";
import { cutAt, cuts, latin1, mutated, tokenSoup } from "./octets.js";

const octetsMax = 64;
const lineTokens = ["\r\n", "\n", "\r", "RETR 1", " ", "x".repeat(61), "\0", "\xff"];

export const pop3Lines = fuzzer({
  name: "pop3-lines",
  testRuns: 3_000,
  inputs: fc.record({ octets: tokenSoup(lineTokens), cuts }),
  run({ octets, cuts: at }) {
    const reader = new LineReader();
    const lines: (string | undefined)[] = [];
    for (const piece of cutAt(octets, at)) {
      reader.push(piece);
      for (let line = reader.next(octetsMax); line; line = reader.next(octetsMax)) {
        lines.push(line.kind === "line" ? line.text : undefined);
      }
    }
    const parts = latin1(octets).split("\n");
    const rest = parts.pop() ?? "";
    const expected = parts.map((part) =>
      part.length + 1 > octetsMax ? undefined : part.replace(/\r$/, ""),
    );
    // One that can't get shorter any more is told before its end has come.
    if (rest.length >= octetsMax) expected.push(undefined);
    const [found, wanted] = [JSON.stringify(lines), JSON.stringify(expected)];
    check(found === wanted, () => `${found} instead of ${wanted}`);
  },
});

const text = fc.string({ unit: fc.constantFrom("a", "é", "\u{1f511}", "=", " ", "\r", "\n") });
const base64Tokens = ["AGFsaWNlAHNlY3JldA==", "=", "A", "+", "/", "-", "_", " ", "\0", "*"];

/** A line of an exchange, read as PLAIN. */
function decoded64(line: string): ReturnType<typeof decodePlain> {
  const octets = decodeBase64(line);
  return octets && decodePlain(octets);
}

export const pop3Sasl = fuzzer({
  name: "pop3-sasl",
  testRuns: 3_000,
  inputs: fc.oneof(
    fc.record({ fields: fc.tuple(text, text, text), edits: fc.constant(undefined) }),
    fc.record({
      fields: fc.constant(undefined),
      edits: fc.oneof(mutated(base64Tokens, base64Tokens), tokenSoup(base64Tokens)),
    }),
  ),
  run({ fields, edits }) {
    if (fields) {
      const [authorizationId, username, password] = fields;
      const decoded = decoded64(Buffer.from(fields.join("\0")).toString("base64"));
      const isMessage = username !== "" && password !== "";
      const wanted = isMessage ? { authorizationId, username, password } : undefined;
      check(JSON.stringify(decoded) === JSON.stringify(wanted), () => "not what was encoded");
      return;
    }
    const given = latin1(edits ?? new Uint8Array());
    const decoded = decoded64(given);
    if (decoded === undefined) return;
    const { authorizationId, username, password } = decoded;
    const octets = Buffer.from([authorizationId, username, password].join("\0"));
    // Padding bits may differ; the octets may not (RFC 4648 §3.5).
    check(octets.equals(Buffer.from(given, "base64")), () => "decoded to something else");
    check(username !== "" && password !== "", () => "an empty name or password");
  },
});

export const pop3Stuffing = fuzzer({
  name: "pop3-stuffing",
  testRuns: 3_000,
  inputs: fc.record({
    octets: tokenSoup(["\r\n", ".", "\r", "\n", "x", "..", "\r\n\r\n"]),
    cuts,
    lines: fc.nat(5),
  }),
  run({ octets, cuts: at, lines }) {
    const mail = latin1(octets);
    const stuffer = new DotStuffer();
    let sent = "";
    for (const piece of cutAt(octets, at)) sent += stuffer.push(piece).toString("latin1");
    sent += stuffer.end().toString("latin1");
    const whole = mail === "" || mail.endsWith("\r\n") ? mail : `${mail}\r\n`;
    const stuffed = `${whole.replaceAll(/(^|\r\n)\./g, "$1..")}.\r\n`;
    check(sent === stuffed, () => `${JSON.stringify(sent)} for ${JSON.stringify(stuffed)}`);
    const plain = needsNoStuffing(Buffer.from(octets));
    check(plain === (stuffed === `${mail}.\r\n`), () => `needs no stuffing: ${plain}`);

    const cutter = new TopCutter(lines);
    let top = "";
    for (const piece of cutAt(octets, at)) {
      if (!cutter.done) top += cutter.push(piece).toString("latin1");
    }
    const wanted = topOf(mail, lines);
    check(
      top === wanted,
      () => `TOP ${lines}: ${JSON.stringify(top)}, not ${JSON.stringify(wanted)}`,
    );
  },
});

/** RFC 1939 §7: the header, the blank line, and n lines of the body. */
function topOf(mail: string, lines: number): string {
  const blank = /(?:^|\r\n)\r\n/.exec(mail);
  if (blank === null) return mail;
  let end = blank.index + blank[0].length;
  for (let line = 0; line < lines; line += 1) {
    const next = mail.indexOf("\r\n", end);
    if (next < 0) return mail;
    end = next + 2;
  }
  return mail.slice(0, end);
}
