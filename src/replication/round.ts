/** Background work that comes round again until the node stops. */
import type { Log } from "../shared/log.js";
import type { Clock } from "./ports.js";

export interface RoundOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Between the end of a run and the next one. */
  readonly intervalMs: number;
  readonly run: () => Promise<void> | void;
}

export class Round {
  private rest = new AbortController();

  constructor(private readonly options: RoundOptions) {}

  /** The next run begins at once; what turns up during a run wants another one. */
  wake(): void {
    this.rest.abort();
  }

  /** Resolves when `stopping` has ended and no run is under way. Never rejects. */
  async begin(stopping: AbortSignal): Promise<void> {
    const { clock, log, intervalMs, run } = this.options;
    while (!stopping.aborted) {
      const rest = new AbortController();
      this.rest = rest;
      try {
        await run();
      } catch (error) {
        log.warn({ error: String(error) }, "background work failed; it will be tried again");
      }
      const signal = AbortSignal.any([stopping, rest.signal]);
      await clock.sleep(intervalMs, signal).catch(() => undefined);
    }
  }
}
