/**
 * A packet: frames, sealed. `From` of a mail means nothing; what counts is the signature of a
 * device key (Ed25519) over the header, which names the content by its hash.
 *
 *   packet := "EBM1" · flags (1) · header length (4) · header (JSON) · signature (64) · content
 *   flags bit 0: content is compressed (raw DEFLATE)
 *         bit 1: its DATA frames are chained, see `chain.ts`
 */
import { createHash, type KeyObject, sign, verify } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { ebmBounds, EbmFormatError } from "./bounds.js";
import type { Frame } from "./frame.js";
import { decodeFrames, encodeFrames } from "./frames.js";
import { publicKeyOf, publicKeyText } from "./keys.js";
import type { Origin } from "./message.js";
import { isObject, isText, isWhole } from "./shapes.js";

export interface PacketHeader {
  /** Names one sender's way to one receiver, see `connectionId`. */
  readonly connection: string;
  /** 1, 2, 3 …; a retransmission has a new one. */
  readonly packet: number;
  readonly from: Origin;
  /** For whom: a user's id, or the ring's (`ring@<domain>`), or `queue:<name>`. */
  readonly to: string;
  /** The sender's public key, 32 octets in base64url; whether it is theirs is for the reader to find out. */
  readonly key: string;
  /** Not to be taken after, milliseconds since 1970. */
  readonly expiresAtMs: number;
  /** SHA-256 of the content as it is sent, base64url. */
  readonly hash: string;
  /** Packets below are acknowledged or given up: the receiver need not tell of them any more. */
  readonly floor?: number;
  /** The session token, for the ring. */
  readonly token?: string;
}

export interface Packet {
  readonly header: PacketHeader;
  readonly frames: readonly Frame[];
}

const magic = Buffer.from("EBM1");
const prefixOctets = magic.length + 1 + 4;
const signatureOctets = 64;
const compressed = 1;
const chained = 2;
/** Another one whenever the same frames are sealed to other octets. */
export const sealedForm = "chained";
/** Not worth it below. */
const compressFromOctets = 256;
/** Of more than this, samples say whether it is worth it. */
const sampleFromOctets = 32 * 1024;
const sampleOctets = 4 * 1024;
/** What is left of what is worth it. */
const compressedShareMax = 0.85;

export interface SealOptions {
  readonly header: Omit<PacketHeader, "hash" | "key">;
  readonly frames: readonly Frame[];
  /** Ed25519. */
  readonly privateKey: KeyObject;
}

export function sealPacket({ header, frames, privateKey }: SealOptions): Buffer {
  const isChained = frames.filter(({ kind }) => kind === "data").length > 1;
  const plain = encodeFrames(frames, { isChained });
  const content = compressedOf(plain) ?? plain;
  const key = publicKeyText(privateKey);
  const json = Buffer.from(JSON.stringify({ ...header, key, hash: hashOf(content) }));
  const prefix = Buffer.alloc(prefixOctets);
  magic.copy(prefix);
  prefix[4] = (content === plain ? 0 : compressed) | (isChained ? chained : 0);
  prefix.writeUInt32BE(json.length, 5);
  const signed = Buffer.concat([prefix, json]);
  return Buffer.concat([signed, sign(null, signed, privateKey), content]);
}

/** Undefined where it is not worth the time, here and at each who reads it. */
function compressedOf(plain: Buffer): Buffer | undefined {
  if (plain.length < compressFromOctets || !looksCompressible(plain)) return undefined;
  const deflated = deflateRawSync(plain, { level: 1 });
  return deflated.length < plain.length ? deflated : undefined;
}

function looksCompressible(plain: Buffer): boolean {
  if (plain.length < sampleFromOctets) return true;
  const starts = [0, 1, 2].map((n) => Math.floor((n * (plain.length - sampleOctets)) / 2));
  const samples = starts.map((at) => plain.subarray(at, at + sampleOctets));
  const left = samples.reduce((sum, one) => sum + deflateRawSync(one, { level: 1 }).length, 0);
  return left < compressedShareMax * samples.length * sampleOctets;
}

/** Packets that were opened before, by what was signed and its signature. See `OpenedPackets`. */
export interface PacketMemory {
  find(key: string): Packet | undefined;
  keep(key: string, packet: Packet, octets: number): void;
}

/** Of a packet of the ring: not one queue's, but all that a message goes to. */
const manyQueues = "queue:*";

