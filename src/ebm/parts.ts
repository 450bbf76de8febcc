/**
 * As much of MIME (RFC 2045, RFC 2046) as it takes to find one part in a mail of megabytes: by octets, each looked at
 * a few times at most, without expressions over whole bodies.
 */
import { EbmFormatError } from "./bounds.js";

export interface MailPart {
  /** By lower-case name; the first of each counts. Unfolded. */
  readonly fields: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

const headerOctetsMax = 256 * 1024;
const depthMax = 8;
const partsMax = 200;
const newline = 0x0a;
const carriageReturn = 0x0d;

/** The header at the beginning, and what is behind its empty line. */
export function readHeader(octets: Buffer): MailPart {
  const end = headerEnd(octets);
  const text = octets.toString("latin1", 0, end.header);
  const fields = new Map<string, string>();
  for (const line of text.replace(/\r?\n(?=[ \t])/g, "").split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1 || colon > 100) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    if (!fields.has(name)) fields.set(name, line.slice(colon + 1).trim());
  }
  return { fields, body: octets.subarray(end.body) };
}

function headerEnd(octets: Buffer): { header: number; body: number } {
  // A part may have no fields at all.
  if (octets[0] === newline) return { header: 0, body: 1 };
  if (octets[0] === carriageReturn && octets[1] === newline) return { header: 0, body: 2 };
  const limit = Math.min(octets.length, headerOctetsMax);
  for (
    let at = octets.indexOf(newline);
    at >= 0 && at < limit;
    at = octets.indexOf(newline, at + 1)
  ) {
    const next = octets[at + 1] === carriageReturn ? at + 2 : at + 1;
    if (octets[next] === newline) return { header: at, body: next + 1 };
  }
  return { header: limit, body: octets.length };
}

/** The first part, outside in, that `isWanted` by its type (lower case, with parameters) and fields. */
export function findPart(
  mail: Buffer,
  isWanted: (type: string, fields: ReadonlyMap<string, string>) => boolean,
): MailPart | undefined {
  let left = partsMax;
  const look = (octets: Buffer, depth: number): MailPart | undefined => {
    const part = readHeader(octets);
    const written = part.fields.get("content-type") ?? "";
    const type = written.toLowerCase();
    if (isWanted(type, part.fields)) return part;
    if (type.startsWith("message/rfc822") && depth < depthMax) return look(part.body, depth + 1);
    const boundary = type.startsWith("multipart/") ? boundaryOf(written) : undefined;
    if (boundary === undefined || depth >= depthMax) return undefined;
    for (const inner of split(part.body, boundary)) {
      if (left-- <= 0) return undefined;
      const found = look(inner, depth + 1);
      if (found) return found;
    }
    return undefined;
  };
  return look(mail, 0);
}

function boundaryOf(type: string): string | undefined {
  const [, quoted, plain] =
    /;\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))/i.exec(type) ?? [];
  return quoted ?? plain;
}

/** The bodies between boundary lines, RFC 2046 §5.1.1. A last one that is not closed counts. */
function* split(body: Buffer, boundary: string): Iterable<Buffer> {
  const delimiter = Buffer.from(`--${boundary}`, "latin1");
  let from: number | undefined;
  for (let at = body.indexOf(delimiter); at >= 0; at = body.indexOf(delimiter, at + 1)) {
    if (at > 0 && body[at - 1] !== newline) continue;
    const after = at + delimiter.length;
    const isLast = body[after] === 0x2d && body[after + 1] === 0x2d;
    const lineEnd = body.indexOf(newline, after);
    // The line of an outer boundary may begin with this one.
    const rest = body.toString(
      "latin1",
      after,
      lineEnd < 0 ? body.length : Math.min(lineEnd, after + 80),
    );
    if (!isLast && rest.trim() !== "") continue;
    if (from !== undefined) yield body.subarray(from, endBefore(body, from, at));
    if (isLast || lineEnd < 0) return;
    from = lineEnd + 1;
  }
  if (from !== undefined) yield body.subarray(from);
}

/** The line end in front of a boundary belongs to the boundary. */
function endBefore(body: Buffer, from: number, at: number): number {
  let end = at;
  if (end > from && body[end - 1] === newline) end -= 1;
  if (end > from && body[end - 1] === carriageReturn) end -= 1;
  return end;
}

/** @throws EbmFormatError for an encoding that is not known */
export function decodePart({ fields, body }: MailPart): Buffer {
  // Comments may stand everywhere, RFC 5322 §3.2.2.
  const encoding = (fields.get("content-transfer-encoding") ?? "7bit").replace(
    /\([^()]{0,200}\)/g,
    "",
  );
  switch (encoding.trim().toLowerCase()) {
    case "base64":
      return decodeBase64(body);
    case "quoted-printable":
      return decodeQuotedPrintable(body);
    case "7bit":
    case "8bit":
    case "binary":
      return Buffer.from(body);
    default:
      throw new EbmFormatError("a transfer encoding that is not known");
  }
}

/** Up to the padding, or an empty line: what somebody has written under it is no part of it. */
function decodeBase64(body: Buffer): Buffer {
  let from = 0;
  while (from < body.length && (body[from] ?? 0) <= 0x20) from += 1;
  const padding = body.indexOf(0x3d, from);
  let end = padding < 0 ? body.length : padding;
  for (const empty of ["\n\n", "\n\r\n"]) {
    const at = body.indexOf(empty, from);
    if (at >= 0 && at < end) end = at;
  }
  // Octets that are not of the alphabet are passed over by the decoder.
  return Buffer.from(body.toString("latin1", from, end), "base64");
}

const hexDigits = new Int8Array(256).fill(-1);
for (const [value, digit] of [..."0123456789ABCDEF"].entries()) {
  hexDigits[digit.charCodeAt(0)] = value;
  hexDigits[digit.toLowerCase().charCodeAt(0)] = value;
}

/** RFC 2045 §6.7: octets as `=XX`, soft line breaks, and white space at the end of lines that counts for nothing. */
function decodeQuotedPrintable(body: Buffer): Buffer {
  const out = Buffer.allocUnsafe(body.length);
  let length = 0;
  /** Behind the last octet that is no white space of this line. */
  let solid = 0;
  for (let at = 0; at < body.length; at += 1) {
    const octet = body[at] ?? 0;
    if (octet === 0x3d) {
      const high = hexDigits[body[at + 1] ?? 0] ?? -1;
      const low = hexDigits[body[at + 2] ?? 0] ?? -1;
      if (high >= 0 && low >= 0) {
        out[length++] = high * 16 + low;
        solid = length;
        at += 2;
        continue;
      }
      const end = lineEndAfter(body, at + 1);
      if (end !== undefined) {
        at = end;
        solid = length;
        continue;
      }
    }
    if (octet === newline || octet === carriageReturn) length = solid;
    out[length++] = octet;
    if (octet !== 0x20 && octet !== 0x09) solid = length;
  }
  return out.subarray(0, length);
}

/** Where the line ends, when nothing but white space is before that. */
function lineEndAfter(body: Buffer, from: number): number | undefined {
  let at = from;
  while (body[at] === 0x20 || body[at] === 0x09) at += 1;
  if (body[at] === carriageReturn) at += 1;
  return body[at] === newline || at >= body.length ? at : undefined;
}
