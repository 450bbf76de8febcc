/**
 * One member's memory of tries to log in. A try is noted here before a password is checked, and
 * taken back when it was the right one; what is left are the wrong ones of the last minutes.
 * In memory only: a restart forgets. See `mailbox/tries.ts` for what follows from that.
 */
import type { Clock } from "./ports.js";

export interface NotedTry {
  readonly id: string;
  readonly ageMs: number;
}

export interface TryBounds {
  /** A try counts for so long. */
  readonly windowMs: number;
  /** No more of one key are noted; 0: none, it is only a question. */
  readonly max: number;
}

const idOctetsMax = 32;
const keyOctetsMax = 512;

export class TryTable {
  /** Keys in the order of their last use; each with the moments of its tries, oldest first. */
  private readonly byKey = new Map<string, Map<string, number>>();

  constructor(
    private readonly clock: Pick<Clock, "monotonicMs">,
    private readonly keysMax = 50_000,
  ) {}

  /**
   * Notes a try and answers all that count now. When `max` others do it is not among them: that is
   * as much as the asker needs to know. Noting it again changes nothing.
   */
  note(key: string, id: string, { windowMs, max }: TryBounds): readonly NotedTry[] {
    if (key.length > keyOctetsMax || id.length > idOctetsMax) throw new Error("no key of a try");
    const nowMs = this.clock.monotonicMs();
    const tries = this.byKey.get(key) ?? new Map<string, number>();
    for (const [other, atMs] of tries) if (nowMs - atMs >= windowMs) tries.delete(other);
    if (!tries.has(id) && tries.size < max) tries.set(id, nowMs);
    this.use(key, tries);
    return [...tries].map(([other, atMs]) => ({ id: other, ageMs: nowMs - atMs }));
  }

  /** The try was no wrong one. */
  release(key: string, id: string): void {
    const tries = this.byKey.get(key);
    tries?.delete(id);
    if (tries?.size === 0) this.byKey.delete(key);
  }

  get size(): number {
    return this.byKey.size;
  }

  /** The key that was not used for longest makes room. */
  private use(key: string, tries: Map<string, number>): void {
    this.byKey.delete(key);
    if (tries.size === 0) return;
    this.byKey.set(key, tries);
    for (const oldest of this.byKey.keys()) {
      if (this.byKey.size <= this.keysMax) break;
      this.byKey.delete(oldest);
    }
  }
}
