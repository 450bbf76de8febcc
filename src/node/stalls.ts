/** How long this node's event loop stands still: while it does, nobody is served. */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import type { Log } from "../shared/log.js";

/** Costs a timer; a shorter one would cost more and tell no more. */
const resolutionMs = 20;
const sampleMs = 5_000;
const samplesMax = 12;
const warnMs = 1_000;

/** Remembers the last minute. */
export class Stalls {
  readonly #delays: IntervalHistogram = monitorEventLoopDelay({ resolution: resolutionMs });
  readonly #samples: number[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(private readonly log: Pick<Log, "warn">) {
    this.#delays.enable();
    this.#timer = setInterval(() => this.#sample(), sampleMs).unref();
  }

  /** The longest stall of the last minute. */
  worstMs(): number {
    return Math.round(Math.max(0, ...this.#samples, this.#longestMs()));
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#delays.disable();
  }

  /** A tick that comes in time is `resolutionMs` behind the last one. */
  #longestMs(): number {
    return this.#delays.max / 1e6 - resolutionMs;
  }

  #sample(): void {
    const stallMs = this.#longestMs();
    this.#delays.reset();
    this.#samples.push(stallMs);
    if (this.#samples.length > samplesMax) this.#samples.shift();
    if (stallMs > warnMs) {
      this.log.warn({ stallMs: Math.round(stallMs) }, "the event loop stood still");
    }
  }
}
