/**
 * Who talked before the greeting. RFC 5321 §4.3.1 has the client wait; mass mailers don't, and
 * what they send comes right behind the connection's last handshake packet. So a few milliseconds
 * are enough to see it, and only an address that did it before is made to wait longer.
 */
import type { SmtpLimits } from "./limits.js";

/** Addresses remembered; the oldest are forgotten first. */
const talkersMax = 10_000;

type HoldLimits = Pick<SmtpLimits, "greetingHoldMs" | "earlyTalkerHoldMs" | "earlyTalkerMemoryMs">;

export class EarlyTalkers {
  readonly #limits: HoldLimits;
  readonly #lastSeenMs = new Map<string, number>();

  constructor(limits: HoldLimits) {
    this.#limits = limits;
  }

  note(address: string, nowMs: number): void {
    // One careless program must not slow down all the others of this host.
    if (isLoopback(address)) return;
    this.#lastSeenMs.delete(address);
    this.#lastSeenMs.set(address, nowMs);
    if (this.#lastSeenMs.size <= talkersMax) return;
    for (const oldest of this.#lastSeenMs.keys()) {
      this.#lastSeenMs.delete(oldest);
      break;
    }
  }

  /** How long to hold the greeting back. */
  holdMs(address: string, nowMs: number): number {
    const seenMs = this.#lastSeenMs.get(address);
    if (seenMs === undefined) return this.#limits.greetingHoldMs;
    if (nowMs - seenMs < this.#limits.earlyTalkerMemoryMs) return this.#limits.earlyTalkerHoldMs;
    this.#lastSeenMs.delete(address);
    return this.#limits.greetingHoldMs;
  }
}

export function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.") || address.startsWith("::ffff:127.");
}
