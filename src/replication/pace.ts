/**
 * How fast this node copies from the others. Clients come first: copying has an upper bound in
 * octets a second and in fetches under way, and while this node serves clients every fetch is
 * followed by a rest as long as the fetch took.
 */
import type { Clock } from "./ports.js";

export interface PaceLimits {
  readonly octetsPerSecond: number;
  /** Fetches under way at a time. */
  readonly fetchesMax: number;
}

const defaultPace: PaceLimits = { octetsPerSecond: 32 * 1024 * 1024, fetchesMax: 4 };

/** So long after a client's work this node counts as busy. */
const busyMs = 200;
const restMsMax = 250;

export class Pace {
  private underWay = 0;
  private readonly waiting: (() => void)[] = [];
  /** When the octets fetched so far are paid for. */
  private paidMs = 0;
  private busyUntilMs = 0;

  constructor(
    private readonly clock: Clock,
    private readonly limits: PaceLimits = defaultPace,
  ) {}

  /** A client is being served. */
  noteForeground(): void {
    this.busyUntilMs = this.clock.monotonicMs() + busyMs;
  }

  /** Runs a fetch in its turn; `octetsOf` tells how large the answer was. */
  async run<T>(
    fetch: () => Promise<T>,
    octetsOf: (answer: T) => number,
    signal?: AbortSignal,
  ): Promise<T> {
    if (this.underWay < this.limits.fetchesMax) this.underWay += 1;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      const { clock } = this;
      const waitMs = this.paidMs - clock.monotonicMs();
      if (waitMs > 0) await clock.sleep(waitMs, signal);
      const beganMs = clock.monotonicMs();
      const answer = await fetch();
      const nowMs = clock.monotonicMs();
      const costMs = (octetsOf(answer) / this.limits.octetsPerSecond) * 1_000;
      this.paidMs = Math.max(this.paidMs, beganMs) + costMs;
      const restMs = nowMs < this.busyUntilMs ? Math.min(nowMs - beganMs, restMsMax) : 0;
      if (restMs > 0) await clock.sleep(restMs, signal);
      return answer;
    } finally {
      this.next();
    }
  }

  /** Hands the turn to whoever waits. */
  private next(): void {
    const first = this.waiting.shift();
    if (first) first();
    else this.underWay -= 1;
  }
}
