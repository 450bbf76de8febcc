/**
 * Frames: what a packet consists of. One packet carries many small messages, or one block of a
 * large one. DATA has octets; all others are JSON.
 *
 *   frame := type (1 octet) · length (varint, of the rest) · rest
 *   DATA  := meta length (varint) · meta (JSON) · octets
 *
 * In a packet that says so, the metas are chained, see `chain.ts`.
 */
import { ebmBounds, EbmFormatError } from "./bounds.js";
import { linkOf, unlinked } from "./chain.js";
import type { ConfigurationAnswer, ConfigurationRequest } from "./configuration.js";
import type { MessageProperties, Origin } from "./message.js";

export interface DataFrame {
  readonly kind: "data";
  /** Order is kept within (origin, stream). */
  readonly stream: string;
  /** Of the message within its stream: 1, 2, 3 … without gaps as its origin sends it. */
  readonly sequence: number;
  /** UUIDv7 of the message. */
  readonly id: string;
  /** Where these octets begin in the message: blocks are re-cut when a mail system takes less. */
  readonly offset: number;
  /** Octets of the whole message. */
  readonly size: number;
  /** SHA-256 of the whole message, base64url; absent when the frame is all of it. */
  readonly digest?: string;
  /** In the frame with offset 0. */
  readonly properties?: MessageProperties;
  /** Who sent it, when the packet comes from the broker. */
  readonly origin?: Origin;
  /** How often it was handed out before, when the packet comes from a queue. */
  readonly redelivered?: number;
  /**
   * The entry of the queue that it belongs to, by which it is settled, when the packet was pushed. An entry that was
   * fetched has none here: its name is its unique-id.
   */
  readonly entry?: string;
  /** In the first frame of its stream in a packet: messages below were settled, nobody waits for them. */
  readonly base?: number;
  /** Its sender has given this message up: it takes its place in the order, and nothing else. */
  readonly void?: boolean;
  readonly octets: Buffer;
}

/** Inclusive. */
export type Range = readonly [from: number, to: number];

/** One receiver's word on one connection. */
export interface AckFrame {
  readonly kind: "ack";
  readonly connection: string;
  /** Every packet up to here is in the receiver's journal. */
  readonly cumulative: number;
  /** Further ones, ascending, at most 32. */
  readonly ranges: readonly Range[];
  /** Octets that the receiver takes beyond what is acknowledged here. */
  readonly windowOctets: number;
  /** How often the receiver looks for mail. */
  readonly pollMs: number;
  /** By stream: all messages up to this sequence were acknowledged by the application, or are dead. */
  readonly consumed: Readonly<Record<string, number>>;
  /** Given up: [stream, sequence]. The window moves on. */
  readonly dead?: readonly (readonly [stream: string, sequence: number])[];
}

/** What could not be taken, and why. */
export interface NackFrame {
  readonly kind: "nack";
  readonly connection: string;
  readonly packet: number;
  readonly why: string;
  /** Present when something before it is missing: the next one that is wanted of a stream. */
  readonly expected?: Readonly<Record<string, number>>;
}

export interface WindowFrame {
  readonly kind: "window";
  readonly connection: string;
  readonly windowOctets: number;
}

/** "I have lost what I knew of this connection": the sender begins with what is not consumed. */
export interface ResumeFrame {
  readonly kind: "resume";
  readonly connection: string;
  /** The receiver's new epoch. */
  readonly epoch: number;
}

export interface ConfigurationFrame {
  readonly kind: "configuration";
  /** Of the question; its answer has the same. */
  readonly id: string;
  readonly body: ConfigurationRequest | ConfigurationAnswer;
}

export type Frame =
  | DataFrame
  | AckFrame
  | NackFrame
  | WindowFrame
  | ResumeFrame
  | ConfigurationFrame;

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

type Fields = Readonly<Record<string, unknown>>;

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

export const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isWhole = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;
const isShort = (value: unknown): boolean => typeof value === "string" && value.length <= 256;
const isName = (value: unknown): boolean =>
  typeof value === "string" && /^[\x21-\x7e]{1,128}$/.test(value);
const isRange = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length === 2 &&
  value.every(isWhole) &&
  Number(value[0]) <= Number(value[1]);
const isCounters = (value: unknown): boolean =>
  isObject(value) &&
  Object.keys(value).length <= ebmBounds.streamsMax &&
  Object.values(value).every(isWhole);

const isOrigin = (value: unknown): value is Origin =>
  isObject(value) && isName(value["user"]) && isName(value["device"]) && isWhole(value["epoch"]);

const isProperties = (value: unknown): boolean => {
  if (!isObject(value)) return false;
  const { exchange, routingKey, headers, contentType, kind, correlationId, priority } = value;
  const { sentAtMs, expiresAtMs, deliverAtMs } = value;
  return (
    [exchange, routingKey, contentType, kind, correlationId].every(
      (text) => text === undefined || isShort(text),
    ) &&
    [expiresAtMs, deliverAtMs].every((time) => time === undefined || isWhole(time)) &&
    isWhole(sentAtMs) &&
    (priority === undefined || (isWhole(priority) && priority <= 9)) &&
    (headers === undefined || isHeaders(headers))
  );
};

const isHeaders = (value: unknown): boolean =>
  isObject(value) &&
  Object.keys(value).length <= 64 &&
  Object.entries(value).every(
    ([key, each]) =>
      key.length <= 128 &&
      (["number", "boolean"].includes(typeof each) ||
        (typeof each === "string" && each.length <= 1_024)),
  );

const isWellFormed: Readonly<Record<Frame["kind"], (fields: Fields) => boolean>> = {
  data: ({ stream, sequence, id, offset, size, digest, properties, origin, ...more }) =>
    isName(stream) &&
    isWhole(sequence) &&
    sequence > 0 &&
    isName(id) &&
    isWhole(offset) &&
    isWhole(size) &&
    size <= ebmBounds.messageOctetsMax &&
    (digest === undefined || isShort(digest)) &&
    (properties === undefined || isProperties(properties)) &&
    (origin === undefined || isOrigin(origin)) &&
    [more["redelivered"], more["base"]].every((each) => each === undefined || isWhole(each)) &&
    (more["entry"] === undefined || isName(more["entry"])) &&
    (more["void"] === undefined || typeof more["void"] === "boolean"),
  ack: ({ connection, cumulative, ranges, windowOctets, pollMs, consumed, dead }) =>
    isName(connection) &&
    isWhole(cumulative) &&
    Array.isArray(ranges) &&
    ranges.length <= ebmBounds.ackRangesMax &&
    ranges.every(isRange) &&
    isWhole(windowOctets) &&
    isWhole(pollMs) &&
    isCounters(consumed) &&
    (dead === undefined ||
      (Array.isArray(dead) &&
        dead.length <= ebmBounds.framesMax &&
        dead.every((one) => Array.isArray(one) && isName(one[0]) && isWhole(one[1])))),
  nack: ({ connection, packet, why, expected }) =>
    isName(connection) &&
    isWhole(packet) &&
    isShort(why) &&
    (expected === undefined || isCounters(expected)),
  window: ({ connection, windowOctets }) => isName(connection) && isWhole(windowOctets),
  resume: ({ connection, epoch }) => isName(connection) && isWhole(epoch),
  configuration: ({ id, body }) => isName(id) && isObject(body),
};

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
