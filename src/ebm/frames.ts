/**
 * Frames as octets. One packet carries many small messages, or one block of a large one. DATA has
 * octets; all others are JSON.
 *
 *   frame := type (1 octet) · length (varint, of the rest) · rest
 *   DATA  := meta length (varint) · meta (JSON) · octets
 *
 * In a packet that says so, the metas are chained, see `chain.ts`.
 */
import { ebmBounds, EbmFormatError } from "./bounds.js";
import { linkOf, unlinked } from "./chain.js";
import type { DataFrame, Frame } from "./frame.js";
import { isWellFormed } from "./frame-checks.js";
import { type Fields, isObject } from "./shapes.js";

const codes = { data: 1, ack: 2, nack: 3, window: 4, resume: 5, configuration: 6 } as const;
const kinds = new Map<number, Frame["kind"]>(
  Object.entries(codes).map(([kind, code]) => [code, kind as Frame["kind"]]),
);

interface Form {
  readonly isChained: boolean;
}

export function encodeFrames(frames: readonly Frame[], { isChained }: Form): Buffer {
  let before: DataFrame | undefined;
  const pieces: Buffer[] = [];
  for (const frame of frames) {
    if (frame.kind === "data") {
      const meta = linkOf(frame, isChained ? before : undefined);
      const json = Buffer.from(JSON.stringify(isChained ? meta : wholeOf(frame, meta)));
      const length = varint(json.length);
      const total = length.length + json.length + frame.octets.length;
      pieces.push(Buffer.of(codes.data), varint(total), length, json, frame.octets);
      before = frame;
    } else {
      const { kind, ...rest } = frame;
      const json = Buffer.from(JSON.stringify(rest));
      pieces.push(Buffer.of(codes[kind]), varint(json.length), json);
    }
  }
  return Buffer.concat(pieces);
}

const wholeOf = ({ sequence, offset, size }: DataFrame, meta: Fields): Fields => ({
  ...{ ...meta, sequence, offset, size },
});

/** @throws EbmFormatError; types of frames that are not known are passed over */
export function decodeFrames(content: Buffer, { isChained }: Form): Frame[] {
  const frames: Frame[] = [];
  const chain = isChained ? new Chain() : undefined;
  for (let at = 0; at < content.length; ) {
    const kind = kinds.get(content[at] ?? 0);
    const { value: length, next } = readVarint(content, at + 1);
    const end = next + length;
    if (end > content.length) throw new EbmFormatError("a frame is cut off");
    if (kind !== undefined) frames.push(decodeFrame(kind, content.subarray(next, end), chain));
    if (frames.length > ebmBounds.framesMax) throw new EbmFormatError("too many frames");
    at = end;
  }
  return frames;
}

/** The DATA frame before, and what has been written out by it: a few octets must not stand for many. */
class Chain {
  before: DataFrame | undefined;
  private headersOctets = 0;
  private octets = 0;

  /** @throws EbmFormatError */
  note({ properties }: Fields, metaOctets: number): void {
    if (isObject(properties) && "headers" in properties) this.headersOctets = metaOctets;
    this.octets += this.headersOctets;
    if (this.octets > ebmBounds.contentOctetsMax) throw new EbmFormatError("too many headers");
  }
}

function decodeFrame(kind: Frame["kind"], rest: Buffer, chain: Chain | undefined): Frame {
  if (kind === "data") return decodeData(rest, chain);
  if (rest.length > ebmBounds.controlOctetsMax) throw new EbmFormatError(`${kind} is too long`);
  const fields = parseObject(rest, kind);
  const frame = { ...fields, kind } as Frame;
  if (!isWellFormed[kind](fields)) throw new EbmFormatError(`${kind} is malformed`);
  return frame;
}

function decodeData(rest: Buffer, chain: Chain | undefined): DataFrame {
  const { value: length, next } = readVarint(rest, 0);
  if (length > ebmBounds.metaOctetsMax) throw new EbmFormatError("meta is too long");
  if (next + length > rest.length) throw new EbmFormatError("meta is cut off");
  const written = parseObject(rest.subarray(next, next + length), "data");
  const octets = rest.subarray(next + length);
  chain?.note(written, length);
  const meta = chain ? unlinked(written, chain.before, octets.length) : written;
  const frame = { ...meta, kind: "data", octets } as unknown as DataFrame;
  if (!isWellFormed.data(meta)) throw new EbmFormatError("data is malformed");
  const { offset, size } = frame;
  if (offset + octets.length > size) throw new EbmFormatError("data is outside its message");
  if (offset === 0 && frame.properties === undefined) throw new EbmFormatError("no properties");
  if (chain) chain.before = frame;
  return frame;
}

/** A plain object without inherited names; `__proto__` is refused. */
function parseObject(octets: Buffer, what: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(octets.toString("utf8"));
  } catch {
    throw new EbmFormatError(`${what} is not JSON`);
  }
  if (!isObject(value) || Object.hasOwn(value, "__proto__")) {
    throw new EbmFormatError(`${what} is not an object`);
  }
  return value;
}

/** LEB128, at most 5 octets. */
function varint(value: number): Buffer {
  const octets: number[] = [];
  let left = value;
  while (left >= 0x80) {
    octets.push((left % 0x80) | 0x80);
    left = Math.floor(left / 0x80);
  }
  octets.push(left);
  return Buffer.from(octets);
}

function readVarint(from: Buffer, at: number): { value: number; next: number } {
  let value = 0;
  for (let index = 0; index < 5; index += 1) {
    const octet = from[at + index];
    if (octet === undefined) throw new EbmFormatError("a length is cut off");
    value += (octet & 0x7f) * 2 ** (7 * index);
    if (octet < 0x80) return { value, next: at + index + 1 };
  }
  throw new EbmFormatError("a length is too long");
}
