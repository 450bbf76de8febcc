/** A ring of real members (`createRing`) on simulated time and network, and what may befall it. */
import { createHash } from "node:crypto";
import { createRing } from "../../src/ring/actor.js";
import type { MemberRef } from "../../src/ring/member.js";
import { parseRingMessage } from "../../src/ring/message.js";
import { outcomeOf } from "../../src/ring/peers.js";
import type { Ring, RingOptions, StartMode } from "../../src/ring/ports.js";
import type { RingState } from "../../src/ring/state.js";
import { step, type StepFunction } from "../../src/ring/step.js";
import { targetOf } from "../../src/ring/turn.js";
import type { Address, MemberUuid, RingId } from "../../src/shared/ids.js";
import { type Listed, RingInvariant } from "./ring-invariant.js";
import {
  type Endpoint,
  exponential,
  seededRandom,
  SimulatedClock,
  SimulatedNetwork,
  uniform,
} from "./ring-network.js";

export interface WorldOptions {
  readonly seed: number;
  readonly bits: number;
  readonly replicas: number;
  readonly listLength: number;
  /** Delays are uniform from 1 ms to this, */
  readonly latencyMaxMs?: number;
  /** or exponential with this mean. */
  readonly latencyMeanMs?: number;
  /** Share of calls to the dead that fail at once. */
  readonly refusedShare?: number;
  /** Messages go through JSON text, as on the wire. */
  readonly viaJson?: boolean;
  readonly ring?: Partial<RingOptions>;
  /** A broken logic, made for each start of a member. */
  readonly step?: () => StepFunction;
  /** What a member answers instead. */
  readonly tamper?: (life: Life, request: unknown, reply: unknown) => unknown;
  /** False: members may be left without successors (kills without regard). */
  readonly checkInvariant?: boolean;
}

export interface SimulatedMember {
  readonly ref: MemberRef;
  /** Kept over restarts, as on disk. */
  cache: readonly MemberRef[];
  life: Life;
}

/** From one start to the next crash. */
export interface Life {
  readonly endpoint: Endpoint;
  readonly ring: Ring;
  readonly logic: StepFunction;
  up: boolean;
  /** `start` has resolved. */
  joined: boolean;
  /** `start` was rejected; it is started again in a moment. */
  isRetrying: boolean;
  /** What the logic knew at the last input. */
  state: RingState | undefined;
  /** The outcome of the running step is decided, and observed, but not known to its author yet. */
  isAhead: boolean;
}

