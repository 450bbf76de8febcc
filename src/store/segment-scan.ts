import type { DiskFile } from "../shared/disk.js";
import { decodePrefix, decodeRecord, magicBytes, prefixOctets } from "./record.js";
import type { RecordHeader, RecordLengths } from "./record.js";

export interface ScannedRecord {
  /** Where the record begins in its segment. */
  readonly offset: number;
  readonly octets: number;
  /** Where the first body begins in the segment. */
  readonly bodyOffset: number;
  readonly header: RecordHeader;
  /** The bodies, one after the other. Valid until the visitor returns. */
  readonly body: Buffer;
}

export interface ScanResult {
  /** End of the last whole record: what is behind it in the newest segment is a torn tail. */
  readonly end: number;
  /** Damaged places in front of `end`, skipped. */
  readonly damaged: readonly { readonly from: number; readonly to: number }[];
}

const windowOctets = 4 * 1024 * 1024;

/** A scan that has time: between two slices others go on. */
export interface Leisure {
  readonly sliceOctets: number;
  /** Called after each slice. */
  readonly rest: () => Promise<void>;
}

/** As fast as can be, without keeping others waiting for long. */
const inHaste: Leisure = {
  sliceOctets: windowOctets,
  rest: () => new Promise((resolve) => setImmediate(resolve)),
};

/** A view of a file that moves forward, so that a scan costs one read for many records. */
class Window {
  #memory = Buffer.alloc(0);
  #buffer = Buffer.alloc(0);
  #start = 0;
  constructor(
    private readonly file: DiskFile,
    readonly size: number,
    private readonly octets: number,
  ) {}

  /** `octets` from `offset`, or fewer at the end of the file. Valid until the next call. */
  at(offset: number, octets: number): Buffer {
    const from = offset - this.#start;
    const wanted = Math.min(octets, this.size - offset);
    if (from < 0 || from + wanted > this.#buffer.length) this.#load(offset, wanted);
    const begin = offset - this.#start;
    return this.#buffer.subarray(begin, begin + wanted);
  }

  #load(offset: number, octets: number): void {
    const length = Math.min(Math.max(octets, this.octets), this.size - offset);
    // The same memory again: a new one for each piece is work for the collector.
    if (this.#memory.length < length) this.#memory = Buffer.allocUnsafeSlow(length);
    const buffer = this.#memory.subarray(0, length);
    let done = 0;
    while (done < length) {
      const got = this.file.readSync(buffer.subarray(done), offset + done);
      if (got === 0) throw new Error(`the file ends ${length - done} octets too early`);
      done += got;
    }
    this.#buffer = buffer;
    this.#start = offset;
  }
}

type Found = { readonly lengths: RecordLengths; readonly record: Buffer; header: RecordHeader };

function recordAt(window: Window, offset: number, salt: number): Found | undefined {
  const lengths = lengthsAt(window, offset, salt);
  if (lengths === undefined) return undefined;
  const record = window.at(offset, lengths.octets);
  const header = decodeRecord(record, lengths, salt);
  return header === undefined ? undefined : { lengths, record, header };
}

function lengthsAt(window: Window, offset: number, salt: number): RecordLengths | undefined {
  const lengths = decodePrefix(window.at(offset, prefixOctets), 0, salt);
  return lengths !== undefined && offset + lengths.octets <= window.size ? lengths : undefined;
}

/** Where the next whole record behind a damaged one begins. */
function resynchronise(window: Window, offset: number, salt: number): number | undefined {
  const lengths = lengthsAt(window, offset, salt);
  let from = offset + (lengths?.octets ?? 1);
  while (from < window.size) {
    const piece = Buffer.from(window.at(from, windowOctets));
    for (let at = piece.indexOf(magicBytes); at >= 0; at = piece.indexOf(magicBytes, at + 1)) {
      if (recordAt(window, from + at, salt) !== undefined) return from + at;
    }
    // The magic may lie across the edge of two pieces.
    from += Math.max(piece.length - magicBytes.length + 1, 1);
  }
  return undefined;
}

/**
 * Visits every whole record of a segment from `from` on, in order. Damaged ones are skipped and
 * reported; a visitor that throws ends the scan.
 */
export async function scanSegment(options: {
  readonly file: DiskFile;
  readonly from: number;
  /** End of what may be read: the file's size, or less where it is being appended to. */
  readonly size: number;
  readonly salt: number;
  readonly visit: (record: ScannedRecord) => void | Promise<void>;
  readonly leisure?: Leisure | undefined;
}): Promise<ScanResult> {
  const { file, salt, visit, leisure = inHaste } = options;
  const { sliceOctets, rest } = leisure;
  const window = new Window(file, options.size, sliceOctets);
  const damaged: { from: number; to: number }[] = [];
  let offset = options.from;
  let restAt = offset + sliceOctets;
  while (offset < window.size) {
    const found = recordAt(window, offset, salt);
    if (found === undefined) {
      const next = resynchronise(window, offset, salt);
      if (next === undefined) break;
      damaged.push({ from: offset, to: next });
      offset = next;
      continue;
    }
    const headEnd = prefixOctets + found.lengths.headerOctets;
    const visited = visit({
      offset,
      octets: found.lengths.octets,
      bodyOffset: offset + headEnd,
      header: found.header,
      body: found.record.subarray(headEnd),
    });
    if (visited !== undefined) await visited;
    offset += found.lengths.octets;
    if (offset >= restAt) {
      restAt = offset + sliceOctets;
      await rest();
    }
  }
  return { end: offset, damaged };
}
