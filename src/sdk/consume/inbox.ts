/** What came from other users: sorted by what it is for, and handed to who consumes that. */
import type { ConsumeOptions, Consumer, Message } from "../api.js";
import type { InboundMessage, Link } from "../link/ports.js";
import { messageOf } from "./message.js";
import { DeliveryStream, type Settle } from "./stream.js";

export type Kind = "message" | "request" | "response" | "chat";

export interface InboxOptions {
  readonly link: Link;
  readonly closing: AbortSignal;
}

/** Taken from the link and waiting for somebody who consumes them. */
const heldMax = 10_000;

export class Inbox {
  readonly #options: InboxOptions;
  readonly #held = new Map<Kind, InboundMessage[]>();
  readonly #streams = new Map<Kind, DeliveryStream[]>();
  readonly #loading = new Map<DeliveryStream, number>();
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
    return stream;
  }

  /** Hands out what can be; called when the link has more, and when a consumer has room. */
  pump(): void {
    if (this.#options.closing.aborted) return;
    let held = 0;
    for (const messages of this.#held.values()) held += messages.length;
    for (const message of this.#options.link.take(heldMax - held)) {
      const kind = message.properties.kind ?? "message";
      const messages = this.#held.get(kind) ?? [];
      messages.push(message);
      this.#held.set(kind, messages);
    }
    for (const [kind, messages] of this.#held) this.#handOut(kind, messages);
  }

  #handOut(kind: Kind, messages: InboundMessage[]): void {
    while (messages.length > 0) {
      const stream = this.#streams.get(kind)?.find((one) => this.#roomOf(one) > 0);
      if (stream === undefined) return;
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
      ack: () => link.consume(inbound),
      nack: async (delayMs) => link.giveBack(inbound, delayMs),
      reject: (reason) => link.reject(inbound, reason),
      // It is in our own journal; nobody else is handed it.
      working: () => Promise.resolve(),
      release: () => {
        if (!closing.aborted) link.giveBack(inbound);
      },
    };
  }

  #forget(kind: Kind, stream: DeliveryStream): void {
    const others = (this.#streams.get(kind) ?? []).filter((one) => one !== stream);
    this.#streams.set(kind, others);
    this.#loading.delete(stream);
  }
}
