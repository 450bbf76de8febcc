/** Simulated time, dice and network for the ring: one seed gives one run, event by event. */
import type { Address } from "../../src/shared/ids.js";
import { EventHeap, type Timed } from "./event-heap.js";

/** mulberry32: small, fast, good enough to draw events from. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Event extends Timed {
  readonly settles: boolean;
  run: (() => void) | undefined;
}

/** Events in order of time; those of the same moment in the order in which they were scheduled. */
export class SimulatedClock {
  nowMs = 0;
  #order = 0;
  readonly #events = new EventHeap<Event>();

  /**
   * @param settles false: `run` settles no promise, so that nothing has to be waited for after it.
   * @returns cancels it
   */
  after(ms: number, run: () => void, settles = true): () => void {
    const atMs = this.nowMs + Math.max(0, ms);
    const event: Event = { atMs, order: this.#order++, settles, run };
    this.#events.push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Runs all events of the next `ms`; what each of them awaits settles before the next one. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const next = this.#events.first;
      if (next === undefined || next.atMs > untilMs) break;
      this.#events.pop();
      if (next.run === undefined) continue;
      this.nowMs = next.atMs;
      next.run();
      if (!next.settles) continue;
      // A macrotask: every promise reaction that the event caused has run when it comes.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    this.nowMs = untilMs;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** One end of the network. A node that is restarted is a new one. */
export interface Endpoint {
  readonly addr: Address;
  up: boolean;
  handle(message: unknown): unknown;
}

/** Uniform in [min, max). */
export function uniform(random: () => number, min: number, max: number): () => number {
  return () => min + random() * (max - min);
}

export function exponential(random: () => number, mean: number): () => number {
  return () => -mean * Math.log(1 - random());
}

interface NetworkOptions {
  readonly clock: SimulatedClock;
  readonly random: () => number;
  /** Draws how long one message takes, one way. */
  readonly latencyMs: () => number;
  /** Share of calls to a dead node that fail at once (connection refused); the others time out. */
  readonly refusedShare: number;
}

export class SimulatedNetwork {
  readonly #options: NetworkOptions;
  readonly #endpoints = new Map<Address, Endpoint>();
  /** Which calls get through; a partition sets it. */
  isConnected: (a: Address, b: Address) => boolean = () => true;
  /** Told when a call reaches a live node, with its reply, or would reach it if it were alive. */
  onDecided: (caller: Endpoint, addr: Address, request: unknown, reply?: unknown) => void = () =>
    undefined;
  calls = 0;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  attach(endpoint: Endpoint): void {
    this.#endpoints.set(endpoint.addr, endpoint);
  }

  call(caller: Endpoint, addr: Address, message: unknown, deadlineMs: number): Promise<unknown> {
    const { clock, random, refusedShare, latencyMs } = this.#options;
    this.calls += 1;
    return new Promise((resolve, reject) => {
      const outMs = latencyMs();
      const fail = (ms: number): void => {
        this.onDecided(caller, addr, message);
        clock.after(ms, () => caller.up && reject(new Error("unreachable")));
      };
      const arrive = (): void => {
        const target = this.#endpoints.get(addr);
        const isCut = !this.isConnected(caller.addr, addr);
        if (target?.up !== true || isCut) {
          // Who is dead refuses or is silent; a cut cable is always silent.
          const isRefused = !isCut && random() < refusedShare;
          return fail(isRefused ? latencyMs() : deadlineMs - outMs);
        }
        const reply = target.handle(message);
        const backMs = latencyMs();
        // An answer that comes too late is none, though the question was heard.
        if (outMs + backMs > deadlineMs) return fail(deadlineMs - outMs);
        this.onDecided(caller, addr, message, reply);
        clock.after(backMs, () => caller.up && resolve(reply));
      };
      clock.after(outMs, arrive, false);
    });
  }
}
