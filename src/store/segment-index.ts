import { crc32 } from "node:zlib";
import { type Disk, type DiskFile, replaceFile } from "../shared/disk.js";

/**
 * Which bodies a sealed segment has. Immutable, sorted by digest, with a Bloom filter in front; only
 * the filter (16 bits a body) is in memory.
 *
 *   0  magic u32 · 4 CRC32 of octets 8… up to the entries · 8 entries u32 · 12 filter octets u32
 *  16  CRC32 of the entries u32 · 20 octets of the segment u64 · 28 zero u32 · 32 filter, entries
 *
 * Entry: digest (32), offset of the body in the segment u32 (all ones: a file of its own), octets u48,
 * two zero octets.
 */
const magic = 0x52_70_49_31;
const headOctets = 32;
const entryOctets = 44;
const probes = 8;
const noOffset = 0xff_ff_ff_ff;

/** Where a body lies: in a segment, or (`offset` undefined) in a file of its own. */
export interface BodyLocation {
  readonly segment: number;
  readonly offset: number | undefined;
  readonly octets: number;
}

function bloomPositions(digest: Buffer, bits: number): number[] {
  const first = digest.readUInt32BE(0);
  // Odd, so that the probes do not repeat.
  const step = (digest.readUInt32BE(4) | 1) >>> 0;
  return Array.from({ length: probes }, (_, i) => (first + i * step) % bits);
}

function bloomHas(filter: Buffer, digest: Buffer): boolean {
  const bits = filter.length * 8;
  const first = digest.readUInt32BE(0);
  const step = (digest.readUInt32BE(4) | 1) >>> 0;
  for (let i = 0; i < probes; i++) {
    const bit = (first + i * step) % bits;
    if (((filter[bit >>> 3] ?? 0) & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

function encodeIndex(bodies: ReadonlyMap<string, BodyLocation>, segmentOctets: number): Buffer {
  const digests = [...bodies.keys()].sort();
  const filterOctets = Math.max(8, digests.length * 2);
  const index = Buffer.alloc(headOctets + filterOctets + digests.length * entryOctets);
  const filter = index.subarray(headOctets, headOctets + filterOctets);
  let at = headOctets + filterOctets;
  for (const hex of digests) {
    const location = bodies.get(hex);
    if (location === undefined) continue;
    const digest = Buffer.from(hex, "hex");
    digest.copy(index, at);
    index.writeUInt32BE(location.offset ?? noOffset, at + 32);
    index.writeUIntBE(location.octets, at + 36, 6);
    at += entryOctets;
    for (const bit of bloomPositions(digest, filterOctets * 8)) {
      filter[bit >>> 3] = (filter[bit >>> 3] ?? 0) | (1 << (bit & 7));
    }
  }
  index.writeUInt32BE(magic, 0);
  index.writeUInt32BE(digests.length, 8);
  index.writeUInt32BE(filterOctets, 12);
  index.writeUInt32BE(crc32(index.subarray(headOctets + filterOctets)), 16);
  index.writeBigUInt64BE(BigInt(segmentOctets), 20);
  index.writeUInt32BE(crc32(index.subarray(8, headOctets + filterOctets)), 4);
  return index;
}

/** Writes the index file of a sealed segment so that it is there whole or not at all. */
export async function writeSegmentIndex(
  disk: Disk,
  path: string,
  bodies: ReadonlyMap<string, BodyLocation>,
  segmentOctets: number,
): Promise<void> {
  await replaceFile(disk, path, encodeIndex(bodies, segmentOctets));
}

/** A sealed segment's index, open. */
export class SegmentIndex {
  #entriesVerified = false;
  private constructor(
    private readonly file: DiskFile,
    private readonly segment: number,
    private readonly filter: Buffer,
    readonly entries: number,
    private readonly entriesSum: number,
  ) {}

  /** Undefined when the file is missing, damaged, or of a segment of another length. */
  static open(
    disk: Disk,
    path: string,
    segment: number,
    segmentOctets: number,
  ): SegmentIndex | undefined {
    if (!disk.exists(path)) return undefined;
    const file = disk.open(path, "read");
    const size = file.size();
    const head = Buffer.alloc(headOctets);
    const whole = file.readSync(head, 0) === headOctets && head.readUInt32BE(0) === magic;
    const entries = head.readUInt32BE(8);
    const filterOctets = head.readUInt32BE(12);
    const fits = size === headOctets + filterOctets + entries * entryOctets;
    if (whole && fits && head.readBigUInt64BE(20) === BigInt(segmentOctets)) {
      const filter = Buffer.alloc(filterOctets);
      file.readSync(filter, headOctets);
      if (crc32(filter, crc32(head.subarray(8))) === head.readUInt32BE(4)) {
        return new SegmentIndex(file, segment, filter, entries, head.readUInt32BE(16));
      }
    }
    file.close();
    return undefined;
  }

  /**
   * @throws SegmentIndexError when the entries are damaged: the caller rebuilds the index.
   */
  find(digest: Buffer): BodyLocation | undefined {
    if (!bloomHas(this.filter, digest)) return undefined;
    const at = this.#search(digest);
    if (at !== undefined) return this.#entry(at);
    this.verify();
    return undefined;
  }

  /** Digests are uniform, so interpolation finds one in two or three reads. */
  #search(digest: Buffer): number | undefined {
    const blockEntries = 64;
    const block = Buffer.allocUnsafe(blockEntries * entryOctets);
    const key = digest.readUInt32BE(0);
    let low = 0;
    let high = this.entries;
    for (let round = 0; low < high; round++) {
      const guess =
        round < 4
          ? Math.floor((key / 2 ** 32) * this.entries) - blockEntries / 2
          : Math.floor((low + high - blockEntries) / 2);
      const from = Math.max(low, Math.min(guess, high - blockEntries));
      const count = Math.min(blockEntries, high - from);
      const got = block.subarray(0, count * entryOctets);
      this.file.readSync(got, this.#offset(from));
      const last = got.subarray((count - 1) * entryOctets, (count - 1) * entryOctets + 32);
      if (digest.compare(got, 0, 32) < 0) high = from;
      else if (digest.compare(last) > 0) low = from + count;
      else return this.#inBlock(got, count, digest, from);
    }
    return undefined;
  }

  #inBlock(block: Buffer, count: number, digest: Buffer, from: number): number | undefined {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = digest.compare(block, middle * entryOctets, middle * entryOctets + 32);
      if (order === 0) return from + middle;
      if (order < 0) high = middle;
      else low = middle + 1;
    }
    return undefined;
  }

  #offset(entry: number): number {
    return headOctets + this.filter.length + entry * entryOctets;
  }

  #entry(at: number): BodyLocation {
    const entry = Buffer.alloc(entryOctets);
    this.file.readSync(entry, this.#offset(at));
    const offset = entry.readUInt32BE(32);
    return {
      segment: this.segment,
      offset: offset === noOffset ? undefined : offset,
      octets: entry.readUIntBE(36, 6),
    };
  }

  /** Checks all entries, once. @throws SegmentIndexError */
  verify(): void {
    if (this.#entriesVerified) return;
    const entries = Buffer.alloc(this.entries * entryOctets);
    this.file.readSync(entries, this.#offset(0));
    if (crc32(entries) !== this.entriesSum) throw new SegmentIndexError(this.segment);
    this.#entriesVerified = true;
  }

  close(): void {
    this.file.close();
  }
}

export class SegmentIndexError extends Error {
  override readonly name = "SegmentIndexError";
  constructor(readonly segment: number) {
    super(`the index of segment ${segment} is damaged`);
  }
}
