/** When a client looks for mail. */
import type { ConnectOptions } from "../api.js";

/** Each look is a login: a provider may take offence where a member does not. */
const defaultPoll = {
  ring: { minMs: 10, maxMs: 5_000 },
  elsewhere: { minMs: 1_000, maxMs: 15_000 },
} as const;

export interface Poll {
  readonly minMs: number;
  readonly maxMs: number;
}

export function pollOf(wanted: ConnectOptions["poll"], isElsewhere: boolean): Poll {
  const standard = defaultPoll[isElsewhere ? "elsewhere" : "ring"];
  const { minMs = standard.minMs, maxMs = Math.max(standard.maxMs, minMs) } = wanted ?? {};
  return { minMs: Math.min(minMs, maxMs), maxMs };
}

/**
 * How often to look for mail: at once when there is something to expect, then less and less often. Each wait is twice
 * as long as the one before: what comes after a silence waits about as long as that lasted, at most `maxMs`.
 */
export interface PollerOptions {
  /** The first wait after a find, a poke, or the start. */
  readonly minMs: number;
  readonly maxMs: number;
  /**
   * Looks once; true when there was something. A rejection counts as nothing found. A number: there was something, and
   * somebody will poke; the next look without that, so many milliseconds from now, is only to be safe.
   */
  readonly look: () => Promise<boolean | number>;
  readonly signal: AbortSignal;
}

export class Poller {
  readonly #options: PollerOptions;
  #waitMs: number;
  #wake: () => void = () => undefined;
  #rearm: () => void = () => undefined;
  #restMs = 0;
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
    return this.#waitMs;
  }

  /** Something is expected: look soon, and often for a while. */
  poke(): void {
    this.#isPoked = true;
    this.#waitMs = this.#options.minMs;
    this.#wake();
  }

  /** There is nothing to expect for so long, unless it is poked. */
  rest(ms: number): void {
    this.#restMs = ms;
    this.#rearm();
  }

  async #run(): Promise<void> {
    const { signal, look, minMs, maxMs } = this.#options;
    while (!signal.aborted) {
      this.#isPoked = false;
      this.#restMs = 0;
      const found = await look().catch(() => false);
      if (found !== false) this.#waitMs = minMs;
      else if (!this.#isPoked) this.#waitMs = Math.min(2 * this.#waitMs, maxMs);
      if (typeof found === "number") this.#restMs = found;
      if (!signal.aborted) await this.#sleep();
    }
  }

  #sleep(): Promise<void> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      this.#wake = () => {
        clearTimeout(timer);
        // A sleep that is over sets no timer any more: nothing would clear it when the client closes.
        this.#rearm = this.#wake = () => undefined;
        resolve();
      };
      this.#rearm = () => {
        clearTimeout(timer);
        const ms = Math.max(this.#waitMs, this.#isPoked ? 0 : this.#restMs);
        timer = setTimeout(() => this.#wake(), ms);
      };
      this.#rearm();
    });
  }
}
