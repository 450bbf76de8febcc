/**
 * Encodes and decodes `Frame` of ringpost.proto. Written by hand because every replicated mail
 * passes here: sizes are known before a single buffer is allocated, blobs are views when read. A
 * test holds it against proto-loader's codec of the same .proto.
 */
import { bounds } from "./bounds.js";
import { fieldOctets, MalformedFrameError, varintOctets, WireReader, WireWriter } from "./wire.js";

export interface Hello {
  readonly version: number;
  readonly uuid: string;
  readonly addr: string;
  readonly ring: string;
}

export interface ReceivedCall {
  readonly id: number;
  readonly method: string;
  readonly header: Buffer;
  readonly blobs: readonly Buffer[];
  readonly deadlineMs: number;
}

export interface ReceivedAnswer {
  readonly id: number;
  readonly header: Buffer;
  readonly blobs: readonly Buffer[];
  readonly failure: string;
}

export interface ReceivedFrame {
  readonly calls: readonly ReceivedCall[];
  readonly answers: readonly ReceivedAnswer[];
  readonly hello?: Hello;
  readonly sentMs: number;
}

/** A call or an answer on its way out. */
export interface OutgoingItem {
  readonly kind: "call" | "answer";
  readonly id: number;
  /** Method of a call, failure of an answer. */
  readonly text: string;
  readonly header: string;
  readonly headerOctets: number;
  readonly blobs: readonly Buffer[];
  /** Encoded size, without the tag and length that the frame adds. */
  readonly octets: number;
  /** When the caller gives up, by the monotonic clock; 0 for answers. */
  readonly deadlineAtMs: number;
}

/** A call or answer with its sizes computed; see `OutgoingItem`. */
export function outgoingItem(
  item: Pick<OutgoingItem, "kind" | "id" | "text" | "header" | "blobs" | "deadlineAtMs">,
): OutgoingItem {
  const headerOctets = Buffer.byteLength(item.header);
  let octets = 1 + varintOctets(item.id) + fieldOctets(headerOctets);
  octets += fieldOctets(Buffer.byteLength(item.text));
  for (const blob of item.blobs) octets += fieldOctets(blob.length);
  if (item.kind === "call") octets += 5;
  return {
    kind: item.kind,
    id: item.id,
    text: item.text,
    header: item.header,
    headerOctets,
    blobs: item.blobs,
    octets,
    deadlineAtMs: item.deadlineAtMs,
  };
}

/** Encodes items, in order, into one frame. */
export function encodeItems(items: readonly OutgoingItem[], sentMs: number): Buffer {
  let frameOctets = 9;
  for (const item of items) frameOctets += fieldOctets(item.octets);
  const writer = new WireWriter(Buffer.allocUnsafe(frameOctets));
  for (const item of items) {
    writer.open(item.kind === "call" ? 1 : 2, item.octets);
    if (item.kind === "call") writeCall(writer, item, sentMs);
    else writeAnswer(writer, item);
  }
  writer.double(4, sentMs);
  return writer.buffer;
}

function writeCall(writer: WireWriter, call: OutgoingItem, sentMs: number): void {
  writer.uint32(1, call.id);
  writer.text(2, call.text, Buffer.byteLength(call.text));
  writer.text(3, call.header, call.headerOctets);
  for (const blob of call.blobs) writer.bytes(4, blob);
  const remainingMs = Math.ceil(call.deadlineAtMs - sentMs);
  writer.fixed32(5, Math.min(Math.max(remainingMs, 0), 0xffff_ffff));
}

function writeAnswer(writer: WireWriter, answer: OutgoingItem): void {
  writer.uint32(1, answer.id);
  writer.text(2, answer.header, answer.headerOctets);
  for (const blob of answer.blobs) writer.bytes(3, blob);
  writer.text(4, answer.text, Buffer.byteLength(answer.text));
}

/** The first frame of a stream. */
export function encodeHello(hello: Hello, sentMs: number): Buffer {
  const texts = [hello.uuid, hello.addr, hello.ring];
  const octets = texts.map((text) => Buffer.byteLength(text));
  const size = octets.reduce(
    (sum, length) => sum + fieldOctets(length),
    1 + varintOctets(hello.version),
  );
  const writer = new WireWriter(Buffer.allocUnsafe(fieldOctets(size) + 9));
  writer.open(3, size);
  writer.uint32(1, hello.version);
  texts.forEach((text, index) => writer.text(index + 2, text, octets[index] ?? 0));
  writer.double(4, sentMs);
  return writer.buffer;
}

/** @throws MalformedFrameError */
export function decodeFrame(buffer: Buffer): ReceivedFrame {
  const reader = new WireReader(buffer, 0, buffer.length);
  const calls: ReceivedCall[] = [];
  const answers: ReceivedAnswer[] = [];
  let hello: Hello | undefined;
  let sentMs = 0;
  let parts = 0;
  while (reader.next()) {
    if (reader.field === 1) {
      const call = decodeCall(reader.message());
      parts += 1 + call.blobs.length;
      calls.push(call);
    } else if (reader.field === 2) {
      const answer = decodeAnswer(reader.message());
      parts += 1 + answer.blobs.length;
      answers.push(answer);
    } else if (reader.field === 3) hello = decodeHello(reader.message());
    else if (reader.field === 4) sentMs = reader.double();
    else reader.skip();
    if (parts > bounds.framePartsMax) throw new MalformedFrameError("too many parts in one frame");
  }
  return hello === undefined ? { calls, answers, sentMs } : { calls, answers, hello, sentMs };
}

const nothing: Buffer = Buffer.alloc(0);

function decodeCall(reader: WireReader): ReceivedCall {
  let id = 0;
  let method = "";
  let header: Buffer = nothing;
  let deadlineMs = 0;
  const blobs: Buffer[] = [];
  while (reader.next()) {
    if (reader.field === 1) id = reader.uint32();
    else if (reader.field === 2) method = reader.text();
    else if (reader.field === 3) header = reader.bytes();
    else if (reader.field === 4) pushBlob(blobs, reader);
    else if (reader.field === 5) deadlineMs = reader.fixed32();
    else reader.skip();
  }
  return { id, method, header, blobs, deadlineMs };
}

function decodeAnswer(reader: WireReader): ReceivedAnswer {
  let id = 0;
  let header: Buffer = nothing;
  let failure = "";
  const blobs: Buffer[] = [];
  while (reader.next()) {
    if (reader.field === 1) id = reader.uint32();
    else if (reader.field === 2) header = reader.bytes();
    else if (reader.field === 3) pushBlob(blobs, reader);
    else if (reader.field === 4) failure = reader.text();
    else reader.skip();
  }
  return { id, header, blobs, failure };
}

function pushBlob(blobs: Buffer[], reader: WireReader): void {
  if (blobs.length >= bounds.messageBlobsMax) throw new MalformedFrameError("too many blobs");
  blobs.push(reader.bytes());
}

function decodeHello(reader: WireReader): Hello {
  let version = 0;
  let uuid = "";
  let addr = "";
  let ring = "";
  while (reader.next()) {
    if (reader.field === 1) version = reader.uint32();
    else if (reader.field === 2) uuid = reader.text();
    else if (reader.field === 3) addr = reader.text();
    else if (reader.field === 4) ring = reader.text();
    else reader.skip();
  }
  return { version, uuid, addr, ring };
}