export class RingWorld {
  readonly options: WorldOptions;
  readonly clock = new SimulatedClock();
  readonly random: () => number;
  readonly network: SimulatedNetwork;
  readonly invariant: RingInvariant;
  readonly members: SimulatedMember[] = [];
  readonly #hash = createHash("sha256");
  /** The first thing that went wrong. */
  failure: Error | undefined;
  changes = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    this.random = seededRandom(options.seed);
    this.network = new SimulatedNetwork({
      clock: this.clock,
      random: this.random,
      latencyMs:
        options.latencyMeanMs === undefined
          ? uniform(this.random, 1, options.latencyMaxMs ?? 20)
          : exponential(this.random, options.latencyMeanMs),
      refusedShare: options.refusedShare ?? 0.5,
    });
    this.network.onDecided = (caller, addr, request, reply) => {
      this.#onDecided(caller, addr, request, reply);
    };
    this.invariant = new RingInvariant(options.listLength);
  }

  /** A number that stands for everything that happened, in order. */
  traceHash(): string {
    return this.#hash.copy().digest("hex");
  }

  live(): SimulatedMember[] {
    return this.members.filter((member) => member.life.up && member.life.joined);
  }

  down(): SimulatedMember[] {
    return this.members.filter((member) => !member.life.up);
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.random() * list.length)];
  }

  /** A node under an id that none has had. */
  add(mode: StartMode): SimulatedMember {
    const id = this.#freshId();
    const index = this.members.length;
    const ref: MemberRef = {
      id,
      addr: `n${index}:5000` as Address,
      uuid: `uuid-${index}` as MemberUuid,
    };
    const member: SimulatedMember = { ref, cache: [], life: this.#boot(ref, []) };
    this.members.push(member);
    this.#start(member, mode);
    return member;
  }

  crash(member: SimulatedMember): void {
    const { life } = member;
    life.up = false;
    life.joined = false;
    life.endpoint.up = false;
    life.ring.stop();
    this.#trace("crash", member.ref.id);
    this.#checked(() => this.invariant.crashed(member.ref.uuid));
  }

  /** Again with the data that it had. */
  restart(member: SimulatedMember, mode: StartMode): void {
    member.life = this.#boot(member.ref, member.cache);
    this.#trace("restart", member.ref.id);
    this.#start(member, mode);
  }

  async run(ms: number): Promise<void> {
    await this.clock.advance(ms);
    if (this.failure !== undefined) throw this.failure;
  }

  #boot(ref: MemberRef, cache: readonly MemberRef[]): Life {
    const { bits, replicas, listLength } = this.options;
    const logic = this.options.step?.() ?? step;
    const endpoint: Endpoint = { addr: ref.addr, up: true, handle: () => undefined };
    const ring = createRing(
      {
        self: ref,
        parameters: { bits, replicas },
        successorListLength: listLength,
        known: cache,
        ...this.options.ring,
        step: (state, input) => {
          const next = logic(state, input);
          life.state = next.state;
          if (input.kind === "outcome") life.isAhead = false;
          return next;
        },
        onChange: () => this.#onChange(this.#memberAt(endpoint)),
      },
      {
        call: (addr, message, { deadlineMs }) =>
          this.network.call(endpoint, addr, this.#onWire(message), deadlineMs),
        setTimer: (ms, run) => this.clock.after(ms, run),
        random: this.random,
        persistCache: (known) => {
          const member = this.#memberAt(endpoint);
          if (member !== undefined) member.cache = known;
        },
        log: this.#log(),
      },
    );
    const life: Life = {
      ...{ endpoint, ring, logic },
      ...{ up: true, joined: false, isRetrying: false, isAhead: false, state: undefined },
    };
    this.network.attach(endpoint);
    endpoint.handle = (message) => {
      const reply = ring.handle(message);
      const { tamper } = this.options;
      return this.#onWire(tamper === undefined ? reply : tamper(life, message, reply));
    };
    return life;
  }

  /** The member whose present life has this end of the network. */
  #memberAt(endpoint: Endpoint): SimulatedMember | undefined {
    const index = Number(endpoint.addr.slice(1, endpoint.addr.indexOf(":")));
    const member = this.members[index];
    return member?.life.endpoint === endpoint ? member : undefined;
  }

  /**
   * A step takes place when its query reaches the other member, dead or alive; its author learns
   * of it later. The invariant is about the ring in which every such step is done, so what the
   * author will write is worked out here, ahead of time.
   */
  #onDecided(caller: Endpoint, addr: Address, request: unknown, reply: unknown): void {
    const member = this.#memberAt(caller);
    const state = member?.life.state;
    const running = state?.running;
    if (member === undefined || state === undefined || running?.waiting !== true) return;
    const to = targetOf(running.operation);
    if (to.addr !== addr) return;
    const asked = parseRingMessage(request);
    if (!asked.ok || asked.message.kind !== "state") return;
    const answered = parseRingMessage(reply);
    const message = answered.ok && !("ring" in answered.message) ? answered.message : undefined;
    const outcome = outcomeOf(message, to);
    if (outcome.kind === "pending") return;
    const { logic, up } = member.life;
    const next = logic(state, { kind: "outcome", outcome }).state;
    if (!up) return;
    member.life.isAhead = true;
    this.#observe(member, next.member, next.successors);
  }

  #observe(member: SimulatedMember, isMember: boolean, list: readonly MemberRef[]): void {
    if (!isMember) return;
    const { uuid, id } = member.ref;
    const listed: Listed[] = list.map((entry) => ({ id: Number(entry.id), uuid: entry.uuid }));
    this.#checked(() => {
      if (this.invariant.isMember(uuid)) this.invariant.changed(uuid, listed);
      else this.invariant.joined(Number(id), uuid, listed);
    });
  }

  #onWire(message: unknown): unknown {
    return this.options.viaJson === true ? JSON.parse(JSON.stringify(message)) : message;
  }

  #start(member: SimulatedMember, mode: StartMode): void {
    const { life } = member;
    life.ring.start(mode).then(
      () => {
        life.joined = life.up;
      },
      (error: unknown) => {
        if (member.life !== life || !life.up) return;
        // As an operator would: again after a while, through whoever is there then.
        this.#trace(`start failed: ${String(error)}`, member.ref.id);
        this.crash(member);
        life.isRetrying = true;
        this.clock.after(1_000, () => {
          if (member.life === life) this.restart(member, this.#retryMode(mode));
        });
      },
    );
  }

  #retryMode(mode: StartMode): StartMode {
    const entry = this.pick(this.live());
    return entry === undefined ? mode : { kind: "join", entries: [entry.ref.addr] };
  }

  #onChange(member: SimulatedMember | undefined): void {
    if (member === undefined) return;
    const view = member.life.ring.snapshot();
    this.changes += 1;
    const list = view.successors.map((entry) => entry.id).join(" ");
    this.#trace(`${view.predecessor?.id} | ${list}`, member.ref.id);
    if (!member.life.isAhead) this.#observe(member, view.member, view.successors);
  }

  #checked(check: () => void): void {
    if (this.options.checkInvariant === false) return;
    try {
      check();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.failure ??= new Error(
        `seed ${this.options.seed}, ${this.clock.nowMs.toFixed(1)} ms: ${text}`,
        { cause: error },
      );
    }
  }

  #trace(text: string, id: RingId): void {
    this.#hash.update(`${this.clock.nowMs} ${id} ${text}\n`);
  }

  #freshId(): RingId {
    const range = 2 ** this.options.bits;
    for (;;) {
      const id = BigInt(Math.floor(this.random() * range)) as RingId;
      if (!this.members.some((member) => member.ref.id === id)) return id;
    }
  }

  #log() {
    const quiet = (): void => undefined;
    return {
      debug: quiet,
      info: quiet,
      warn: quiet,
      error: (fields: object, message: string) => {
        const cause = "err" in fields ? fields.err : fields;
        this.failure ??= new Error(`seed ${this.options.seed}: ${message}`, { cause });
      },
    };
  }
}
