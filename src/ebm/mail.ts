/** A packet as a mail, and back. */
import { EbmFormatError, ebmBounds } from "./bounds.js";
import { findIndex, type PacketIndex, writeSubject } from "./subject.js";

export interface PacketMail {
  /** Envelope and header addresses; `from` is not believed by anybody. */
  readonly from: string;
  readonly to: string;
  readonly index: PacketIndex;
  /** Without angle brackets; new for each retransmission, since providers drop duplicates. */
  readonly messageId: string;
  readonly date: Date;
  readonly packet: Buffer;
}

const mediaType = "application/vnd.ebm";
const boundary = "=_ebm";

/** RFC 5322 mail: a line for people, then the packet in base64, which survives any gateway. */
export function composeMail({ from, to, index, messageId, date, packet }: PacketMail): Buffer {
  const encoded = packet.toString("base64").replace(/.{76}/g, "$&\r\n");
  return Buffer.from(
    [
      `Date: ${date.toUTCString().replace("GMT", "+0000")}`,
      `From: <${from}>`,
      `To: <${to}>`,
      `Message-ID: <${messageId}>`,
      `Subject: ${writeSubject(index)}`,
      // RFC 3834 §5: nobody should answer it automatically.
      "Auto-Submitted: auto-generated",
      "MIME-Version: 1.0",
      `Content-Type: multipart/mixed; boundary="${boundary}"`,
      "",
      `--${boundary}`,
      "Content-Type: text/plain; charset=us-ascii",
      "",
      "A message between programs (EBM/1). There is nothing to read here.",
      `--${boundary}`,
      `Content-Type: ${mediaType}; name="packet.ebm"`,
      "Content-Transfer-Encoding: base64",
      "",
      encoded.replace(/\r\n$/, ""),
      `--${boundary}--`,
      "",
    ].join("\r\n"),
  );
}

export interface ReadMail {
  readonly index: PacketIndex | undefined;
  /** Undefined when the mail has no part of our type. */
  readonly packet: Buffer | undefined;
}

/**
 * Finds the packet in a mail that gateways may have changed: the Subject prefixed, lines re-broken,
 * the part in another transfer encoding, or inside other parts.
 * @throws EbmFormatError when there is a part of our type that can't be decoded
 */
export function readMail(mail: Buffer): ReadMail {
  if (mail.length > ebmBounds.mailOctetsMax) throw new EbmFormatError("the mail is too large");
  const text = mail.toString("latin1");
  const headerEnd = endOfHeader(text, 0);
  const subject = fieldOf(text.slice(0, headerEnd), "subject");
  const index = subject === undefined ? undefined : findIndex(subject);
  return { index, packet: packetIn(text) };
}

function packetIn(text: string): Buffer | undefined {
  const part = /^content-type:[ \t]*application\/vnd\.ebm\b/im.exec(text);
  if (!part) return undefined;
  const headerFrom = startOfHeader(text, part.index);
  const headerEnd = endOfHeader(text, headerFrom);
  const encoding = fieldOf(text.slice(headerFrom, headerEnd), "content-transfer-encoding");
  const rest = text.slice(headerEnd);
  const end = /\r?\n--/.exec(rest);
  return decode(end ? rest.slice(0, end.index) : rest, (encoding ?? "7bit").trim().toLowerCase());
}

function decode(body: string, encoding: string): Buffer {
  switch (encoding) {
    case "base64":
      // Whatever is not of the alphabet is passed over, RFC 2045 §6.8.
      return Buffer.from(body, "base64");
    case "quoted-printable": {
      // RFC 2045 §6.7: padding stands behind the `=` of a soft line break; before it, blanks are data.
      const joined = body.replace(/=[ \t]*\r?\n/g, "");
      const octets = joined.replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      );
      return Buffer.from(octets, "latin1");
    }
    case "7bit":
    case "8bit":
    case "binary":
      return Buffer.from(body, "latin1");
    default:
      throw new EbmFormatError("a transfer encoding that is not known");
  }
}

/** Far more than any value that is looked at. */
const fieldCharsMax = 8_192;

/** Of a header field, unfolded. */
function fieldOf(header: string, name: string): string | undefined {
  const start = new RegExp(`^${name}:`, "im").exec(header);
  if (!start) return undefined;
  const from = start.index + start[0].length;
  const rest = header.slice(from, from + fieldCharsMax);
  const end = /\r?\n(?![ \t])/.exec(rest);
  return rest.slice(0, end?.index).replace(/\r?\n(?=[ \t])/g, "");
}

/** Behind the empty line. */
function endOfHeader(text: string, from: number): number {
  const empty = /\r?\n\r?\n/g;
  empty.lastIndex = from;
  const match = empty.exec(text);
  return match ? match.index + match[0].length : text.length;
}

/** Of the header that `at` is in. */
function startOfHeader(text: string, at: number): number {
  const before = text.slice(0, at);
  const boundaryLine = before.lastIndexOf("\n--");
  return boundaryLine < 0 ? 0 : boundaryLine + 1;
}
