import { crc32 } from "node:zlib";
import type { JournaledOperation } from "./journaled-operation.js";
import { recordLimits } from "./options.js";
import { packed, unpacked, type WrittenOperation } from "./packed-removals.js";

/**
 * One journal record is one write: its operations and small bodies stand or fall together.
 *
 *   0  magic          u32
 *   4  CRC32 of all that follows, begun with the store's salt   u32
 *   8  format         u8
 *   9  low 24 bits of the CRC32 of the two lengths, begun with the salt
 *  12  header octets  u32
 *  16  body octets    u32
 *  20  header (JSON, `RecordHeader`), then the bodies
 *
 * The salt keeps a mail that contains a well-formed record from being taken for one when the scanner
 * looks for the next record behind a damaged place; the check of the lengths lets it skip exactly
 * the damaged record, and pass by false beginnings without reading what they claim to be.
 */
export const prefixOctets = 20;
const magic = 0x52_70_4a_31;
const formatNumber = 1;

function formatAndCheck(buffer: Buffer, at: number, salt: number): number {
  const check = crc32(buffer.subarray(at + 12, at + prefixOctets), salt) & 0xff_ff_ff;
  return ((formatNumber << 24) | check) >>> 0;
}
export const magicBytes = Buffer.from([0x52, 0x70, 0x4a, 0x31]);

export interface RecordHeader {
  readonly operations: readonly JournaledOperation[];
  /** Bodies behind the header, in order: digest and octets. */
  readonly bodies: readonly (readonly [digest: string, octets: number])[];
  /** Bodies that are files: digest and octets. */
  readonly files: readonly (readonly [digest: string, octets: number])[];
  /** Copied out of an old segment by a compaction: nothing in it is new. */
  readonly copied?: true;
}

export interface EncodedRecord {
  readonly buffers: readonly Buffer[];
  readonly octets: number;
  /** Where the first body begins, from the start of the record. */
  readonly bodyOffset: number;
  readonly header: RecordHeader;
}

export function encodeRecord(
  header: RecordHeader,
  bodies: readonly Buffer[],
  salt: number,
): EncodedRecord {
  const json = JSON.stringify({ ...header, operations: packed(header.operations) });
  const headerOctets = Buffer.byteLength(json);
  let bodyOctets = 0;
  for (const body of bodies) bodyOctets += body.length;
  if (headerOctets > recordLimits.headerOctetsMax || bodyOctets > recordLimits.bodyOctetsMax) {
    throw new Error(`a record of ${headerOctets} + ${bodyOctets} octets is too large`);
  }
  const head = Buffer.allocUnsafe(prefixOctets + headerOctets);
  head.writeUInt32BE(magic, 0);
  head.writeUInt32BE(headerOctets, 12);
  head.writeUInt32BE(bodyOctets, 16);
  head.writeUInt32BE(formatAndCheck(head, 0, salt), 8);
  head.write(json, prefixOctets, "utf8");
  let sum = crc32(head.subarray(8), salt);
  for (const body of bodies) sum = crc32(body, sum);
  head.writeUInt32BE(sum, 4);
  return {
    buffers: bodies.length === 0 ? [head] : [head, ...bodies],
    octets: head.length + bodyOctets,
    bodyOffset: head.length,
    header,
  };
}

export interface RecordLengths {
  readonly headerOctets: number;
  readonly bodyOctets: number;
  readonly octets: number;
}

/** The lengths that a prefix tells, or undefined when it is not a prefix or they are too large. */
export function decodePrefix(buffer: Buffer, at: number, salt: number): RecordLengths | undefined {
  if (at + prefixOctets > buffer.length) return undefined;
  if (buffer.readUInt32BE(at) !== magic) return undefined;
  if (buffer.readUInt32BE(at + 8) !== formatAndCheck(buffer, at, salt)) return undefined;
  const headerOctets = buffer.readUInt32BE(at + 12);
  const bodyOctets = buffer.readUInt32BE(at + 16);
  if (headerOctets > recordLimits.headerOctetsMax) return undefined;
  if (bodyOctets > recordLimits.bodyOctetsMax) return undefined;
  return { headerOctets, bodyOctets, octets: prefixOctets + headerOctets + bodyOctets };
}

/** The header of a whole record, or undefined when its CRC does not match. */
export function decodeRecord(
  record: Buffer,
  lengths: RecordLengths,
  salt: number,
): RecordHeader | undefined {
  if (crc32(record.subarray(8), salt) !== record.readUInt32BE(4)) return undefined;
  const end = prefixOctets + lengths.headerOctets;
  const written = JSON.parse(record.toString("utf8", prefixOctets, end)) as Omit<
    RecordHeader,
    "operations"
  > & { readonly operations: readonly WrittenOperation[] };
  return { ...written, operations: unpacked(written.operations) };
}