/**
 * Checks hash and signature (against the key that the packet names) and the time. Whether that key
 * is the sender's, whether it was meant for the reader, and whether the packet was seen before, is
 * for the caller to decide. `opened`: where packets that lie in many queues are remembered.
 * @throws EbmFormatError
 */
export function openPacket(octets: Buffer, nowMs: number, opened?: PacketMemory): Packet {
  const { header, signed, signature, content, flags } = split(octets);
  if (hashOf(content) !== header.hash)
    throw new EbmFormatError("the content is not what was signed");
  const key = header.to === manyQueues ? opened && keyOf(signed, signature) : undefined;
  // What was signed names the hash of the content, which is that of these octets.
  const known = key === undefined ? undefined : opened?.find(key);
  if (!known && !verify(null, signed, publicKeyOf(header.key), signature)) {
    throw new EbmFormatError("the signature does not fit", "forged");
  }
  if (header.expiresAtMs < nowMs) {
    throw new EbmFormatError("the packet has expired", "expired");
  }
  if (known) return known;
  const plain = (flags & compressed) === 0 ? content : inflate(content);
  const packet = { header, frames: decodeFrames(plain, { isChained: (flags & chained) !== 0 }) };
  if (key !== undefined) opened?.keep(key, packet, octets.length);
  return packet;
}

const keyOf = (signed: Buffer, signature: Buffer): string =>
  `${signed.toString("latin1")}${signature.toString("latin1")}`;

function split(octets: Buffer) {
  if (octets.length < prefixOctets || !octets.subarray(0, 4).equals(magic)) {
    throw new EbmFormatError("not an EBM/1 packet");
  }
  const flags = octets[4] ?? 0;
  const length = octets.readUInt32BE(5);
  if (length > ebmBounds.headerOctetsMax) throw new EbmFormatError("the header is too long");
  const headerEnd = prefixOctets + length;
  const contentAt = headerEnd + signatureOctets;
  if (contentAt > octets.length) throw new EbmFormatError("the packet is cut off");
  if (flags > (compressed | chained)) throw new EbmFormatError("flags of a later version");
  return {
    header: parseHeader(octets.subarray(prefixOctets, headerEnd)),
    signed: octets.subarray(0, headerEnd),
    signature: octets.subarray(headerEnd, contentAt),
    content: octets.subarray(contentAt),
    flags,
  };
}

function parseHeader(octets: Buffer): PacketHeader {
  let value: unknown;
  try {
    value = JSON.parse(octets.toString("utf8"));
  } catch {
    throw new EbmFormatError("the header is not JSON");
  }
  if (!isHeader(value)) throw new EbmFormatError("the header is malformed");
  return value;
}

function isHeader(value: unknown): value is PacketHeader {
  if (!isObject(value) || Object.hasOwn(value, "__proto__")) return false;
  const { from } = value;
  return (
    isText(value["connection"], /^[A-Za-z0-9_-]{1,32}$/) &&
    isWhole(value["packet"]) &&
    isObject(from) &&
    isText(from["user"], /^[^\s\p{Cc}]{1,254}$/u) &&
    isText(from["device"], /^[A-Za-z0-9_-]{1,32}$/) &&
    isWhole(from["epoch"]) &&
    isText(value["to"], /^[^\s\p{Cc}]{1,254}$/u) &&
    isText(value["key"], /^[A-Za-z0-9_-]{43}$/) &&
    isWhole(value["expiresAtMs"]) &&
    isText(value["hash"], /^[A-Za-z0-9_-]{43}$/) &&
    (value["floor"] === undefined || isWhole(value["floor"])) &&
    (value["token"] === undefined || isText(value["token"], /^[A-Za-z0-9._-]{1,4096}$/))
  );
}

function inflate(content: Buffer): Buffer {
  try {
    return inflateRawSync(content, { maxOutputLength: ebmBounds.contentOctetsMax });
  } catch {
    throw new EbmFormatError("the content can't be decompressed, or is too large");
  }
}

/** From a sender's device and epoch to a receiver: 16 characters. */
export function connectionId({ user, device, epoch }: Origin, to: string): string {
  const hash = createHash("sha256").update(JSON.stringify([user, device, epoch, to]));
  return hash.digest("base64url").slice(0, 16);
}

const hashOf = (octets: Buffer): string => createHash("sha256").update(octets).digest("base64url");
