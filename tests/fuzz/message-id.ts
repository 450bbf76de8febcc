/** Does a header have a Message-ID (RFC 5322 §3.6.4)? Line by line, as one would by hand. */
import fc from "fast-check";
import { hasMessageId } from "../../src/mime/message-id.js";
import { check, fuzzer } from "./fuzzer.js";
import { latin1, mutated, tokenSoup } from "./octets.js";

const tokens = [
  ...[
    "Message-ID: <a@b>\r\n",
    "message-id:<x>\r\n",
    "Message-ID",
    ":",
    " ",
    "<",
    ">",
    "\r\n",
    "\n",
    "\r",
  ],
  ...["Subject: x\r\n", "\r\n\r\n", "\tfolded\r\n", "x", "\n\n", "MESSAGE-ID :\t<"],
];

export const messageId = fuzzer({
  name: "message-id",
  testRuns: 3_000,
  inputs: fc.oneof(
    tokenSoup(tokens),
    mutated(["From: a\r\nMessage-ID: <a@b>\r\nTo: c\r\n\r\nMessage-ID: <in@body>\r\n"], tokens),
  ),
  run(octets) {
    const text = latin1(octets);
    const found = hasMessageId(Buffer.from(octets));
    const expected = reference(text);
    check(found === expected, () => `${found} for ${JSON.stringify(text)}`);
  },
});

/** Lines end at LF or CRLF, and at a lone CR, which `^` of a regular expression honours as well. */
function reference(text: string): boolean {
  const body = /\r\n\r\n|\n\n/.exec(text);
  const first = /^\r?\n/.test(text);
  if (first) return false;
  const header = body === null ? text : text.slice(0, body.index + 2);
  return header.split(/[\r\n]/).some((line) => /^message-id[ \t]*:[ \t]*<[^\r\n]+>/i.test(line));
}
