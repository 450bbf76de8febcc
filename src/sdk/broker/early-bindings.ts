/**
 * Bindings to exchanges that nobody has declared yet. Whoever declares one says who may subscribe, and ends the
 * bindings of all others: so it is asked again, less and less often, until it is there.
 */
import type { Binding } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { delay } from "../waiting.js";

export interface EarlyBindingsOptions {
  /** @throws RingpostError */
  readonly bind: (binding: Binding) => Promise<unknown>;
  /** The exchange was declared, and the binding has ended. */
  readonly ended: (binding: Binding, error: RingpostError) => void;
  readonly againMs: { readonly first: number; readonly max: number };
  readonly closing: AbortSignal;
}

export class EarlyBindings {
  readonly #options: EarlyBindingsOptions;
  readonly #watched = new Map<
    string,
    { readonly binding: Binding; readonly end: AbortController }
  >();

  constructor(options: EarlyBindingsOptions) {
    this.#options = options;
  }

  /**
   * At once, or as soon as the exchange is there.
   * @throws RingpostError
   */
  async bind(binding: Binding): Promise<void> {
    const { bind } = this.#options;
    const key = JSON.stringify(binding);
    this.#watched.get(key)?.end.abort();
    this.#watched.delete(key);
    try {
      return void (await bind({ ...binding, early: false }));
    } catch (error) {
      if (codeOf(error) !== "unknown") throw error;
    }
    await bind({ ...binding, early: true });
    const end = new AbortController();
    this.#watched.set(key, { binding, end });
    void this.#watch(binding, AbortSignal.any([end.signal, this.#options.closing])).then(() => {
      if (this.#watched.get(key)?.end === end) this.#watched.delete(key);
    });
  }

  /** They are not waited for any more. Without `exchange`: all of a queue. */
  forget(queue: string, exchange?: string): void {
    for (const [key, { binding, end }] of this.#watched) {
      if (binding.queue !== queue) continue;
      if (exchange !== undefined && binding.exchange !== exchange) continue;
      end.abort();
      this.#watched.delete(key);
    }
  }

  async #watch(binding: Binding, signal: AbortSignal): Promise<void> {
    const { bind, ended, againMs } = this.#options;
    for (let waitMs = againMs.first; ; waitMs = Math.min(2 * waitMs, againMs.max)) {
      await delay(waitMs, signal);
      if (signal.aborted) return;
      try {
        await bind({ ...binding, early: false });
        return;
      } catch (error) {
        if (signal.aborted) return;
        // Nobody has declared it yet.
        if (codeOf(error) === "unknown") continue;
        if (!(error instanceof RingpostError) || error.retryable) continue;
        ended(binding, error);
        return;
      }
    }
  }
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof RingpostError ? error.code : undefined;
