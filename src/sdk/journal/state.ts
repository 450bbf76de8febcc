/** What all records of a journal come to: `apply` is the only way in which it changes. */
import type { Origin, Range } from "../../ebm/index.js";
import { type Content, copyOf } from "./content.js";
import { type InboundRecord, type InConnection, InState, type InStream } from "./in-state.js";
import { Intervals } from "./intervals.js";
import { type OutboundRecord, OutState, type OutStream, type StateOptions } from "./out-state.js";
import type { JournalRecord, LetterFacts, Trip } from "./records.js";

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
  /** By receiver. */
  readonly trips = new Map<string, Trip>();
  readonly letters = new Map<string, Letter>();
  /** Entries of queues, by `streamKey`; what was written last comes last. */
  readonly entries = new Map<string, Intervals>();
  readonly values = new Map<string, unknown>();
  readonly #out: OutState;
  readonly #in: InState;

  /** `release` is told of files that nothing needs any more. */
  constructor(private readonly release: (file: string) => void) {
    const keepLetter: StateOptions["keepLetter"] = (letter, content) =>
      this.#keepLetter(letter, content);
    this.#out = new OutState({ release, keepLetter });
    this.#in = new InState({ release, keepLetter });
  }

  /** By receiver, by stream. */
  get out(): ReadonlyMap<string, ReadonlyMap<string, OutStream>> {
    return this.#out.streams;
  }

  get outboxOctets(): number {
    return this.#out.octets;
  }

  /** By `streamKey`. */
  get in(): ReadonlyMap<string, InStream> {
    return this.#in.streams;
  }

  get connections(): ReadonlyMap<string, InConnection> {
    return this.#in.connections;
  }

  outStream(to: string, stream: string): OutStream {
    return this.#out.stream(to, stream);
  }

  inStream(key: string): InStream {
    return this.#in.stream(key);
  }

  connectionOf(connection: string, origin: Origin): InConnection {
    return this.#in.connectionOf(connection, origin);
  }

  apply(record: JournalRecord, body: Buffer): void {
    switch (record.kind) {
      case "out":
      case "acked":
      case "delivered":
      case "undelivered":
      case "settled":
      case "deadOut":
      case "outStream":
        return this.#out.apply(record, body);
      case "in":
      case "handed":
      case "inSettled":
      case "inStream":
      case "inConnection":
      case "inMessage":
        return this.#in.apply(record, body);
      default:
        this.#applyOwn(record, body);
    }
  }

  #applyOwn(record: Exclude<JournalRecord, OutboundRecord | InboundRecord>, body: Buffer): void {
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
      case "trip":
        this.trips.set(record.to, record.trip);
        return;
      case "letter":
        this.#keepLetter(record.letter, record.file ? { file: record.file } : copyOf(body));
        return;
      case "dropLetter":
        return this.#dropLetter(record.id);
      case "entry":
        return this.#entry(record.key, record.ranges);
      case "value":
        if (record.value === undefined) this.values.delete(record.key);
        else this.values.set(record.key, record.value);
        return;
    }
  }

  #entry(key: string, ranges: readonly Range[]): void {
    const entries = this.entries.get(key) ?? new Intervals();
    this.entries.delete(key);
    this.entries.set(key, entries);
    for (const [from, to] of ranges) entries.add(from, to);
    this.#boundEntries(key, entries);
  }

  /** What is forgotten may be handed out again, should its queue still have it. */
  #boundEntries(key: string, { ranges }: Intervals): void {
    if (ranges.length > entryRangesMax) {
      this.entries.set(key, new Intervals(ranges.slice(-entryRangesMax / 2)));
    }
    const [oldest] = this.entries.keys();
    if (this.entries.size > entryStreamsMax && oldest !== undefined) this.entries.delete(oldest);
  }

  #keepLetter(letter: LetterFacts, content: Content): void {
    if (!this.letters.has(letter.id)) this.letters.set(letter.id, { facts: letter, content });
  }

  #dropLetter(id: string): void {
    const letter = this.letters.get(id);
    this.letters.delete(id);
    if (letter && "file" in letter.content) this.release(letter.content.file);
  }

  /** Files that are needed. */
  *files(): Iterable<string> {
    const letters = [...this.letters.values()].map(({ content }) => content);
    for (const content of [...this.#out.contents(), ...this.#in.contents(), ...letters]) {
      if ("file" in content) yield content.file;
    }
  }
}
