/** Runs the ring's logic (`step.ts`) over ports: one member of the ring. */
import assert from "node:assert/strict";
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import { unreachable } from "../shared/unreachable.js";
import { answer, find } from "./answer.js";
import { enterOnce, type EnteringNode, type JoinAttempt } from "./entering.js";
import { bitsMax } from "./identifier.js";
import { createLookup, type Lookup, type LookupResult } from "./lookup.js";
import type { MemberRef } from "./member.js";
import { encodeRingMessage, parseRingMessage, type Reply, type RingMessage } from "./message.js";
import { Peers } from "./peers.js";
import {
  type Ring,
  ringDefaults,
  RingJoinError,
  type RingOptions,
  type RingPorts,
  type RingSnapshot,
  type StartMode,
} from "./ports.js";
import { type Effect, initialState, type Input, isLost, type RingState } from "./state.js";
import { Seeker } from "./seeking.js";
import { step } from "./step.js";
import { Timers } from "./timers.js";

export function createRing(options: RingOptions, ports: RingPorts): Ring {
  return new RingActor(options, ports);
}

type Settings = RingOptions & { readonly [K in keyof typeof ringDefaults]: number };

/** After as many refusals in a row it is no dead predecessor that the neighbour mistakes us for. */
const duplicateRefusalsMax = 3;

class RingActor implements Ring {
  readonly #options: Settings;
  readonly #ports: RingPorts;
  readonly #peers: Peers;
  readonly #timers: Timers;
  readonly #seeker: Seeker;
  #state: RingState;
  #stopped = false;
  #turn = 0;
  /** Why the node has not joined yet. */
  #problem = "none has answered";
  #duplicateRefusals = 0;
  /** Background work that runs at most once at a time. */
  readonly #busy = new Set<string>();
  #onJoinAttempt: ((attempt: JoinAttempt) => void) | undefined;

