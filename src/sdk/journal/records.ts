/** What is written in the journal. */
import type { MessageProperties, Origin, Range } from "../../ebm/index.js";

interface Placed {
  readonly to: string;
  /** As the application named it. */
  readonly stream: string;
  readonly sequence: number;
}

/** A message of the outbox; its body is the record's, or in a file. */
export interface OutRecord extends Placed {
  readonly kind: "out";
  readonly id: string;
  readonly properties: MessageProperties;
  readonly octets: number;
  readonly digest: string;
  readonly file?: string;
  readonly delivered?: boolean;
  readonly acked?: readonly Range[];
  readonly isVoid?: boolean;
}

/** Octets of a message that came. */
export interface Part {
  readonly stream: string;
  readonly sequence: number;
  readonly id: string;
  readonly size: number;
  readonly offset: number;
  readonly octets: number;
  readonly digest?: string;
  readonly properties?: MessageProperties;
  readonly isVoid?: boolean;
  readonly base?: number;
  /** Where they are; absent: in the record, one part behind the other. */
  readonly file?: string;
}

export interface LetterFacts {
  readonly id: string;
  readonly direction: "out" | "in";
  readonly why: string;
  readonly atMs: number;
  readonly user: string;
  readonly stream?: string;
  readonly sequence?: number;
  readonly properties?: MessageProperties;
}

export interface Trip {
  readonly srttMs: number;
  readonly varianceMs: number;
  readonly peerPollMs: number;
}

export type JournalRecord =
  | {
      readonly kind: "identity";
      readonly user: string;
      readonly device: string;
      readonly epoch: number;
      /** PKCS #8, base64. */
      readonly privateKey: string;
    }
  /** Packet numbers up to it may have been used. */
  | { readonly kind: "reserve"; readonly connection: string; readonly upTo: number }
  /** Whose acknowledgements count: the receiver's device, since it last lost its state. */
  | { readonly kind: "peer"; readonly to: string; readonly device: string; readonly epoch: number }
  /** How long acknowledgements of a receiver took lately. */
  | { readonly kind: "trip"; readonly to: string; readonly trip: Trip }
  | OutRecord
  /** Octets in the receiver's journal, counted from 1, of a message that is not there as a whole. */
  | ({ readonly kind: "acked"; readonly octets: Range } & Placed)
  /** In the receiver's journal. */
  | ({ readonly kind: "delivered" } & Placed)
  /** The receiver has lost its state: what was delivered is to be sent again. */
  | { readonly kind: "undelivered"; readonly to: string }
  /** Up to it all are consumed, or dead at the receiver. */
  | ({ readonly kind: "settled" } & Placed)
  /**
   * Given up. `then`, what stands in its place. `void`: it, as long as something waits behind it. `pass`: it, until
   * something behind it is settled. `renumber`: what comes next.
   */
  | ({
      readonly kind: "deadOut";
      readonly then: "void" | "pass" | "renumber";
      readonly letter: LetterFacts;
    } & Placed)
  | {
      readonly kind: "outStream";
      readonly to: string;
      readonly stream: string;
      readonly next: number;
    }
  | {
      readonly kind: "in";
      readonly connection: string;
      readonly packet: number;
      readonly floor: number;
      readonly origin: Origin;
      readonly parts: readonly Part[];
    }
  | { readonly kind: "handed"; readonly key: string; readonly sequences: readonly number[] }
  | {
      readonly kind: "inSettled";
      readonly key: string;
      readonly sequence: number;
      /** Present when it went to the dead letters. */
      readonly letter?: LetterFacts;
    }
  | {
      readonly kind: "inStream";
      readonly key: string;
      readonly settled: readonly Range[];
      readonly base: number;
      readonly dead: readonly number[];
    }
  | {
      readonly kind: "inConnection";
      readonly connection: string;
      readonly origin: Origin;
      readonly seen: readonly Range[];
    }
  /** A message that came, as far as it is there; its octets are the record's, or in a file. */
  | {
      readonly kind: "inMessage";
      readonly key: string;
      readonly part: Part;
      readonly have: readonly Range[];
      readonly handed: number;
    }
  | { readonly kind: "letter"; readonly letter: LetterFacts; readonly file?: string }
  | { readonly kind: "dropLetter"; readonly id: string }
  /** Consumed entries of a queue. */
  | { readonly kind: "entry"; readonly key: string; readonly ranges: readonly Range[] }
  | { readonly kind: "value"; readonly key: string; readonly value?: unknown };

export function encodeRecord(record: JournalRecord, body?: Buffer): readonly Buffer[] {
  const json = JSON.stringify(record);
  const octets = Buffer.byteLength(json);
  const head = Buffer.allocUnsafe(4 + octets);
  head.writeUInt32BE(octets);
  head.write(json, 4);
  return body === undefined ? [head] : [head, body];
}

export function decodeRecord(content: Buffer): { record: JournalRecord; body: Buffer } {
  const length = content.readUInt32BE(0);
  const record = JSON.parse(content.toString("utf8", 4, 4 + length)) as JournalRecord;
  return { record, body: content.subarray(4 + length) };
}
