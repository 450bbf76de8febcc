/** How large a packet may be on the way to one receiver: what mail servers refuse for its size is cut smaller. */

const octetsMin = 4 * 1024;
/** After a refusal, until a larger one is tried; doubled each time that was in vain. */
const tryAfterMinMs = 600_000;
const tryAfterMaxMs = 86_400_000;

export class BlockSize {
  #octets: number;
  #tryAfterMs = tryAfterMinMs;
  #tryAtMs = Infinity;
  #isTrial = false;

  constructor(private readonly octetsMax: number) {
    this.#octets = octetsMax;
  }

  /** Limits change with the server and with whoever runs it, so a larger one is tried now and then (as RFC 4821 §7.5). */
  octetsAt(nowMs: number): number {
    if (nowMs < this.#tryAtMs) return this.#octets;
    this.#octets = Math.min(this.octetsMax, this.#octets * 2);
    this.#isTrial = true;
    this.#tryAtMs = this.#octets < this.octetsMax ? nowMs + this.#tryAfterMs : Infinity;
    return this.#octets;
  }

  /**
   * A packet of so many `octets` was refused, made when it might have had `octetsMax`. False when it can't be cut any
   * smaller.
   */
  refused(packet: { readonly octets: number; readonly octetsMax: number }, nowMs: number): boolean {
    const octets = Math.min(packet.octets, packet.octetsMax);
    if (octets <= octetsMin) return false;
    // Of several on their way, each is refused: that halves once.
    const smaller = Math.max(octetsMin, Math.floor(octets / 2));
    if (smaller >= this.#octets) return true;
    this.#octets = smaller;
    if (this.#isTrial) this.#tryAfterMs = Math.min(tryAfterMaxMs, this.#tryAfterMs * 2);
    this.#isTrial = false;
    this.#tryAtMs = nowMs + this.#tryAfterMs;
    return true;
  }
}
