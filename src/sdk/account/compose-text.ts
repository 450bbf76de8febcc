/** A mail of plain text (RFC 5322), in UTF-8 and seven bits. */
import { RingpostError } from "../errors.js";

export interface TextMail {
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  /** Without angle brackets. */
  readonly messageId: string;
  readonly date: Date;
}

/** @throws RingpostError `malformed` for what would end a header */
export function composeText({ from, to, subject, text, messageId, date }: TextMail): Buffer {
  const addresses = to.map((address) => `<${checked(address)}>`);
  const body = Buffer.from(text.replace(/\r?\n/g, "\r\n"), "utf8").toString("base64");
  return Buffer.from(
    [
      `Date: ${date.toUTCString().replace("GMT", "+0000")}`,
      `From: <${checked(from)}>`,
      `To: ${addresses.join(",\r\n ")}`,
      `Message-ID: <${messageId}>`,
      `Subject: ${encodeWords(subject)}`,
      "MIME-Version: 1.0",
      "Content-Type: text/plain; charset=utf-8",
      "Content-Transfer-Encoding: base64",
      "",
      body.replace(/.{76}/g, "$&\r\n"),
      "",
    ].join("\r\n"),
  );
}

function checked(address: string): string {
  if (/^[^\s<>\p{Cc}]{3,254}$/u.test(address) && address.includes("@")) return address;
  throw new RingpostError("malformed", `${JSON.stringify(address)} is no mail address`, false);
}

/** RFC 2047 §2: each word at most 75 characters, and whole characters in each. */
function encodeWords(text: string): string {
  const line = text.replace(/[\r\n]+/g, " ");
  if (/^[\x20-\x7e]{0,60}$/.test(line) && !line.includes("=?")) return line;
  const words: string[] = [];
  let word = "";
  for (const character of line) {
    if (Buffer.byteLength(word + character) > 42) {
      words.push(word);
      word = "";
    }
    word += character;
  }
  words.push(word);
  return words.map((each) => `=?utf-8?B?${Buffer.from(each).toString("base64")}?=`).join("\r\n ");
}
