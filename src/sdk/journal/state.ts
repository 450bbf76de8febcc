/** What all records of a journal come to: `apply` is the only way in which it changes. */
import type { MessageProperties, Origin } from "../../ebm/index.js";
import { Intervals } from "./intervals.js";
import type { JournalRecord, LetterFacts, OutRecord, Part } from "./records.js";

/** Where octets are: in memory (and in the journal), or in a file of their own. */
export type Content = { readonly octets: Buffer } | { readonly file: string };

export interface OutMessage {
  readonly id: string;
  readonly to: string;
  readonly stream: string;
  sequence: number;
  readonly properties: MessageProperties;
  readonly octets: number;
  readonly digest: string;
  content: Content;
  delivered: boolean;
  /** Given up; what is sent takes its place in the order and nothing else. */
  isVoid: boolean;
  /** No longer of its stream: settled, or given up and nothing waits for its place. */
  isRemoved: boolean;
}

export interface OutStream {
  readonly to: string;
  readonly stream: string;
  /** Sequence of the next message. */
  next: number;
  /**
   * A broker takes nothing behind a gap. So where a message is given up and may or may not have been taken, what
   * comes after it goes on from 1 in a stream of another name, `<stream>~<generation>`.
   */
  generation: number;
  /** Not settled yet, in order. */
  messages: Map<number, OutMessage>;
}

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
  readonly messages: Map<number, InMessage>;
}

export interface InConnection {
  readonly connection: string;
  readonly origin: Origin;
  /** Packet numbers. */
  readonly seen: Intervals;
}

export interface Letter {
  readonly facts: LetterFacts;
  readonly content: Content;
}

const entryRangesMax = 4_096;
const entryStreamsMax = 10_000;

export type IdentityRecord = Extract<JournalRecord, { kind: "identity" }>;

export class JournalState {
  identity: IdentityRecord | undefined;
  readonly reserved = new Map<string, number>();
  readonly peers = new Map<string, { readonly device: string; readonly epoch: number }>();
  /** By receiver, by stream. */
  readonly out = new Map<string, Map<string, OutStream>>();
  outboxOctets = 0;
  /** By `streamKey`. */
  readonly in = new Map<string, InStream>();
  readonly connections = new Map<string, InConnection>();
  readonly letters = new Map<string, Letter>();
  /** Entries of queues, by `streamKey`; what was written last comes last. */
  readonly entries = new Map<string, Intervals>();
  readonly values = new Map<string, unknown>();

  /** `release` is told of files that nothing needs any more. */
  constructor(private readonly release: (file: string) => void) {}

  apply(record: JournalRecord, body: Buffer): void {
    switch (record.kind) {
      case "identity":
        this.identity = record;
        return;
      case "reserve":
        this.reserved.set(
          record.connection,
          Math.max(record.upTo, this.reserved.get(record.connection) ?? 0),
        );
        return;
      case "peer":
        this.peers.set(record.to, { device: record.device, epoch: record.epoch });
        return;
      case "out":
        return this.#out(record, body);
      case "delivered": {
        const message = this.outStream(record.to, record.stream).messages.get(record.sequence);
        if (message) message.delivered = true;
        return;
      }
      case "undelivered":
        for (const { messages } of this.out.get(record.to)?.values() ?? []) {
          for (const message of messages.values()) message.delivered = false;
        }
        return;
      case "settled":
        return this.#settled(record.to, record.stream, record.sequence);
      case "deadOut":
        return this.#deadOut(record);
      case "outStream": {
        const stream = this.outStream(record.to, record.stream);
        stream.next = Math.max(stream.next, record.next);
        stream.generation = record.generation;
        return;
      }
      default:
        this.#applyInbound(record, body);
    }
  }

