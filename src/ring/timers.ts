import type { RingPorts } from "./ports.js";

/** The timers of one member; all end with `stop`. */
export class Timers {
  readonly #ports: Pick<RingPorts, "setTimer" | "random">;
  readonly #jitter: number;
  readonly #cancels = new Set<() => void>();
  #stopped = false;

  constructor(ports: Pick<RingPorts, "setTimer" | "random">, jitter: number) {
    this.#ports = ports;
    this.#jitter = jitter;
  }

  after(ms: number, run: () => void): void {
    this.#start(ms, run);
  }

  /** Again and again, each time after U[1 − jitter, 1 + jitter] × `ms`. */
  every(ms: number, run: () => void): void {
    const factor = 1 - this.#jitter + 2 * this.#jitter * this.#ports.random();
    this.#start(ms * factor, () => {
      run();
      this.every(ms, run);
    });
  }

  /** After `stop` it never resolves: whoever sleeps in a stopped member does nothing any more. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#start(ms, resolve));
  }

  /** The result of `work`, or a rejection after `ms`, or at once when stopped. */
  within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = this.#start(ms, () => reject(late()));
      const onStop = (): void => reject(late());
      this.#cancels.add(onStop);
      const settled = (): void => {
        this.#cancels.delete(onStop);
        cancel();
      };
      work.then(resolve, reject).finally(settled);
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  #start(ms: number, run: () => void): () => void {
    if (this.#stopped) return () => undefined;
    const cancel = this.#ports.setTimer(ms, () => {
      this.#cancels.delete(cancel);
      run();
    });
    this.#cancels.add(cancel);
    return () => {
      this.#cancels.delete(cancel);
      cancel();
    };
  }
}
