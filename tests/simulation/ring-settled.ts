/** Rings that are put up in their final state: exact successor lists and fingers, no joining. */
import { createRing } from "../../src/ring/actor.js";
import { fingerStart } from "../../src/ring/fingers.js";
import { distance } from "../../src/ring/identifier.js";
import type { LookupResult } from "../../src/ring/lookup.js";
import type { MemberRef } from "../../src/ring/member.js";
import type { Ring, RingPorts } from "../../src/ring/ports.js";
import { initialState, type RingState } from "../../src/ring/state.js";
import type { StepFunction } from "../../src/ring/step.js";
import type { Address, MemberUuid, RingId } from "../../src/shared/ids.js";
import { successorOf } from "./ring-ideal.js";
import {
  type Endpoint,
  exponential,
  seededRandom,
  SimulatedClock,
  SimulatedNetwork,
} from "./ring-network.js";

/** Uniform in [0, 2^bits). */
export function randomId(random: () => number, bits: number): RingId {
  let id = 0n;
  for (let i = 0; i < bits; i += 32) id = (id << 32n) | BigInt(Math.floor(random() * 2 ** 32));
  return (id & ((1n << BigInt(bits)) - 1n)) as RingId;
}

/** Ascending, none twice. */
function randomIds(random: () => number, bits: number, count: number): readonly RingId[] {
  const drawn = new Set<RingId>();
  while (drawn.size < count) drawn.add(randomId(random, bits));
  return [...drawn].sort((a, b) => (a < b ? -1 : 1));
}

/** The states of a stabilized ring with these ids (ascending, two or more), in their order. */
function settledStates(
  ids: readonly RingId[],
  bits: number,
  listLength: number,
): readonly RingState[] {
  const refs = ids.map((id, i): MemberRef => {
    return { id, addr: `n${i}:5000` as Address, uuid: `uuid-${i}` as MemberUuid };
  });
  const byId = new Map(refs.map((ref) => [ref.id as bigint, ref]));
  const at = (i: number): MemberRef => {
    const ref = refs[(i + refs.length) % refs.length];
    if (ref === undefined) throw new Error(`no member ${i}`);
    return ref;
  };
  return refs.map((self, i) => {
    const length = Math.min(listLength, refs.length - 1);
    const successors = Array.from({ length }, (_, k) => at(i + k + 1));
    const parameters = { bits, replicas: listLength - 1 };
    const near = distance(self.id, at(i + 1).id, bits);
    const fingers = Array.from({ length: bits }, (_, k) => {
      // Nearly all fingers start before the first successor.
      if (1n << BigInt(k) <= near) return at(i + 1);
      return byId.get(successorOf(fingerStart(self.id, k, bits), ids));
    });
    return {
      ...initialState({ self, parameters, listLength, known: [] }),
      ...{ member: true, predecessor: at(i - 1), successors, fingers },
    };
  });
}

const neverMs = 1e12;
const quiet = (): void => undefined;

interface SettledLookup {
  readonly key: RingId;
  readonly result: LookupResult;
  /** Who was asked in vain, in order. */
  readonly silent: readonly RingId[];
}

/**
 * Real members over a simulated network, with stabilization stopped: their states never change, so
 * that no lookup learns from an earlier one (Chord, ToN 2003, §VI-D). The dead do not answer.
 */
export class SettledRing {
  readonly random: () => number;
  readonly #states: readonly RingState[];
  readonly #clock = new SimulatedClock();
  readonly #network: SimulatedNetwork;
  readonly #ids: ReadonlyMap<Address, RingId>;
  /** Of the live members, ascending. */
  readonly live: readonly bigint[];

  /** @param options.deadShare of the members, drawn at random. */
  constructor(options: {
    readonly seed: number;
    readonly members: number;
    readonly bits: number;
    readonly listLength: number;
    readonly deadShare?: number;
  }) {
    const { seed, members, bits, listLength, deadShare = 0 } = options;
    this.random = seededRandom(seed);
    const { random } = this;
    this.#network = new SimulatedNetwork({
      ...{ clock: this.#clock, random, refusedShare: 0 },
      latencyMs: exponential(random, 5),
    });
    const all = settledStates(randomIds(random, bits, members), bits, listLength);
    this.#ids = new Map(all.map(({ self }) => [self.addr, self.id]));
    const count = Math.round(members * deadShare);
    const dead = new Set(shuffled(all, random).slice(0, count));
    this.#states = all.filter((state) => !dead.has(state));
    this.live = this.#states.map((state) => state.self.id);
    for (const state of this.#states) this.#boot(state);
  }

  /** From random live members, all at the same time; results in the order of the keys. */
  async lookups(keys: readonly RingId[]): Promise<readonly SettledLookup[]> {
    const lookups = keys.map(async (key) => {
      const state = this.#states[Math.floor(this.random() * this.#states.length)];
      if (state === undefined) throw new Error("nobody is left");
      const silent: RingId[] = [];
      // A member of its own for each lookup, so that it remembers nobody's silence.
      const ring = this.#boot(state, (addr) => silent.push(this.#ids.get(addr) ?? (0n as RingId)));
      return { key, silent, result: await ring.lookup(key) };
    });
    await this.#clock.advance(1_000_000);
    return Promise.all(lookups);
  }

  #boot(settled: RingState, onSilent: (addr: Address) => void = quiet): Ring {
    const { self, parameters, listLength } = settled;
    const frozen: StepFunction = (state, input) => {
      return { state: input.kind === "first" ? settled : state, effects: [] };
    };
    const endpoint: Endpoint = { addr: self.addr, up: true, handle: quiet };
    const call: RingPorts["call"] = async (addr, message, { deadlineMs }) => {
      try {
        return await this.#network.call(endpoint, addr, message, deadlineMs);
      } catch (error) {
        onSilent(addr);
        throw error;
      }
    };
    const ring = createRing(
      {
        ...{ self, parameters, successorListLength: listLength, step: frozen },
        ...{ stabilizeIntervalMs: neverMs, fingerIntervalMs: neverMs, cacheIntervalMs: neverMs },
      },
      {
        call,
        setTimer: (ms, run) => this.#clock.after(ms, run),
        random: this.random,
        persistCache: quiet,
        log: { debug: quiet, info: quiet, warn: quiet, error: console.error },
      },
    );
    endpoint.handle = (message) => ring.handle(message);
    this.#network.attach(endpoint);
    void ring.start({ kind: "first" });
    return ring;
  }
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  return list
    .map((item) => ({ item, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
}
