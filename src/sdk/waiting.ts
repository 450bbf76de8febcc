/** Waits that can be cancelled. */
import { RingpostError } from "./errors.js";

export const closedError = (): RingpostError =>
  new RingpostError("closed", "the client is closed", false);

/** Resolves after `ms`, or as soon as `signal` is aborted. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const ended = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", ended);
      resolve();
    };
    const timer = setTimeout(ended, ms);
    signal?.addEventListener("abort", ended);
  });
}

/**
 * As `promise`, unless `signal` is aborted or the time is over before.
 * @throws RingpostError `timeout`, `closed`, or the signal's reason when that is an Error
 */
export function within<T>(
  promise: Promise<T>,
  options: {
    readonly ms?: number;
    readonly what: string;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<T> {
  const { ms, what, signal } = options;
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      settle();
    };
    const aborted = (): void => end(() => reject(reasonOf(signal)));
    const late = (): void =>
      end(() => reject(new RingpostError("timeout", `${what}: not within ${ms} ms`, true)));
    const timer = ms === undefined ? undefined : setTimeout(late, ms);
    // Before anything else: what it rejects with later is nobody's any more, and ends no process.
    promise.then(
      (value) => end(() => resolve(value)),
      (error: unknown) =>
        end(() => reject(error instanceof Error ? error : new Error(String(error)))),
    );
    if (signal?.aborted === true) return aborted();
    signal?.addEventListener("abort", aborted);
  });
}

/** What an aborted signal is told as. */
export function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  if (reason instanceof Error) return reason;
  // Our own are errors: that was the program's signal.
  return new RingpostError("closed", `aborted: ${String(reason)}`, false);
}
