/** Simulated time, and dice by name: one seed gives one run, event by event. */
import { createHash } from "node:crypto";
import { EventHeap, type Timed } from "./event-heap.js";
import { seededRandom } from "./ring-network.js";

interface Event extends Timed {
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

/** How the clocks and timers of processes are. */
export interface Haste {
  /** Time goes on by so much when a process looks at its clock; less than a millisecond is not seen each time. */
  readonly lookMs: number;
  /** Below 1. Timers run so much too early: those of Node are of another clock, whose milliseconds begin elsewhere. */
  readonly earlyMs: number;
}

/** Of dice of its own, so that nothing else is drawn otherwise. */
export function hasteFor(seed: number): Haste {
  const dice = diceFor(seed, "haste");
  return { lookMs: dice.pick([0, 0.03, 0.3, 0.7]) ?? 0, earlyMs: dice.pick([0, 0.5, 0.95]) ?? 0 };
}

/** As Node takes it. */
const wholeMs = (ms: number): number => Math.max(1, Math.trunc(ms));

/** Events in order of time; those of the same moment in the order in which they were scheduled. */
export class SimulationClock {
  nowMs = 0;
  #order = 0;
  #run = 0;
  readonly #events = new EventHeap<Event>();

  constructor(private readonly haste?: Haste) {}

  /** What a process sees. */
  look(): number {
    this.nowMs += this.haste?.lookMs ?? 0;
    return this.nowMs;
  }

  /** How long a process waits that has set a timer. */
  timer(ms: number): number {
    return this.haste ? wholeMs(ms) - this.haste.earlyMs : ms;
  }

  /** @returns cancels it */
  after(ms: number, run: () => void): () => void {
    const event: Event = { atMs: this.nowMs + Math.max(0, ms), order: this.#order++, run };
    this.#events.push(event);
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
      const next = this.#events.first;
      if (next === undefined || next.atMs > untilMs) break;
      this.#events.pop();
      if (next.run === undefined) continue;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
      await settled();
      this.#run += 1;
      if (this.#run % eventsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
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
