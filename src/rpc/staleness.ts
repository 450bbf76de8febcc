/**
 * How long frames of one stream lay unread. A process that was frozen cannot know it, but the
 * sender's clock in each frame tells: the clocks of both sides differ by a constant, so a frame
 * whose difference exceeds the least one seen by d was delivered d later than the quickest one.
 *
 * The least difference is kept over two windows, so that clocks that drift apart (50 ppm are 6 ms
 * in two minutes) do not make everything look late on a stream that lives for months.
 */
export class DelayMeter {
  #leastMs = Number.POSITIVE_INFINITY;
  #leastBeforeMs = Number.POSITIVE_INFINITY;
  #windowEndMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly windowMs = 60_000) {}

  /** Milliseconds that a frame sent at `sentMs` (sender's clock) came late, at `nowMs` (ours). */
  lateMs(sentMs: number, nowMs: number): number {
    const differenceMs = nowMs - sentMs;
    if (nowMs >= this.#windowEndMs) {
      this.#leastBeforeMs = this.#leastMs;
      this.#leastMs = differenceMs;
      this.#windowEndMs = nowMs + this.windowMs;
    } else this.#leastMs = Math.min(this.#leastMs, differenceMs);
    return differenceMs - Math.min(this.#leastMs, this.#leastBeforeMs);
  }
}
