/** A packet as a mail, and back. */
import { EbmFormatError, ebmBounds } from "./bounds.js";
import { decodePart, findPart, readHeader } from "./parts.js";
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
  const head = Buffer.from(
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
      "",
    ].join("\r\n"),
  );
  return Buffer.concat([head, base64Lines(packet), Buffer.from(`--${boundary}--\r\n`)]);
}

/** Lines of 76 characters, RFC 2045 §6.8: 57 octets each. */
function base64Lines(octets: Buffer): Buffer {
  const lineOctets = 57;
  const encoded = Buffer.allocUnsafe(Math.ceil(octets.length / lineOctets) * (76 + 2));
  let to = 0;
  for (let at = 0; at < octets.length; at += lineOctets) {
    to += encoded.write(octets.toString("base64", at, at + lineOctets), to, "latin1");
    encoded[to++] = 0x0d;
    encoded[to++] = 0x0a;
  }
  return encoded.subarray(0, to);
}

export interface ReadMail {
  readonly index: PacketIndex | undefined;
  /** Undefined when the mail has no part of our type. */
  readonly packet: Buffer | undefined;
}

/**
 * Finds the packet in a mail that gateways may have changed: the Subject prefixed, lines re-broken,
 * the part in another transfer encoding, under a general type, or inside other parts.
 * @throws EbmFormatError when there is a part of our type that can't be decoded
 */
export function readMail(mail: Buffer): ReadMail {
  if (mail.length > ebmBounds.mailOctetsMax) throw new EbmFormatError("the mail is too large");
  const subject = readHeader(mail).fields.get("subject");
  const part = findPart(mail, (type, fields) => isOurs(type, fields));
  return {
    index: subject === undefined ? undefined : findIndex(subject),
    packet: part && decodePart(part),
  };
}

/** Some gateways know no types but a few; the name of the file they leave. */
function isOurs(type: string, fields: ReadonlyMap<string, string>): boolean {
  if (type.startsWith(mediaType)) return /^application\/vnd\.ebm\s*(;|$)/.test(type);
  if (!/^application\/(octet-stream|x-[a-z-]{1,30})\s*(;|$)/.test(type)) return false;
  const name = /name\*?=\s*(?:"packet\.ebm"|packet\.ebm\s*(?:;|$))/;
  return name.test(type) || name.test(fields.get("content-disposition")?.toLowerCase() ?? "");
}
