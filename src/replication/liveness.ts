/**
 * Who has gone quiet. Silence is counted in ticks of this node, not in time: a node that was frozen
 * itself finds one tick more when it wakes, not a ring in which all others are silent.
 */
import type { MemberUuid } from "../shared/ids.js";

/**
 * Between four and five ticks of 250 ms: 1 to 1.25 s. Two beats in a row have to be missing, so a
 * pause of the other's event loop of half a second is not taken for silence; and a client that
 * waits for a frozen member waits no longer than this.
 */
const quietTicks = 5;
const tickMs = 250;

export class Liveness {
  /** Ticks since a member was heard. Members that are not on the roster are not here. */
  private ticks = new Map<MemberUuid, number>();
  private readonly waiting = new Map<MemberUuid, Set<() => void>>();
  /** What this node waits for of itself, and for how many ticks more. */
  private readonly own = new Map<() => void, number>();

  heard(uuid: MemberUuid): void {
    this.ticks.set(uuid, 0);
  }

  /**
   * `others`: everybody on the roster but this node. Who was never heard counts from its first tick.
   * Answers who has gone quiet with this tick.
   */
  tick(others: readonly MemberUuid[]): readonly MemberUuid[] {
    const ticks = new Map<MemberUuid, number>();
    for (const uuid of others) ticks.set(uuid, (this.ticks.get(uuid) ?? 0) + 1);
    this.ticks = ticks;
    for (const [uuid, runs] of [...this.waiting]) {
      if (!this.isQuiet(uuid)) continue;
      this.waiting.delete(uuid);
      for (const run of runs) run();
    }
    for (const [run, left] of [...this.own]) {
      this.own.set(run, left - 1);
      if (left > 1) continue;
      this.own.delete(run);
      run();
    }
    return others.filter((uuid) => ticks.get(uuid) === quietTicks);
  }

  isQuiet(uuid: MemberUuid): boolean {
    return (this.ticks.get(uuid) ?? 0) >= quietTicks;
  }

  /** Runs `run` once when so much time has gone by, about, and not while this node is frozen; the answer takes that back. */
  after(ms: number, run: () => void): () => void {
    this.own.set(run, Math.ceil(ms / tickMs));
    return () => this.own.delete(run);
  }

  /** Runs `run` once when the member goes quiet; the answer takes that back. */
  whenQuiet(uuid: MemberUuid, run: () => void): () => void {
    const runs = this.waiting.get(uuid) ?? new Set();
    this.waiting.set(uuid, runs.add(run));
    return () => {
      runs.delete(run);
      if (runs.size === 0 && this.waiting.get(uuid) === runs) this.waiting.delete(uuid);
    };
  }
}
