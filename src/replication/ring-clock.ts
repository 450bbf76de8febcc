/**
 * The time that message ids are made of. A retry has to get a higher id than the mail it repeats,
 * also when another node takes it, and wall clocks may differ by years. So members tell each other
 * theirs, and all follow the one that is ahead (Lamport, "Time, clocks, and the ordering of events
 * in a distributed system", 1978). Nothing else depends on it; what mails say is the wall clock's.
 */
import type { Clock } from "./ports.js";

/** The year 6429. What claims to be later is no time, and would leave no room for later ids. */
const latestMs = 2 ** 47;

export class RingClock {
  /** Ahead of the monotonic clock, which no one sets, by so much. Never falls. */
  private aheadMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly clock: Clock) {}

  /** Milliseconds since 1970, by the clock that is ahead of all that were heard. Never goes back. */
  nowMs(): number {
    this.hear(this.clock.wallMs());
    return Math.floor(this.clock.monotonicMs() + this.aheadMs);
  }

  /** Somebody's clock shows `otherMs`. */
  hear(otherMs: number): void {
    if (!(otherMs < latestMs)) return;
    this.aheadMs = Math.max(this.aheadMs, otherMs - this.clock.monotonicMs());
  }
}
