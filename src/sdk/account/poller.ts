/** How often to look for mail: at once after a find, then less and less often. */
export interface PollerOptions {
  readonly minMs: number;
  readonly maxMs: number;
  /** Looks once; true when there was something. A rejection counts as nothing found. */
  readonly look: () => Promise<boolean>;
  readonly signal: AbortSignal;
}

/** After a poke it looks so soon, and doubles the wait from there. */
const eagerMs = 10;

export class Poller {
  readonly #options: PollerOptions;
  #waitMs: number;
  #wake: () => void = () => undefined;
  #isPoked = false;
  readonly ended: Promise<void>;

  constructor(options: PollerOptions) {
    this.#options = options;
    this.#waitMs = options.minMs;
    options.signal.addEventListener("abort", () => this.#wake(), { once: true });
    this.ended = this.#run();
  }

  /** The wait between two looks as it is now. */
  get pollMs(): number {
    return Math.max(this.#waitMs, this.#options.minMs);
  }

  /** Something is expected: look soon, and often for a while. */
  poke(): void {
    this.#isPoked = true;
    this.#waitMs = eagerMs;
    this.#wake();
  }

  async #run(): Promise<void> {
    const { signal, look, minMs, maxMs } = this.#options;
    while (!signal.aborted) {
      this.#isPoked = false;
      const found = await look().catch(() => false);
      if (found) this.#waitMs = Math.min(eagerMs, minMs);
      else if (!this.#isPoked) this.#waitMs = Math.min(2 * this.#waitMs, maxMs);
      if (!signal.aborted) await this.#sleep();
    }
  }

  #sleep(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#waitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