  #applyInbound(
    record: Exclude<
      JournalRecord,
      {
        kind:
          | "identity"
          | "reserve"
          | "peer"
          | "out"
          | "delivered"
          | "undelivered"
          | "settled"
          | "deadOut"
          | "outStream";
      }
    >,
    body: Buffer,
  ): void {
    switch (record.kind) {
      case "in":
        return this.#in(record, body);
      case "handed": {
        const stream = this.inStream(record.key);
        for (const sequence of record.sequences) {
          const message = stream.messages.get(sequence);
          if (message) message.handed += 1;
        }
        return;
      }
      case "inSettled":
        return this.#inSettled(record);
      case "inStream": {
        const stream = this.inStream(record.key);
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
        const stream = this.inStream(record.key);
        const message = this.#part(stream, record.part, body);
        if (!message) return;
        for (const [from, to] of record.have) message.have.add(from, to);
        message.handed = record.handed;
        return;
      }
      case "letter":
        this.#keepLetter(record.letter, record.file ? { file: record.file } : copyOf(body));
        return;
      case "dropLetter":
        return this.#dropLetter(record.id);
      case "entry": {
        const entries = this.entries.get(record.key) ?? new Intervals();
        this.entries.delete(record.key);
        this.entries.set(record.key, entries);
        for (const [from, to] of record.ranges) entries.add(from, to);
        this.#boundEntries(record.key, entries);
        return;
      }
      case "value":
        if (record.value === undefined) this.values.delete(record.key);
        else this.values.set(record.key, record.value);
        return;
    }
  }

  /** What is forgotten may be handed out again, should its queue still have it. */
  #boundEntries(key: string, { ranges }: Intervals): void {
    if (ranges.length > entryRangesMax) {
      this.entries.set(key, new Intervals(ranges.slice(-entryRangesMax / 2)));
    }
    const [oldest] = this.entries.keys();
    if (this.entries.size > entryStreamsMax && oldest !== undefined) this.entries.delete(oldest);
  }

  outStream(to: string, stream: string): OutStream {
    const streams = this.out.get(to) ?? new Map<string, OutStream>();
    this.out.set(to, streams);
    const known = streams.get(stream);
    if (known) return known;
    const made = { to, stream, next: 1, generation: 0, messages: new Map<number, OutMessage>() };
    streams.set(stream, made);
    return made;
  }

  #out(record: OutRecord, body: Buffer): void {
    const stream = this.outStream(record.to, record.stream);
    if (stream.messages.has(record.sequence)) return;
    const { id, to, properties, octets, digest, sequence } = record;
    stream.messages.set(sequence, {
      ...{ id, to, stream: record.stream, sequence, properties, octets, digest },
      content: record.file === undefined ? copyOf(body) : { file: record.file },
      delivered: record.delivered ?? false,
      isVoid: record.isVoid ?? false,
      isRemoved: false,
    });
    stream.next = Math.max(stream.next, sequence + 1);
    if (record.isVoid !== true) this.outboxOctets += octets;
  }

  #forget(stream: OutStream, message: OutMessage): void {
    stream.messages.delete(message.sequence);
    message.isRemoved = true;
    if (message.isVoid) return;
    this.outboxOctets -= message.octets;
    if ("file" in message.content) this.release(message.content.file);
  }

  #settled(to: string, name: string, sequence: number): void {
    const stream = this.outStream(to, name);
    for (const message of stream.messages.values()) {
      if (message.sequence > sequence) break;
      this.#forget(stream, message);
    }
  }

  #deadOut({ to, stream: name, sequence, then, letter }: JournalRecord & { kind: "deadOut" }) {
    const stream = this.outStream(to, name);
    const message = stream.messages.get(sequence);
    if (!message || message.id !== letter.id) return;
    this.#keepLetter(letter, message.content);
    this.outboxOctets -= message.octets;
    message.isVoid = true;
    message.content = { octets: Buffer.alloc(0) };
    if (then === "void") return this.#trim(stream);
    stream.messages.delete(sequence);
    message.isRemoved = true;
    const all = [...stream.messages.values()];
    const later = all.filter((each) => each.sequence > sequence);
    const first = then === "rename" ? 1 : sequence;
    if (then === "rename") stream.generation += 1;
    stream.messages = new Map(
      all.filter((each) => each.sequence < sequence).map((each) => [each.sequence, each]),
    );
    later.forEach((each, index) => {
      each.sequence = first + index;
      stream.messages.set(each.sequence, each);
    });
    stream.next = first + later.length;
  }

  /** Voids with nothing behind them: nobody waits for their place, the base of the next message passes them. */
  #trim(stream: OutStream): void {
    const [first = stream.next] = stream.messages.keys();
    for (let sequence = stream.next - 1; sequence >= first; sequence -= 1) {
      const message = stream.messages.get(sequence);
      if (message && !message.isVoid) return;
      if (message) this.#forget(stream, message);
    }
  }

  #keepLetter(letter: LetterFacts, content: Content): void {
    if (!this.letters.has(letter.id)) this.letters.set(letter.id, { facts: letter, content });
  }

  #dropLetter(id: string): void {
    const letter = this.letters.get(id);
    this.letters.delete(id);
    if (letter && "file" in letter.content) this.release(letter.content.file);
  }

  connectionOf(connection: string, origin: Origin): InConnection {
    const known = this.connections.get(connection);
    if (known) return known;
    const made = { connection, origin, seen: new Intervals() };
    this.connections.set(connection, made);
    return made;
  }

  inStream(key: string): InStream {
    const known = this.in.get(key);
    if (known) return known;
    const { origin, stream } = readStreamKey(key);
    const made: InStream = {
      ...{ key, origin, stream, settled: new Intervals(), base: 1, dead: [] },
      messages: new Map(),
    };
    this.in.set(key, made);
    return made;
  }

  #in(record: JournalRecord & { kind: "in" }, body: Buffer): void {
    const { seen } = this.connectionOf(record.connection, record.origin);
    seen.add(record.packet);
    if (record.floor > 1) seen.add(1, record.floor - 1);
    let at = 0;
    for (const part of record.parts) {
      const stream = this.inStream(streamKey(record.origin, part.stream));
      const inline = part.file === undefined ? part.octets : 0;
      this.#part(stream, part, body.subarray(at, at + inline));
      at += inline;
      if (part.base !== undefined) this.#rebase(stream, part.base);
    }
  }

  #part(stream: InStream, part: Part, octets: Buffer): InMessage | undefined {
    const { sequence } = part;
    if (stream.settled.has(sequence)) {
      if (part.file !== undefined) this.release(part.file);
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
        if ("file" in message.content) this.release(message.content.file);
        message.content = copyOf(octets);
      }
    }
    if (part.size === 0) message.have.add(1);
    else if (part.octets > 0) message.have.add(part.offset + 1, part.offset + part.octets);
    return message;
  }

  /** Its sender has settled all below: what is not there does not come any more. */
  #rebase(stream: InStream, base: number): void {
    if (base <= stream.base) return;
    stream.base = base;
    for (const [from, to] of stream.settled.missing(1, base - 1)) {
      let at = from;
      for (const message of [...stream.messages.values()]
        .filter(({ sequence }) => sequence >= from && sequence <= to)
        .sort((a, b) => a.sequence - b.sequence)) {
        if (!isComplete(message)) continue;
        stream.settled.add(at, message.sequence - 1);
        at = message.sequence + 1;
      }
      stream.settled.add(at, to);
    }
    for (const { sequence } of [...stream.messages.values()]) {
      if (stream.settled.has(sequence)) this.#settleIn(stream, sequence);
    }
  }

  #settleIn(stream: InStream, sequence: number): void {
    const message = stream.messages.get(sequence);
    stream.settled.add(sequence);
    stream.messages.delete(sequence);
    if (message && "file" in message.content) this.release(message.content.file);
  }

  #inSettled({ key, sequence, letter }: JournalRecord & { kind: "inSettled" }): void {
    const stream = this.inStream(key);
    const message = stream.messages.get(sequence);
    if (letter) {
      if (message) {
        this.#keepLetter(letter, message.content);
        message.content = { octets: Buffer.alloc(0) };
      }
      if (!stream.dead.includes(sequence)) stream.dead = [...stream.dead, sequence].slice(-32);
    }
    this.#settleIn(stream, sequence);
  }

  /** Files that are needed. */
  *files(): Iterable<string> {
    const contents = [
      ...[...this.out.values()]
        .flatMap((streams) => [...streams.values()])
        .flatMap(({ messages }) => [...messages.values()]),
      ...[...this.in.values()].flatMap(({ messages }) => [...messages.values()]),
      ...this.letters.values(),
    ];
    for (const { content } of contents) if ("file" in content) yield content.file;
  }
}

export const isComplete = (message: InMessage | undefined): boolean =>
  message?.properties !== undefined && message.have.covers(1, Math.max(1, message.size));

export const streamKey = ({ user, device, epoch }: Origin, stream: string): string =>
  JSON.stringify([user, device, epoch, stream]);

function readStreamKey(key: string): { origin: Origin; stream: string } {
  const [user, device, epoch, stream] = JSON.parse(key) as [string, string, number, string];
  return { origin: { user, device, epoch }, stream };
}

/** Not a view of a large buffer that would be kept alive by it. */
const copyOf = (octets: Buffer): Content => ({ octets: Buffer.from(octets) });
