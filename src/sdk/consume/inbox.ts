/** What came from other users: sorted by what it is for, and handed to who consumes that. */
import type { ConsumeOptions, Consumer, Message } from "../api.js";
import type { InboundMessage, IsWanted, Link } from "../link/ports.js";
import { messageOf } from "./message.js";
import { DeliveryStream, type Settle } from "./stream.js";

export type Kind = "message" | "request" | "response" | "chat";

export interface InboxOptions {
  readonly link: Link;
  readonly closing: AbortSignal;
  /** There is a consumer more. */
  readonly onConsumer: () => void;
}

/** Of a kind, taken from the link and waiting for somebody who consumes them; what nobody consumes keeps no other waiting. */
const heldMax = 10_000;
/** Taken at once, when somebody has room: what is more urgent may still come and pass the rest. */
const takenMax = 64;

export class Inbox {
  readonly #options: InboxOptions;
  readonly #held = new Map<Kind, InboundMessage[]>();
  readonly #streams = new Map<Kind, DeliveryStream[]>();
  readonly #loading = new Map<DeliveryStream, number>();
  #isPoked = false;
  /** The link may have more than it gave. */
  #isDue = true;
  /** Settlements on their way to the journal: what comes behind them in a stream waits for that. */
  #settling = 0;
  readonly #turns = new WeakMap<DeliveryStream, Promise<void>>();

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  consume(kind: Kind, options: ConsumeOptions = {}): Consumer {
    const stream: DeliveryStream = new DeliveryStream({
      ...options,
      closing: this.#options.closing,
      onRoom: () => this.pump(),
      onClose: () => this.#forget(kind, stream),
    });
    if (!stream.ended) this.#streams.set(kind, [...(this.#streams.get(kind) ?? []), stream]);
    queueMicrotask(() => this.pump());
    this.#options.onConsumer();
    return stream;
  }

  isConsumed(kind: Kind): boolean {
    return (this.#streams.get(kind)?.length ?? 0) > 0;
  }

  /** The link has more. It says so of each message, and many come with one mail. */
  poke(): void {
    this.#isDue = true;
    if (this.#isPoked) return;
    this.#isPoked = true;
    setImmediate(() => {
      this.#isPoked = false;
      this.pump();
    });
  }

  /** Hands out what can be; called when there may be more, and when a consumer has room. */
  pump(): void {
    if (this.#options.closing.aborted) return;
    do {
      for (const [kind, messages] of this.#held) this.#handOut(kind, messages);
    } while (this.#hasRoom() && this.#takeMore());
  }

  #hasRoom(): boolean {
    return [...this.#streams.values()].some((all) => all.some((one) => this.#roomOf(one) > 0));
  }

  #takeMore(): boolean {
    if (!this.#isDue) return false;
    const isWanted: IsWanted = ({ kind = "message" }) =>
      (this.#held.get(kind)?.length ?? 0) < heldMax;
    const taken = this.#options.link.take(takenMax, isWanted);
    if (taken.length < takenMax) this.#isDue = false;
    for (const message of taken) {
      const kind = message.properties.kind ?? "message";
      const messages = this.#held.get(kind) ?? [];
      messages.push(message);
      this.#held.set(kind, messages);
    }
    return taken.length > 0;
  }

  #handOut(kind: Kind, messages: InboundMessage[]): void {
    while (messages.length > 0) {
      const stream = this.#streams.get(kind)?.find((one) => this.#roomOf(one) > 0);
      if (stream === undefined) return;
      // There is room for more of the kind.
      if (messages.length >= heldMax) this.#isDue = true;
      const message = messages.shift();
      if (message !== undefined) this.#load(stream, message);
    }
  }

  #roomOf(stream: DeliveryStream): number {
    return stream.room - (this.#loading.get(stream) ?? 0);
  }

  /** Bodies are read one after the other per consumer, so that order is kept. */
  #load(stream: DeliveryStream, inbound: InboundMessage): void {
    this.#loading.set(stream, (this.#loading.get(stream) ?? 0) + 1);
    const before = this.#turns.get(stream) ?? Promise.resolve();
    const turn = before.then(async () => {
      let message: Message | undefined;
      try {
        message = await messageOf(inbound);
      } catch {
        // The journal can't be read: the link tells of that; it comes again.
        if (!this.#options.closing.aborted) this.#options.link.giveBack(inbound, 1_000);
      }
      this.#loading.set(stream, (this.#loading.get(stream) ?? 1) - 1);
      if (message !== undefined) stream.offer(message, this.#settleOf(inbound));
    });
    this.#turns.set(stream, turn);
  }

  #settleOf(inbound: InboundMessage): Settle {
    const { link, closing } = this.#options;
    return {
      ack: () => this.#settle(link.consume(inbound)),
      nack: async (delayMs) => link.giveBack(inbound, delayMs),
      reject: (reason) => this.#settle(link.reject(inbound, reason)),
      // It is in our own journal; nobody else is handed it.
      working: () => Promise.resolve(),
      release: () => {
        if (!closing.aborted) link.giveBack(inbound);
      },
    };
  }

  async #settle(settled: Promise<void>): Promise<void> {
    this.#settling += 1;
    try {
      await settled;
    } finally {
      this.#settling -= 1;
      if (this.#settling === 0) this.#isDue = true;
    }
  }

  #forget(kind: Kind, stream: DeliveryStream): void {
    const others = (this.#streams.get(kind) ?? []).filter((one) => one !== stream);
    this.#streams.set(kind, others);
    this.#loading.delete(stream);
  }
}
