/** Paced by what the mail server allows: each refusal for now makes the next pause longer. */
import type { Verdict } from "./replies.js";

const pauseMinMs = 1_000;
const pauseMaxMs = 10 * 60_000;

export class Pace {
  #pausedUntilMs = 0;
  #pauses = 0;
  #trouble: string | undefined;

  get pausedUntilMs(): number {
    return this.#pausedUntilMs;
  }

  /** Why the last mail was not taken, if it was not. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Another server may be less busy, or the same one works again. */
  reset(): void {
    this.#pausedUntilMs = 0;
    this.#pauses = 0;
    this.#trouble = undefined;
  }

  note(verdict: Verdict, nowMs: number): void {
    const { kind } = verdict;
    if (kind !== "later" && kind !== "unknown" && kind !== "early") return this.reset();
    this.#trouble = kind === "early" ? undefined : verdict.why;
    const ms = Math.min(pauseMaxMs, pauseMinMs * 2 ** Math.min(this.#pauses, 20));
    // What the server wants first is sent at once, the first time.
    if (kind !== "early" || this.#pauses > 0) this.#pausedUntilMs = nowMs + ms;
    this.#pauses += 1;
  }
}
