/** Settlements of one queue, many in one question to the ring. */
import type { Settlement } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { closedError, delay } from "../waiting.js";
import type { Urgency } from "./settlements.js";

export interface SettlerOptions {
  readonly queue: string;
  readonly settle: (settlement: Settlement, urgency: Urgency) => Promise<unknown>;
  /** Somebody waits for what is behind what was settled last. */
  readonly hurry: () => void;
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
  readonly canWait: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Those that are asked for one after the other. */
interface Line {
  readonly waiting: Waiting[];
  flushing: Promise<void> | undefined;
}

/** Entries in one question. */
const batchMax = 1_000;
const againMs = { first: 200, max: 5_000 } as const;

export class Settler {
  readonly #options: SettlerOptions;
  readonly #all: Line = { waiting: [], flushing: undefined };
  /** Rejections that did not go well at once. */
  readonly #rejections: Line = { waiting: [], flushing: undefined };

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the ring has done it; it is tried for as long as the client is open. `canWait`: nobody waits for
   * that, so that it may go with others.
   */
  put(wish: Wish, { canWait = false } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const { signal, lingerMs, hurry } = this.#options;
      if (signal.aborted) return reject(closedError());
      if (!canWait) hurry();
      this.#add(this.#all, [{ wish, canWait, resolve, reject }], lingerMs);
    });
  }

  /** Resolves when nothing waits. */
  async settled(): Promise<void> {
    this.#options.hurry();
    for (const line of [this.#all, this.#rejections]) {
      while (line.flushing !== undefined) await line.flushing;
    }
  }

  #add(line: Line, more: readonly Waiting[], inMs: number): void {
    line.waiting.push(...more);
    line.flushing ??= this.#flush(line, inMs);
  }

  async #flush(line: Line, inMs: number): Promise<void> {
    await delay(inMs, this.#options.signal);
    const isAgain = line === this.#rejections;
    while (line.waiting.length > 0) {
      await this.#settle(line, line.waiting.splice(0, batchMax), isAgain);
    }
    // In the same turn: what is put later begins another.
    line.flushing = undefined;
  }

  async #settle(line: Line, batch: readonly Waiting[], isBatchAgain: boolean): Promise<void> {
    const { settle, queue, signal } = this.#options;
    let left = batch;
    let isAgain = isBatchAgain;
    const canWait = batch.every((one) => one.canWait);
    for (let waitMs: number = againMs.first; left.length > 0; waitMs = nextWaitMs(waitMs)) {
      try {
        await settle(settlementOf(queue, left), { isAgain, canWait });
        for (const { resolve } of left) resolve();
        return;
      } catch (error) {
        if (isMalformed(error) && left.length > 1) return await this.#settleHalves(line, left);
        if (!(error instanceof RingpostError) || !error.retryable || signal.aborted) {
          const failure = error instanceof Error ? error : new Error(String(error));
          for (const { reject } of left) reject(failure);
          return;
        }
      }
      isAgain = true;
      if (line === this.#all) left = this.#withoutRejections(left);
      if (left.length > 0) await delay(waitMs, signal);
    }
  }

  /** Nothing of it was done; one wish is at fault, and the others are not to suffer for it. */
  async #settleHalves(line: Line, batch: readonly Waiting[]): Promise<void> {
    const half = Math.ceil(batch.length / 2);
    await this.#settle(line, batch.slice(0, half), true);
    await this.#settle(line, batch.slice(half), true);
  }

  /** There may be no place for a dead letter: no acknowledgement waits for that. */
  #withoutRejections(batch: readonly Waiting[]): readonly Waiting[] {
    const rejections = batch.filter(({ wish }) => wish.kind === "reject");
    if (rejections.length > 0) this.#add(this.#rejections, rejections, againMs.first);
    return batch.filter(({ wish }) => wish.kind !== "reject");
  }
}

const nextWaitMs = (waitMs: number): number => Math.min(2 * waitMs, againMs.max);

/** Of a wish; all other refusals are of the queue or of who asks. */
const isMalformed = (error: unknown): boolean =>
  error instanceof RingpostError && error.code === "malformed";

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
