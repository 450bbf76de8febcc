/** Settlements of one queue, many in one question to the ring. */
import type { Settlement } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { closedError, delay } from "../waiting.js";

export interface SettlerOptions {
  readonly queue: string;
  readonly settle: (settlement: Settlement) => Promise<unknown>;
  readonly lingerMs: number;
  readonly signal: AbortSignal;
}

export type Wish =
  | { readonly kind: "ack"; readonly entry: string }
  | { readonly kind: "nack"; readonly entry: string; readonly delayMs: number }
  | { readonly kind: "reject"; readonly entry: string }
  | { readonly kind: "extend"; readonly entry: string; readonly ms: number };

interface Waiting {
  readonly wish: Wish;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Entries in one question. */
const batchMax = 1_000;
const againMs = { first: 200, max: 5_000 } as const;

export class Settler {
  readonly #options: SettlerOptions;
  readonly #waiting: Waiting[] = [];
  #flushing: Promise<void> | undefined;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /** Resolves when the ring has done it; it is tried for as long as the client is open. */
  put(wish: Wish): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#options.signal.aborted) return reject(closedError());
      this.#waiting.push({ wish, resolve, reject });
      this.#flushing ??= this.#flush().finally(() => {
        this.#flushing = undefined;
      });
    });
  }

  /** Resolves when nothing waits. */
  async settled(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing;
  }

  async #flush(): Promise<void> {
    const { lingerMs, signal } = this.#options;
    await delay(lingerMs, signal);
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, batchMax);
      try {
        await this.#settle(settlementOf(this.#options.queue, batch));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        const failure = error instanceof Error ? error : new Error(String(error));
        for (const { reject } of batch) reject(failure);
      }
    }
  }

  async #settle(settlement: Settlement): Promise<void> {
    const { settle, signal } = this.#options;
    for (let waitMs: number = againMs.first; ; waitMs = Math.min(2 * waitMs, againMs.max)) {
      try {
        await settle(settlement);
        return;
      } catch (error) {
        if (!(error instanceof RingpostError) || !error.retryable || signal.aborted) throw error;
      }
      await delay(waitMs, signal);
    }
  }
}

function settlementOf(queue: string, batch: readonly Waiting[]): Settlement {
  const wishes = batch.map(({ wish }) => wish);
  const ack = wishes.flatMap((wish) => (wish.kind === "ack" ? [wish.entry] : []));
  const reject = wishes.flatMap((wish) => (wish.kind === "reject" ? [wish.entry] : []));
  const nack = wishes.flatMap(({ kind, ...rest }) =>
    kind === "nack" ? [rest as { entry: string; delayMs: number }] : [],
  );
  const extend = wishes.flatMap(({ kind, ...rest }) =>
    kind === "extend" ? [rest as { entry: string; ms: number }] : [],
  );
  return {
    queue,
    ...(ack.length === 0 ? {} : { ack }),
    ...(nack.length === 0 ? {} : { nack }),
    ...(reject.length === 0 ? {} : { reject }),
    ...(extend.length === 0 ? {} : { extend }),
  };
}
