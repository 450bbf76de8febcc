/** Simulated time, and dice by name: one seed gives one run, event by event. */
import { createHash } from "node:crypto";
import { seededRandom } from "./ring-network.js";

interface Event {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/** Events between two real turns of the event loop, so that what runs the test is heard. */
const eventsPerTurn = 5_000;

/**
 * Resolves when every promise reaction that can run has run. A tick comes when the microtasks are
 * through; it costs a tenth of a `setImmediate`. Nothing in the simulation may use real timers,
 * immediates or I/O.
 */
const settled = (): Promise<void> =>
  new Promise((resolve) => queueMicrotask(() => process.nextTick(resolve)));

/** Events in order of time; those of the same moment in the order in which they were scheduled. */
export class SimulationClock {
  nowMs = 0;
  #order = 0;
  #run = 0;
  readonly #heap: Event[] = [];

  /** @returns cancels it */
  after(ms: number, run: () => void): () => void {
    const event: Event = { atMs: this.nowMs + Math.max(0, ms), order: this.#order++, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Runs all events of the next `ms`; what each of them awaits settles before the next one. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    await settled();
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#pop();
      if (next.run === undefined) continue;
      this.nowMs = next.atMs;
      next.run();
      await settled();
      this.#run += 1;
      if (this.#run % eventsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    this.nowMs = untilMs;
  }

  /** Runs events until `work` has settled. */
  async until<T>(work: Promise<T>, withinMs: number): Promise<T> {
    let done = false;
    const end = (): void => {
      done = true;
    };
    work.then(end, end);
    for (let waitedMs = 0; waitedMs < withinMs; waitedMs += 50) {
      await this.advance(done ? 0 : 50);
      if (done) return work;
    }
    throw new Error(`not settled within ${withinMs} ms`);
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isEarlier(event, above)) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      let least = left;
      if (right !== undefined && left !== undefined && isEarlier(right, left)) {
        least = right;
        child += 1;
      }
      if (least === undefined || !isEarlier(least, last)) break;
      heap[i] = least;
      i = child;
    }
    heap[i] = last;
  }
}

function isEarlier(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Dice of their own for each name, so that what one part draws does not change the others'. */
export function diceFor(seed: number, name: string): Dice {
  const start = createHash("sha1").update(`${seed} ${name}`).digest().readUInt32BE(0);
  return new Dice(seededRandom(start));
}

export class Dice {
  constructor(readonly next: () => number) {}

  between(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  /** True in `share` of the cases. */
  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.next() * from.length)];
  }

  integer(below: number): number {
    return Math.floor(this.next() * below);
  }
}
