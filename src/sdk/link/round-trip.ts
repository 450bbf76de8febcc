/** How long to wait for an acknowledgement that travels by mail and is looked for now and then. */
import type { Trip } from "../journal/records.js";

const hourMs = 3_600_000;
export const rtoMaxMs = 6 * hourMs;
/** What a receiver may wait between what it journaled and its acknowledgement. */
const ackDelayMs = 1_000;
/** Before anything was measured: a mail and the answer to it. */
const firstGuessMs = 10_000;

/** RFC 6298 with two more waits: the peer looks for mail only so often, and answers a little later. */
export class RoundTrip {
  #srttMs: number | undefined;
  #varianceMs = 0;
  peerPollMs = 15_000;
  #backoff = 0;

  /** `known`: of an earlier process. */
  constructor(
    private readonly ownPollMs: () => number,
    known?: Trip,
  ) {
    if (known === undefined) return;
    this.#srttMs = known.srttMs;
    this.#varianceMs = known.varianceMs;
    this.peerPollMs = known.peerPollMs;
  }

  /** For the next process, when that would wait twice as long or half as long with what is `known` to it. */
  news(known: Trip | undefined): Trip | undefined {
    if (this.#srttMs === undefined) return undefined;
    const ratio = this.baseMs / new RoundTrip(this.ownPollMs, known).baseMs;
    if (ratio < 2 && ratio > 0.5) return undefined;
    return { srttMs: this.#srttMs, varianceMs: this.#varianceMs, peerPollMs: this.peerPollMs };
  }

  measured(ms: number): void {
    if (this.#srttMs === undefined) {
      this.#srttMs = ms;
      this.#varianceMs = ms / 2;
      return;
    }
    this.#varianceMs = 0.75 * this.#varianceMs + 0.25 * Math.abs(this.#srttMs - ms);
    this.#srttMs = 0.875 * this.#srttMs + 0.125 * ms;
  }

  /** Without the doubling. */
  get baseMs(): number {
    const srttMs = this.#srttMs ?? firstGuessMs;
    const ms = srttMs + 4 * this.#varianceMs + this.peerPollMs + ackDelayMs;
    return Math.min(rtoMaxMs, Math.max(ms, 2 * this.peerPollMs, 2 * this.ownPollMs()));
  }

  get timeoutMs(): number {
    return Math.min(rtoMaxMs, this.baseMs * 2 ** this.#backoff);
  }

  expired(): void {
    this.#backoff = Math.min(this.#backoff + 1, 30);
  }

  progressed(): void {
    this.#backoff = 0;
  }
}