  constructor(options: RingOptions, ports: RingPorts) {
    this.#options = { ...ringDefaults, ...options };
    this.#ports = ports;
    const { self, parameters, successorListLength, known = [] } = this.#options;
    assert(parameters.bits >= 1 && parameters.bits <= bitsMax);
    assert(self.id >> BigInt(parameters.bits) === 0n);
    const listLength = Math.max(parameters.replicas + 1, successorListLength);
    this.#peers = new Peers(ports, parameters, this.#options.callDeadlineMs);
    this.#timers = new Timers(ports, this.#options.intervalJitter);
    this.#seeker = new Seeker({
      peers: this.#peers,
      state: () => this.#state,
      feed: (input) => this.#feed(input),
      lookupThrough: (key, gateway) => this.#lookupThrough(key, gateway, false),
    });
    this.#state = initialState({ self, parameters, listLength, known });
  }

  async start(mode: StartMode): Promise<void> {
    assert(!this.#state.member && !this.#stopped);
    if (mode.kind === "first") this.#feed({ kind: "first" });
    else {
      try {
        await this.#timers.within(this.#options.joinDeadlineMs, this.#enter(mode), () => {
          if (this.#stopped) return stoppedError();
          const where = this.#entries(mode).join(", ");
          const text = `no way into the ring through ${where}: ${this.#problem}`;
          return new RingJoinError("no-entry", text);
        });
      } catch (error) {
        this.stop();
        throw error;
      }
    }
    if (this.#stopped) throw stoppedError();
    const { stabilizeIntervalMs, fingerIntervalMs, cacheIntervalMs } = this.#options;
    this.#timers.every(stabilizeIntervalMs, () => this.#feed({ kind: "stabilize" }));
    this.#timers.every(fingerIntervalMs, () => this.#feed({ kind: "refreshFinger" }));
    this.#timers.every(cacheIntervalMs, () => this.#once("explore", () => this.#seeker.explore()));
    this.#feed({ kind: "stabilize" });
  }

  handle(message: unknown): RingMessage {
    const parsed = parseRingMessage(message);
    if (!parsed.ok || !("ring" in parsed.message)) {
      const reason = parsed.ok ? "not a request" : parsed.error;
      return encodeRingMessage({ kind: "refused", code: "malformed", reason });
    }
    if (this.#stopped) return encodeRingMessage({ kind: "absent" });
    const { reply, input } = answer(this.#state, parsed.message, this.#turn++);
    if (input !== undefined) this.#feed(input);
    return encodeRingMessage(reply);
  }

  async lookup(key: RingId): Promise<LookupResult> {
    const { member, parameters, listLength } = this.#state;
    if (!member) return { ok: false, reason: "not-a-member", path: [], timeouts: 0 };
    const origin = find(this.#state, key);
    return this.#follow(createLookup({ key, bits: parameters.bits, listLength, origin }), key);
  }

  snapshot(): RingSnapshot {
    const { self, member, predecessor, successors, fingers, known } = this.#state;
    const standIn = successors[0] ?? self;
    return {
      self,
      member: member && !this.#stopped,
      predecessor,
      successors,
      fingers: fingers.map((finger) => finger ?? standIn),
      known: [...known.values()],
    };
  }

  suspect(addr: Address): void {
    const { successors, fingers } = this.#state;
    if (successors.some((member) => member.addr === addr)) this.#feed({ kind: "stabilize" });
    const finger = fingers.find((member) => member?.addr === addr);
    if (finger !== undefined) this.#once(`suspect ${addr}`, () => this.#check(finger));
  }

  welcome(addr: Address): void {
    if (!this.#state.member) return;
    const member = [...this.#state.known.values()].find((known) => known.addr === addr);
    if (isLost(this.#state)) this.#feed({ kind: "stabilize" });
    else if (member) this.#once("explore", () => this.#seeker.explore(member));
  }

  isSilent(uuid: MemberUuid): boolean {
    return this.#peers.isSilent(uuid);
  }

  learn(members: readonly MemberRef[]): void {
    this.#feed({ kind: "learn", members });
  }

  forget(uuid: MemberUuid): void {
    this.#feed({ kind: "forget", uuid });
  }

  stop(): void {
    this.#stopped = true;
    this.#timers.stop();
  }

  #feed(input: Input): void {
    if (this.#stopped) return;
    const before = this.#state;
    const { state, effects } = (this.#options.step ?? step)(before, input);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
    const same =
      state.member === before.member &&
      state.predecessor === before.predecessor &&
      state.successors === before.successors &&
      state.fingers === before.fingers;
    if (!same) this.#options.onChange?.();
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case "query":
        return this.#run(async () => {
          const outcome = await this.#peers.query(effect.what, effect.to, this.#state.self);
          this.#feed({ kind: "outcome", outcome });
        });
      case "pause":
        return this.#timers.after(this.#shortPauseMs(), () => this.#feed({ kind: "retry" }));
      case "notify":
        return this.#run(() => this.#notify(effect.to));
      case "recover":
        return this.#once("recover", () => this.#seeker.recover());
      case "lookupFinger":
        return this.#once("finger", () => this.#refreshFinger(effect.index, effect.key));
      case "persist":
        return this.#ports.persistCache(effect.known);
      case "joined":
        return this.#onJoinAttempt?.({ kind: "joined" });
      case "joinFailed":
        return this.#onJoinAttempt?.({ kind: "failed", holder: effect.holder });
      default:
        return unreachable(effect);
    }
  }

  /** Background work; what it throws is a bug, told rather than left to end the process. */
  #run(work: () => Promise<void>): void {
    work().catch((error: unknown) => {
      if (!this.#stopped) this.#ports.log.error({ err: error }, "ring: internal error");
    });
  }

  #once(name: string, work: () => Promise<void>): void {
    if (this.#busy.has(name)) return;
    this.#busy.add(name);
    this.#run(() => work().finally(() => this.#busy.delete(name)));
  }

  /** Long enough for the other's query to end, random so that two do not meet for ever. */
  #shortPauseMs(): number {
    return 5 + 20 * this.#ports.random();
  }

  async #notify(to: MemberRef): Promise<void> {
    const reply = await this.#peers.ask(to.addr, { kind: "notify", from: this.#state.self });
    if (this.#stopped) return;
    if (reply?.kind === "noted") this.#duplicateRefusals = 0;
    if (reply?.kind !== "refused") return;
    this.#ports.log.warn({ addr: to.addr, reason: reply.reason }, "ring: a notify was refused");
    if (reply.code !== "duplicate-id") return;
    this.#duplicateRefusals += 1;
    if (this.#duplicateRefusals < duplicateRefusalsMax) return;
    this.#duplicateRefusals = 0;
    this.#options.onDuplicate?.(reply.reason);
  }

  async #check(member: MemberRef): Promise<void> {
    const reply = await this.#peers.askMember(member, { kind: "ping" });
    if (reply === undefined) this.#feed({ kind: "silent", member });
  }

  async #refreshFinger(index: number, key: RingId): Promise<void> {
    const result = await this.lookup(key);
    if (result.ok) this.#feed({ kind: "finger", index, member: result.owner });
  }

  /** Sends a lookup's questions until it is done. */
  async #follow(lookup: Lookup, key: RingId): Promise<LookupResult> {
    let action = lookup.start();
    while (action.kind === "ask") {
      const { member } = action;
      const reply = await this.#peers.askMember(member, { kind: "find", key });
      if (reply?.kind === "found") {
        action = lookup.answered(reply);
        continue;
      }
      this.#feed({ kind: "silent", member });
      action = lookup.unanswered();
    }
    return action.result;
  }

  #entries(mode: { readonly entries?: readonly Address[] }): readonly Address[] {
    const addrs = new Set(mode.entries ?? []);
    for (const member of this.#state.known.values()) addrs.add(member.addr);
    addrs.delete(this.#state.self.addr);
    return [...addrs];
  }

  async #enter(mode: Exclude<StartMode, { kind: "first" }>): Promise<void> {
    const node = this.#enteringNode();
    while (!this.#stopped) {
      const round = await enterOnce(node, this.#entries(mode));
      if (round.kind === "joined") return;
      if (round.kind === "no-gateway" && mode.kind === "resume") {
        return this.#feed({ kind: "resume" });
      }
      this.#problem = round.kind === "again" ? round.problem : "none answers as a member";
      this.#ports.log.info({ problem: this.#problem }, "ring: not joined yet");
      await node.pause();
    }
  }

  #enteringNode(): EnteringNode {
    const { self } = this.#state;
    return {
      self,
      hello: (addr) => this.#hello(addr),
      lookupPredecessor: (key, gateway) => this.#lookupThrough(key, gateway, true),
      join: (from) => this.#join(from),
      pause: () => this.#timers.sleep(100 + 100 * this.#ports.random()),
    };
  }

  #hello(addr: Address): Promise<Reply | undefined> {
    return this.#peers.ask(addr, { kind: "hello", from: this.#state.self });
  }

  #lookupThrough(key: RingId, gateway: MemberRef, predecessorOnly: boolean): Promise<LookupResult> {
    const { self, parameters, listLength } = this.#state;
    const { bits } = parameters;
    const entries = [gateway];
    const options = { key, bits, listLength, entries, exclude: self.uuid, predecessorOnly };
    return this.#follow(createLookup(options), key);
  }

  #join(from: MemberRef): Promise<JoinAttempt> {
    return new Promise((resolve) => {
      this.#onJoinAttempt = resolve;
      this.#feed({ kind: "join", from });
    });
  }
}

function stoppedError(): RingJoinError {
  return new RingJoinError("stopped", "the node was stopped before it had joined");
}
