/** The part of a journal's state that was received: messages by stream, packets by connection. */
import type { MessageProperties, Origin } from "../../ebm/index.js";
import { type Content, copyOf } from "./content.js";
import { Intervals } from "./intervals.js";
import type { StateOptions } from "./out-state.js";
import type { JournalRecord, Part } from "./records.js";

export interface InMessage {
  readonly id: string;
  readonly sequence: number;
  readonly size: number;
  properties: MessageProperties | undefined;
  digest: string | undefined;
  content: Content;
  /** Octets that are there, offsets counted from 1. An empty message has 1. */
  readonly have: Intervals;
  /** Came in one piece, under the signature of its packet. */
  isWhole: boolean;
  handed: number;
}

export interface InStream {
  readonly key: string;
  readonly origin: Origin;
  readonly stream: string;
  /** Consumed, dead or void. */
  readonly settled: Intervals;
  /** What is below and not there won't come. */
  base: number;
  /** The last ones that went to the dead letters. */
  dead: number[];
  /** Octets of `messages` that are there. */
  heldOctets: number;
  readonly messages: Map<number, InMessage>;
}

export interface InConnection {
  readonly connection: string;
  readonly origin: Origin;
  /** Packet numbers. */
  readonly seen: Intervals;
}

export type InboundRecord = Extract<
  JournalRecord,
  { kind: "in" | "handed" | "inSettled" | "inStream" | "inConnection" | "inMessage" }
>;

export class InState {
  /** By `streamKey`. */
  readonly streams = new Map<string, InStream>();
  readonly connections = new Map<string, InConnection>();

  constructor(private readonly options: StateOptions) {}

  apply(record: InboundRecord, body: Buffer): void {
    switch (record.kind) {
      case "in":
        return this.#in(record, body);
      case "handed": {
        const stream = this.stream(record.key);
        for (const sequence of record.sequences) {
          const message = stream.messages.get(sequence);
          if (message) message.handed += 1;
        }
        return;
      }
      case "inSettled":
        return this.#inSettled(record);
      case "inStream": {
        const stream = this.stream(record.key);
        for (const [from, to] of record.settled) stream.settled.add(from, to);
        stream.base = Math.max(stream.base, record.base);
        stream.dead = [...record.dead];
        return;
      }
      case "inConnection": {
        const { seen } = this.connectionOf(record.connection, record.origin);
        for (const [from, to] of record.seen) seen.add(from, to);
        return;
      }
      case "inMessage": {
        const stream = this.stream(record.key);
        const message = this.#part(stream, record.part, body);
        if (!message) return;
        for (const [from, to] of record.have) stream.heldOctets += message.have.add(from, to);
        message.handed = record.handed;
        return;
      }
    }
  }

  connectionOf(connection: string, origin: Origin): InConnection {
    const known = this.connections.get(connection);
    if (known) return known;
    const made = { connection, origin, seen: new Intervals() };
    this.connections.set(connection, made);
    return made;
  }

  stream(key: string): InStream {
    const known = this.streams.get(key);
    if (known) return known;
    const { origin, stream } = readStreamKey(key);
    const made: InStream = {
      ...{ key, origin, stream, settled: new Intervals(), base: 1, dead: [] },
      heldOctets: 0,
      messages: new Map(),
    };
    this.streams.set(key, made);
    return made;
  }

