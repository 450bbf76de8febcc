/** The part of a journal's state that is sent: messages by receiver, by stream. */
import type { MessageProperties } from "../../ebm/index.js";
import { type Content, copyOf } from "./content.js";
import { Intervals } from "./intervals.js";
import type { JournalRecord, LetterFacts, OutRecord } from "./records.js";

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
  /** Octets that its receiver has, counted from 1, of what it does not have as a whole. */
  acked: Intervals | undefined;
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
  /** Not settled yet, in order. */
  messages: Map<number, OutMessage>;
}

export interface StateOptions {
  /** Told of files that nothing needs any more. */
  readonly release: (file: string) => void;
  readonly keepLetter: (letter: LetterFacts, content: Content) => void;
}

export type OutboundRecord = Extract<
  JournalRecord,
  { kind: "out" | "acked" | "delivered" | "undelivered" | "settled" | "deadOut" | "outStream" }
>;

export class OutState {
  readonly streams = new Map<string, Map<string, OutStream>>();
  /** Of all messages that are not settled. */
  octets = 0;

  constructor(private readonly options: StateOptions) {}

  apply(record: OutboundRecord, body: Buffer): void {
    switch (record.kind) {
      case "out":
        return this.#out(record, body);
      case "acked": {
        const message = this.stream(record.to, record.stream).messages.get(record.sequence);
        if (message === undefined || message.isVoid) return;
        message.acked ??= new Intervals();
        message.acked.add(...record.octets);
        return;
      }
      case "delivered": {
        const message = this.stream(record.to, record.stream).messages.get(record.sequence);
        if (message) setDelivered(message, true);
        return;
      }
      case "undelivered":
        for (const { messages } of this.streams.get(record.to)?.values() ?? []) {
          for (const message of messages.values()) setDelivered(message, false);
        }
        return;
      case "settled":
        return this.#settled(record.to, record.stream, record.sequence);
      case "deadOut":
        return this.#deadOut(record);
      case "outStream": {
        const stream = this.stream(record.to, record.stream);
        stream.next = Math.max(stream.next, record.next);
        return;
      }
    }
  }

  stream(to: string, stream: string): OutStream {
    const streams = this.streams.get(to) ?? new Map<string, OutStream>();
    this.streams.set(to, streams);
    const known = streams.get(stream);
    if (known) return known;
    const made = { to, stream, next: 1, messages: new Map<number, OutMessage>() };
    streams.set(stream, made);
    return made;
  }

  #out(record: OutRecord, body: Buffer): void {
    const stream = this.stream(record.to, record.stream);
    if (stream.messages.has(record.sequence)) return;
    const { id, to, properties, octets, digest, sequence } = record;
    stream.messages.set(sequence, {
      id,
      to,
      stream: record.stream,
      sequence,
      properties,
      octets,
      digest,
      content: record.file === undefined ? copyOf(body) : { file: record.file },
      delivered: record.delivered ?? false,
      acked: record.acked && new Intervals(record.acked),
      isVoid: record.isVoid ?? false,
      isRemoved: false,
    });
    stream.next = Math.max(stream.next, sequence + 1);
    if (record.isVoid !== true) this.octets += octets;
  }

  #forget(stream: OutStream, message: OutMessage): void {
    stream.messages.delete(message.sequence);
    message.isRemoved = true;
    if (message.isVoid) return;
    this.octets -= message.octets;
    if ("file" in message.content) this.options.release(message.content.file);
  }

  #settled(to: string, name: string, sequence: number): void {
    const stream = this.stream(to, name);
    for (const message of stream.messages.values()) {
      if (message.sequence > sequence) break;
      this.#forget(stream, message);
    }
  }

  #deadOut({ to, stream: name, sequence, then, letter }: JournalRecord & { kind: "deadOut" }) {
    const stream = this.stream(to, name);
    const message = stream.messages.get(sequence);
    if (!message || message.id !== letter.id) return;
    if (message.isVoid) return then === "void" ? this.#trim(stream) : undefined;
    this.options.keepLetter(letter, message.content);
    this.octets -= message.octets;
    message.isVoid = true;
    message.acked = undefined;
    message.content = { octets: Buffer.alloc(0) };
    if (then === "void") return this.#trim(stream);
    if (then === "pass") return;
    stream.messages.delete(sequence);
    message.isRemoved = true;
    const all = [...stream.messages.values()];
    const later = all.filter((each) => each.sequence > sequence);
    stream.messages = new Map(
      all.filter((each) => each.sequence < sequence).map((each) => [each.sequence, each]),
    );
    later.forEach((each, index) => {
      each.sequence = sequence + index;
      stream.messages.set(each.sequence, each);
    });
    stream.next = sequence + later.length;
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

  contents(): Content[] {
    return [...this.streams.values()]
      .flatMap((streams) => [...streams.values()])
      .flatMap(({ messages }) => [...messages.values()])
      .map(({ content }) => content);
  }
}

function setDelivered(message: OutMessage, delivered: boolean): void {
  message.delivered = delivered;
  message.acked = undefined;
}
