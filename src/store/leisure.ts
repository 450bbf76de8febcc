/** The pace of work that nobody waits for. */
import type { Leisure } from "./segment-scan.js";
import type { StoreSystem } from "./system.js";

/** So much at a time, then a rest of so many times as long. */
const sliceOctets = 512 * 1024;
const restsPerWork = 3;
const restMaxMs = 100;

/**
 * Members that hold the same have their segments full at the same time, and would all be busy at once: so a
 * compaction takes its time, unless so much waits that it would not come to an end.
 */
export class Unhurried implements Leisure {
  readonly sliceOctets = sliceOctets;
  #sinceMs: number;
  #isOver = false;
  #wake: () => void = () => undefined;

  constructor(
    private readonly system: Pick<StoreSystem, "nowMs" | "every" | "nextTurn">,
    private readonly isUrgent: () => boolean,
  ) {
    this.#sinceMs = system.nowMs();
  }

  readonly rest = async (): Promise<void> => {
    const { system } = this;
    const hurries = this.#isOver || this.isUrgent();
    const workedMs = hurries ? 0 : system.nowMs() - this.#sinceMs;
    await this.#sleep(Math.min(restsPerWork * workedMs, restMaxMs));
    this.#sinceMs = system.nowMs();
  };

  /** From now on there is no time. */
  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  #sleep(ms: number): Promise<void> {
    const { system } = this;
    return new Promise((resolve) => {
      if (ms < 1) return system.nextTurn(resolve);
      const stop = system.every(ms, () => this.#wake());
      this.#wake = () => {
        stop();
        resolve();
      };
    });
  }
}