  #in(record: JournalRecord & { kind: "in" }, body: Buffer): void {
    const { seen } = this.connectionOf(record.connection, record.origin);
    if (record.packet > 0) seen.add(record.packet);
    if (record.floor > 1) seen.add(1, record.floor - 1);
    let at = 0;
    for (const part of record.parts) {
      const stream = this.stream(streamKey(record.origin, part.stream));
      const inline = part.file === undefined ? part.octets : 0;
      this.#part(stream, part, body.subarray(at, at + inline));
      at += inline;
      if (part.base !== undefined) this.#rebase(stream, part.base);
    }
  }

  #part(stream: InStream, part: Part, octets: Buffer): InMessage | undefined {
    const { sequence } = part;
    if (stream.settled.has(sequence)) {
      if (part.file !== undefined) this.options.release(part.file);
      return undefined;
    }
    if (part.isVoid) {
      // What is there already is handed out all the same.
      if (!isComplete(stream.messages.get(sequence))) this.#settleIn(stream, sequence);
      return undefined;
    }
    const known = stream.messages.get(sequence);
    // Nothing but the base of its stream.
    if (!known && part.octets === 0 && part.size > 0 && part.file === undefined) return undefined;
    const isWhole = part.offset === 0 && part.octets === part.size;
    const message: InMessage = known ?? {
      ...{ id: part.id, sequence, size: part.size, handed: 0, have: new Intervals() },
      ...{ properties: undefined, digest: part.digest, isWhole: false },
      content: part.file === undefined ? copyOf(octets) : { file: part.file },
    };
    stream.messages.set(sequence, message);
    message.properties ??= part.properties;
    message.digest ??= part.digest;
    if (isWhole && !isComplete(message)) {
      message.isWhole = true;
      if (part.file === undefined) {
        if ("file" in message.content) this.options.release(message.content.file);
        message.content = copyOf(octets);
      }
    }
    const [from, to] = part.size === 0 ? [1, 1] : [part.offset + 1, part.offset + part.octets];
    stream.heldOctets += message.have.add(from, to);
    return message;
  }

  /** Its sender has settled all below: what is not there does not come any more. */
  #rebase(stream: InStream, base: number): void {
    if (base <= stream.base) return;
    stream.base = base;
    for (const [from, to] of stream.settled.missing(1, base - 1)) {
      let at = from;
      for (const message of messagesBetween(stream, from, to)) {
        if (!isComplete(message)) {
          this.#settleIn(stream, message.sequence);
          continue;
        }
        stream.settled.add(at, message.sequence - 1);
        at = message.sequence + 1;
      }
      stream.settled.add(at, to);
    }
  }

  #settleIn(stream: InStream, sequence: number): void {
    const message = stream.messages.get(sequence);
    stream.settled.add(sequence);
    stream.messages.delete(sequence);
    for (const [from, to] of message?.have.ranges ?? []) stream.heldOctets -= to - from + 1;
    if (message && "file" in message.content) this.options.release(message.content.file);
  }

  #inSettled({ key, sequence, letter }: JournalRecord & { kind: "inSettled" }): void {
    const stream = this.stream(key);
    const message = stream.messages.get(sequence);
    if (letter) {
      if (message) {
        this.options.keepLetter(letter, message.content);
        message.content = { octets: Buffer.alloc(0) };
      }
      if (!stream.dead.includes(sequence)) stream.dead = [...stream.dead, sequence].slice(-32);
    }
    this.#settleIn(stream, sequence);
  }

  contents(): Content[] {
    return [...this.streams.values()]
      .flatMap(({ messages }) => [...messages.values()])
      .map(({ content }) => content);
  }
}

/** In order. A sender may name any base: what is looked at is what is there. */
function messagesBetween({ messages }: InStream, from: number, to: number): InMessage[] {
  if (to - from > messages.size) {
    return [...messages.values()]
      .filter(({ sequence }) => sequence >= from && sequence <= to)
      .sort((a, b) => a.sequence - b.sequence);
  }
  const found: InMessage[] = [];
  for (let sequence = from; sequence <= to; sequence += 1) {
    const message = messages.get(sequence);
    if (message) found.push(message);
  }
  return found;
}

export const isComplete = (message: InMessage | undefined): boolean =>
  message?.properties !== undefined && message.have.covers(1, Math.max(1, message.size));

export const streamKey = ({ user, device, epoch }: Origin, stream: string): string =>
  JSON.stringify([user, device, epoch, stream]);

function readStreamKey(key: string): { origin: Origin; stream: string } {
  const [user, device, epoch, stream] = JSON.parse(key) as [string, string, number, string];
  return { origin: { user, device, epoch }, stream };
}
