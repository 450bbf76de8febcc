/** Lookups while members come and crash (Chord, ToN 2003, §VI-E), all by the real protocol. */
import type { LookupResult } from "../src/ring/lookup.js";
import type { MemberRef } from "../src/ring/member.js";
import type { StartMode } from "../src/ring/ports.js";
import type { RingId } from "../src/shared/ids.js";
import { exponential } from "../tests/simulation/ring-network.js";
import { randomId } from "../tests/simulation/ring-settled.js";
import { RingWorld, type SimulatedMember } from "../tests/simulation/ring-world.js";
import { type Spread, spreadOf } from "./chord-format.js";
import { hopsOf } from "./chord-paths.js";

/** The simulation's invariant counts with doubles. */
const bits = 48;
const stabilizeMs = 30_000;
/** The ring grows by a tenth of itself in each of these times, */
const growMs = stabilizeMs;
/** and is left alone until it is whole, for this time at the most. */
const settleMs = 1_800_000;

export interface ChurnOptions {
  readonly seed: number;
  readonly members: number;
  readonly listLength: number;
  /** Joins per second, and as many crashes. */
  readonly rate: number;
  readonly lookups: number;
  /** Simulated time of churn before the first lookup. */
  readonly warmUpMs: number;
  readonly onProgress?: (done: number) => void;
}

export interface ChurnReport {
  readonly hops: Spread;
  readonly timeouts: Spread;
  readonly lookups: number;
  /** Ended with another member than the right one. */
  readonly wrong: number;
  /** Ended without an owner. */
  readonly none: number;
  /** Lookups that ended with the crash of the member that asked; not among the others. */
  readonly orphaned: number;
  readonly joins: number;
  readonly crashes: number;
  readonly live: number;
}

export async function churn(options: ChurnOptions): Promise<ChurnReport> {
  const run = new Churn(options);
  await run.grow();
  return run.measure();
}

class Churn {
  readonly #options: ChurnOptions;
  readonly #world: RingWorld;
  /** Those who are up, in the ring or on the way into it, with their ids. */
  readonly #up = new Map<SimulatedMember, number>();
  readonly #hops: number[] = [];
  readonly #timeouts: number[] = [];
  readonly #asked = new Set<{ readonly by: SimulatedMember }>();
  readonly #counts = { wrong: 0, none: 0, orphaned: 0, joins: 0, crashes: 0 };

  constructor(options: ChurnOptions) {
    this.#options = options;
    this.#world = new RingWorld({
      ...{ seed: options.seed, bits, replicas: 2, listLength: options.listLength },
      ...{ latencyMeanMs: 50, refusedShare: 0 },
      ring: {
        ...{ stabilizeIntervalMs: stabilizeMs, fingerIntervalMs: stabilizeMs },
        ...{ intervalJitter: 0.5, callDeadlineMs: 500 },
        // The search for split rings through the member cache is no part of the paper's protocol.
        cacheIntervalMs: 1e12,
      },
    });
  }

  /** From one member to a whole ring, by the protocol. */
  async grow(): Promise<void> {
    const { members } = this.#options;
    this.#add({ kind: "first" });
    while (this.#up.size < members) {
      await this.#world.run(Math.min(growMs / 2, (10 * growMs) / this.#up.size));
      this.#join();
    }
    for (let ms = 0; !this.#world.invariant.established; ms += stabilizeMs) {
      if (ms > settleMs) throw new Error(`seed ${this.#options.seed}: the ring does not settle`);
      await this.#world.run(stabilizeMs);
    }
  }

  async measure(): Promise<ChurnReport> {
    const { rate, lookups, warmUpMs, onProgress } = this.#options;
    const { random } = this.#world;
    this.#poisson(1_000 / rate, () => this.#join());
    this.#poisson(1_000 / rate, () => this.#crash());
    await this.#world.run(warmUpMs);
    Object.assign(this.#counts, { joins: 0, crashes: 0 });
    this.#poisson(1_000, () => {
      if (this.#done + this.#asked.size < lookups) this.#lookup(randomId(random, bits));
    });
    while (this.#done < lookups) {
      await this.#world.run(10_000);
      onProgress?.(this.#done);
    }
    const { wrong, none, ...counts } = this.#counts;
    const timeouts = spreadOf(this.#timeouts);
    const live = this.#up.size;
    return { ...{ hops: spreadOf(this.#hops), timeouts, lookups, wrong, none }, ...counts, live };
  }

  get #done(): number {
    return this.#timeouts.length;
  }

  /** Again and again, with exponential pauses. */
  #poisson(meanMs: number, run: () => void): void {
    const pauseMs = exponential(this.#world.random, meanMs);
    const again = (): void => {
      run();
      this.#world.clock.after(pauseMs(), again);
    };
    this.#world.clock.after(pauseMs(), again);
  }

  #pickLive(): SimulatedMember | undefined {
    const live = [...this.#up.keys()].filter(({ life }) => life.up && life.joined);
    return this.#world.pick(live);
  }

  #join(): void {
    const entry = this.#pickLive();
    if (entry === undefined) return;
    this.#counts.joins += 1;
    this.#add({ kind: "join", entries: [entry.ref.addr] });
  }

  #add(mode: StartMode): void {
    const member = this.#world.add(mode);
    this.#up.set(member, Number(member.ref.id));
  }

  #crash(): void {
    const victim = this.#pickLive();
    if (victim === undefined) return;
    this.#counts.crashes += 1;
    this.#world.crash(victim);
    this.#up.delete(victim);
    for (const asked of this.#asked) {
      if (asked.by !== victim) continue;
      this.#asked.delete(asked);
      this.#counts.orphaned += 1;
    }
  }

  /** The live member at or after the key. */
  #ownerOf(key: RingId): MemberRef | undefined {
    const from = Number(key);
    let nearest = Number.POSITIVE_INFINITY;
    let owner: SimulatedMember | undefined;
    for (const [member, id] of this.#up) {
      if (!member.life.up || !member.life.joined) continue;
      const steps = id >= from ? id - from : id - from + 2 ** bits;
      if (steps >= nearest) continue;
      nearest = steps;
      owner = member;
    }
    return owner?.ref;
  }

  #lookup(key: RingId): void {
    const by = this.#pickLive();
    if (by === undefined) return;
    const asked = { by };
    this.#asked.add(asked);
    const atStart = this.#ownerOf(key);
    void by.life.ring.lookup(key).then((result) => {
      if (this.#asked.delete(asked)) this.#judge(result, [atStart, this.#ownerOf(key)]);
    });
  }

  #judge(result: LookupResult, right: readonly (MemberRef | undefined)[]): void {
    this.#timeouts.push(result.timeouts);
    if (!result.ok) this.#counts.none += 1;
    else {
      this.#hops.push(hopsOf(result));
      if (!right.some((owner) => owner?.uuid === result.owner.uuid)) this.#counts.wrong += 1;
    }
  }
}
