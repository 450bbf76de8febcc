/** Time of a simulation: events in their order, and all that follows from one before the next. */
import type { LinkClock } from "../../src/sdk/link/ports.js";

interface Event {
  readonly atMs: number;
  readonly number: number;
  readonly run: () => void;
  isCancelled: boolean;
}

export interface Haste {
  /** The clock goes on by so much between two looks at it; less than a millisecond is not seen each time. */
  readonly lookMs?: number;
  /** Below 1. Timers run so much too early: those of Node are of another clock, whose milliseconds begin elsewhere. */
  readonly earlyMs?: number;
}

export class SimulatedTime implements LinkClock {
  readonly #haste: Required<Haste>;
  #now = 1_700_000_000_000;
  #number = 0;
  /** A heap by time, then by number. */
  readonly #events: Event[] = [];

  constructor(haste: Haste = {}) {
    this.#haste = { lookMs: 0, earlyMs: 0, ...haste };
  }

  nowMs(): number {
    this.#now += this.#haste.lookMs;
    return Math.floor(this.#now);
  }

  after(ms: number, run: () => void): () => void {
    const { earlyMs } = this.#haste;
    const event = {
      atMs: this.#now + (earlyMs === 0 ? Math.max(0, ms) : wholeMs(ms) - earlyMs),
      number: this.#number++,
      run,
      isCancelled: false,
    };
    this.#push(event);
    return () => {
      event.isCancelled = true;
    };
  }

  /** False when nothing happens until then. */
  async step(untilMs: number): Promise<boolean> {
    for (;;) {
      const event = this.#events[0];
      if (!event || event.atMs > untilMs) return false;
      this.#pop();
      if (event.isCancelled) continue;
      this.#now = Math.max(this.#now, event.atMs);
      event.run();
      // Promises that follow from it are all run before the next turn.
      await new Promise((resolve) => setImmediate(resolve));
      return true;
    }
  }

  async run(untilMs: number, isOver: () => boolean = () => false): Promise<void> {
    while (!isOver() && (await this.step(untilMs)));
    if (!isOver()) this.#now = Math.max(this.#now, untilMs);
  }

  /** Goes on until it is settled: what is awaited may itself wait for an fsync that takes time. */
  async until<T>(awaited: Promise<T>): Promise<T> {
    let isSettled = false;
    const note = (): void => void (isSettled = true);
    awaited.then(note, note);
    while (!isSettled) {
      if (!(await this.step(Infinity))) await new Promise((resolve) => setImmediate(resolve));
    }
    return awaited;
  }

  #push(event: Event): void {
    const heap = this.#events;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up] as Event;
      if (!isBefore(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#events;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event))
        child += 1;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

/** As Node takes it. */
const wholeMs = (ms: number): number => Math.max(1, Math.trunc(ms));

const isBefore = (a: Event, b: Event): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number);
