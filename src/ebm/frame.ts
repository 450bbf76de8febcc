/** Frames: what a packet consists of. */
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

export type Dead = readonly [stream: string, from: number, to?: number];

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
  /**
   * Given up: [stream, sequence]. The window moves on. From a publisher to the broker, in front of its messages:
   * [stream, from, to], inclusive, which nobody sends (any more); some of them may have been taken.
   */
  readonly dead?: readonly Dead[];
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
