/** An async iterator of deliveries, with a bound for what is handed out and not settled. */
import { checkDelay } from "../checks.js";
import type { ConsumeOptions, Consumer, Delivery, Message } from "../api.js";

/** What becomes of one message, as its source does it. */
export interface Settle {
  ack(): Promise<void>;
  nack(delayMs: number): Promise<void>;
  reject(reason: string): Promise<void>;
  working(): Promise<void>;
  /** The consumer ends, and nobody has settled it. */
  release(): void;
  /** The application has it now. */
  handed?(): void;
}

export interface StreamOptions extends ConsumeOptions {
  /** There is room for more. */
  readonly onRoom: () => void;
  readonly onClose: () => void;
  /** What was given back at the end is known to who hands it out. */
  readonly givenBack?: () => Promise<void>;
  /** Aborted when the client closes: the iteration then ends. */
  readonly closing: AbortSignal;
}

interface Entry {
  readonly delivery: Delivery;
  readonly settle: Settle;
  isSettled: boolean;
}

const defaultPrefetch = 32;

export class DeliveryStream implements Consumer {
  readonly #options: StreamOptions;
  readonly #prefetch: number;
  readonly #ready: Entry[] = [];
  readonly #open = new Set<Entry>();
  readonly #entries = new WeakMap<Delivery, Entry>();
  #waiting: ((result: IteratorResult<Delivery>) => void)[] = [];
  #last: Entry | undefined;
  #ended = false;
  /** Settlements that were asked for and are not done. */
  readonly #settling = new Set<Promise<void>>();
  /** Takes the listeners off: the signals outlive this consumer. */
  readonly #over = new AbortController();

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#prefetch = Math.max(1, options.prefetch ?? defaultPrefetch);
    const { signal, closing } = options;
    const listening = { once: true, signal: this.#over.signal };
    for (const one of [closing, signal]) {
      one?.addEventListener("abort", () => this.#end(), listening);
    }
    if (closing.aborted || signal?.aborted === true) this.#end();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** How many more may be offered. */
  get room(): number {
    return this.#ended ? 0 : this.#prefetch - this.#open.size;
  }

  /** Worth fetching for: half of what it may have, so that each fetch is for several. */
  get hasMuchRoom(): boolean {
    return !this.#ended && this.room * 2 >= this.#prefetch;
  }

  /** Resolves when what was asked for so far is done, or has failed. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#settling);
  }

  /** `message` becomes the delivery. `first`: before those that wait. */
  offer(message: Message, settle: Settle, first = false): void {
    if (this.#ended) return settle.release();
    const entry: Entry = { delivery: this.#deliveryOf(message, settle), settle, isSettled: false };
    this.#entries.set(entry.delivery, entry);
    this.#open.add(entry);
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting({ done: false, value: this.#handOut(entry) });
    if (first) this.#ready.unshift(entry);
    else this.#ready.push(entry);
  }

  [Symbol.asyncIterator](): AsyncIterator<Delivery> {
    return {
      next: () => this.#next(),
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
  }

  async close(): Promise<void> {
    this.#end();
    await this.#options.givenBack?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #next(): Promise<IteratorResult<Delivery>> {
    if (this.#options.autoAck === true && this.#last?.isSettled === false) {
      // Not waited for: what fails comes again.
      this.#last.delivery.ack().catch(() => undefined);
    }
    this.#last = undefined;
    const entry = this.#ready.shift();
    if (entry !== undefined) return Promise.resolve({ done: false, value: this.#handOut(entry) });
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #handOut(entry: Entry): Delivery {
    this.#last = entry;
    entry.settle.handed?.();
    return entry.delivery;
  }

  #deliveryOf(message: Message, settle: Settle): Delivery {
    const settled = async (work: () => Promise<void>): Promise<void> => {
      const entry = this.#entries.get(delivery);
      if (entry === undefined || entry.isSettled) return;
      entry.isSettled = true;
      const settling = work();
      this.#settling.add(settling);
      try {
        await settling;
      } finally {
        this.#settling.delete(settling);
        this.#open.delete(entry);
        if (!this.#ended) this.#options.onRoom();
      }
    };
    const delivery: Delivery = Object.assign(message, {
      ack: () => settled(() => settle.ack()),
      nack: async ({ delayMs = 0 } = {}) => {
        checkDelay(delayMs);
        await settled(() => settle.nack(Math.ceil(delayMs)));
      },
      reject: (reason = "rejected") => settled(() => settle.reject(reason)),
      working: () => settle.working(),
    });
    return delivery;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#over.abort();
    this.#ready.length = 0;
    for (const entry of this.#open) {
      if (entry.isSettled) continue;
      entry.isSettled = true;
      entry.settle.release();
    }
    this.#open.clear();
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
    this.#options.onClose();
  }
}
