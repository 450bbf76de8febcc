/** Reading from whoever answers first, without asking everybody each time. */
import type { Clock } from "./ports.js";

export interface Attempt {
  /** Ends when another source was quicker, or nobody waits any more. */
  readonly signal: AbortSignal;
  /** To be called whenever a part has arrived. */
  readonly alive: () => void;
}

export interface HedgeOptions<S, T> {
  /** In the order in which they are asked. */
  readonly sources: readonly S[];
  /** Undefined, or a throw: this source hasn't got it. */
  readonly read: (source: S, attempt: Attempt) => Promise<T | undefined>;
  /** A value that came too late. */
  readonly discard: (value: T) => Promise<void>;
  /** The next source is asked, too, when nothing has arrived for so long. */
  readonly stallMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * The first value that a source has; undefined when none has. A source that fails is followed by
 * the next one at once, one that stalls after `stallMs`, without being given up: a read costs one
 * source as long as all is well, and no silent one can hold it up.
 * @throws the signal's reason
 */
export function firstToRead<S, T>(options: HedgeOptions<S, T>): Promise<T | undefined> {
  const { sources, read, discard, stallMs, clock, signal } = options;
  const over = new AbortController();
  let next = 0;
  let running = 0;
  let stall = new AbortController();
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      over.abort();
      stall.abort();
      settle();
    };
    const onAbort = (): void => end(() => reject(signal.reason as Error));
    const watch = (): void => {
      stall.abort();
      if (next >= sources.length || over.signal.aborted) return;
      stall = new AbortController();
      clock.sleep(stallMs, stall.signal).then(askNext, () => undefined);
    };
    const failed = (): void => {
      running -= 1;
      if (over.signal.aborted) return;
      if (next < sources.length) askNext();
      else if (running === 0) end(() => resolve(undefined));
    };
    const askNext = (): void => {
      const source = sources[next];
      if (source === undefined || over.signal.aborted) return;
      next += 1;
      running += 1;
      watch();
      read(source, { signal: over.signal, alive: watch }).then((value) => {
        if (value === undefined) return failed();
        if (over.signal.aborted) return discard(value).catch(() => undefined);
        return end(() => resolve(value));
      }, failed);
    };
    if (signal.aborted) return reject(signal.reason as Error);
    if (sources.length === 0) return resolve(undefined);
    signal.addEventListener("abort", onAbort, { once: true });
    askNext();
  });
}
