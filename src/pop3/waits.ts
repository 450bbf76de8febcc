export type Waited<T> =
  | { readonly kind: "done"; readonly value: T }
  | { readonly kind: "failed"; readonly error: unknown }
  /** The deadline passed first. */
  | { readonly kind: "late" }
  /** The connection went away first. */
  | { readonly kind: "over" };

/** A timer that is set for longer fires at once. */
const timerMsMax = 2 ** 31 - 1;

const late = { kind: "late" } as const;
const over = { kind: "over" } as const;

/**
 * The waits of one connection: one at a time, each with a deadline, all ended when the connection
 * goes away. The timer is moved only when it fires too early, so that a wait costs no timer.
 */
export class Waits {
  #expire: ((outcome: typeof late | typeof over) => void) | undefined;
  #over = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Infinity;
  #deadlineAtMs = Infinity;

  get over(): boolean {
    return this.#over;
  }

  /** Ends the wait there is and every later one at once. */
  end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#expire?.(over);
  }

  /** Waits until `start`'s `done` is called. */
  event(start: (done: () => void) => void, deadlineMs: number): Promise<Waited<void>> {
    return this.#wait(
      (settle) => start(() => settle({ kind: "done", value: undefined })),
      deadlineMs,
    );
  }

  /** Waits for a promise. `discard` gets a value that came when nobody waited any more. */
  work<T>(
    promise: Promise<T>,
    deadlineMs: number,
    discard: (value: T) => void = () => {},
  ): Promise<Waited<T>> {
    return this.#wait<T>((settle) => {
      promise.then(
        (value) => {
          if (!settle({ kind: "done", value })) discard(value);
        },
        (error: unknown) => settle({ kind: "failed", error }),
      );
    }, deadlineMs);
  }

  #wait<T>(
    start: (settle: (outcome: Waited<T>) => boolean) => void,
    deadlineMs: number,
  ): Promise<Waited<T>> {
    return new Promise((resolve) => {
      let settled = false;
      const settle = (outcome: Waited<T>): boolean => {
        if (settled) return false;
        settled = true;
        this.#expire = undefined;
        resolve(outcome);
        return true;
      };
      this.#expire = settle;
      if (this.#over) settle(over);
      else this.#arm(deadlineMs);
      start(settle);
    });
  }

  #arm(deadlineMs: number): void {
    const nowMs = performance.now();
    this.#deadlineAtMs = nowMs + deadlineMs;
    if (this.#timerAtMs <= this.#deadlineAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = this.#deadlineAtMs;
    const ms = Math.min(Math.max(1, Math.ceil(deadlineMs)), timerMsMax);
    this.#timer = setTimeout(() => this.#onTimer(), ms);
  }

  #onTimer(): void {
    this.#timerAtMs = Infinity;
    if (this.#expire === undefined) return;
    const leftMs = this.#deadlineAtMs - performance.now();
    if (leftMs <= 0) this.#expire(late);
    else this.#arm(leftMs);
  }
}
