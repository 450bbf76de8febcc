/** Takes what a device publishes: in order, once, durably. See `flow.ts`. */
import { connectionId, type Frame, type Origin, type Packet } from "../../ebm/index.js";
import type { Quotas } from "../../mailbox/quotas.js";
import type { RingKeys } from "../../mailbox/ring-keys.js";
import { Turns } from "../../mailbox/turns.js";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { Registers, Update } from "../../replication/registers.js";
import type { MemberUuid } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import type { ProvenSender, PublishOutcome } from "../ports.js";
import type { Definitions, ExchangeFields, QueueFields } from "./definitions.js";
import { type Delivered, digestOf, type Durable, inParallel } from "./durable.js";
import { type Brought, broughtBy } from "./brought.js";
import { emptyFlow, type FlowState, type Intention, judge, type Verdict } from "./flow.js";
import { plan, tooLarge } from "./planning.js";
import { Doubts } from "./doubts.js";
import { Early } from "./early.js";
import { flowName } from "./entry.js";
import { KnownFlows } from "./known-flows.js";
import { Renewal } from "./renewal.js";
import { Room } from "./room.js";
import { type Refused, refused, undecided } from "./refused.js";
import { Routes, type RoutesOf } from "./routes.js";
import { brokerLimits } from "./limits.js";
import { copiesOf, sealBody } from "./sealing.js";

export interface PublisherOptions {
  readonly registers: Pick<Registers, "read" | "change">;
  readonly exchanges: Definitions<ExchangeFields>;
  readonly queues: Definitions<QueueFields>;
  readonly keys: Pick<RingKeys, "current" | "find">;
  readonly durable: Durable;
  readonly quotas: Pick<Quotas, "check" | "reserve">;
  /** The time of a new id, above one of before. */
  readonly idTimeAfter: (ms: number) => number;
  readonly self: MemberUuid;
  /** The ring's first domain. */
  readonly domain: string;
  /** What the octets of a sealed mail depend on besides its content. */
  readonly codec: string;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly log: Log;
  /** Queues that got something, to be pushed. */
  readonly onPushed: (queue: string) => void;
}

const waitingMax = 16;
const doneMax = 10_000;
/** Each takes at least one frame, or settles what came before. */
const stepsMax = 20_000;

interface Sums {
  routed: number;
  copies: number;
  copiesWanted: number;
}

export class Publisher {
  private readonly turns = new Turns(waitingMax);
  /** Intentions that are known to be delivered, the oldest first. */
  private readonly done = new Set<string>();

  private readonly routes: Routes;
  private readonly room: Room;
  private readonly doubts: Doubts;
  private readonly renewal: Renewal;
  private readonly early: Early;
  private readonly known = new KnownFlows();

  constructor(private readonly options: PublisherOptions) {
    this.early = new Early(options.clock);
    this.routes = new Routes(options);
    this.room = new Room(options);
    this.doubts = new Doubts(options);
    this.renewal = new Renewal(options);
  }

  async publish({ header, frames }: Packet, sender: ProvenSender): Promise<PublishOutcome> {
    const { user, device, epoch } = sender;
    const malformed = findFault(frames);
    if (malformed !== undefined) return refused("malformed", malformed);
    // One register for all epochs of a device, so that there are no more of them than devices.
    const register = `flow:${connectionId({ user, device, epoch: 0 }, header.to)}`;
    return this.inOrder(register, broughtBy(frames, epoch), sender);
  }

  /** What comes before its turn waits for it; the last word is had from the register. */
  private async inOrder(
    register: string,
    brought: Brought,
    sender: ProvenSender,
  ): Promise<PublishOutcome> {
    const untilMs = this.options.clock.monotonicMs() + brokerLimits.earlyMs;
    const octets = brought.frames.reduce((sum, frame) => sum + frame.octets.length, 0);
    const work = () => this.take(register, brought, sender);
    for (let isLast = false; ; ) {
      if (isLast || !this.seemsEarly(register, brought)) {
        const taken = await this.turns.take(register, work);
        const outcome = taken ?? refused("throttled", "too many packets of the device at a time");
        if (outcome.kind !== "early") this.early.settled(register, outcome.kind === "taken");
        if (outcome.kind !== "early" || isLast) return outcome;
      }
      isLast = !(await this.early.wait(register, octets, untilMs));
    }
  }

  /** Even when all that is under way here is delivered. */
  private seemsEarly(register: string, brought: Brought): boolean {
    const known = this.known.get(register);
    return known !== undefined && judge(known, brought, () => true).kind === "early";
  }

  private async take(
    register: string,
    brought: Brought,
    sender: ProvenSender,
  ): Promise<PublishOutcome> {
    const routes = await this.routes.routesOf(brought.frames, sender);
    if (routes.kind === "refused") return routes;
    const sums: Sums = { routed: 0, copies: Infinity, copiesWanted: 0 };
    let hasBegun = false;
    for (let step = 0; step < stepsMax; step += 1) {
      const agreed = await this.agree(register, brought, routes.of);
      hasBegun ||= agreed.kind === "again";
      const outcome =
        agreed.kind === "refused" ? agreed : await this.follow(agreed, { register, sender, sums });
      if (outcome) return hasBegun ? inPart(outcome) : outcome;
    }
    return undecided("the flow does not come to rest");
  }

  /** Does what the verdict says; undefined: there may be more to do. */
  private async follow(
    verdict: Verdict,
    { register, sender, sums }: { register: string; sender: ProvenSender; sums: Sums },
  ): Promise<PublishOutcome | undefined> {
    switch (verdict.kind) {
      case "outdated":
        return refused("denied", "the device has begun a later epoch");
      case "early":
        return verdict;
      case "known":
        return takenBy(sums, verdict.routed);
      case "unsure":
        return this.makeSure(register, verdict.intention, verdict.restarts);
      case "again":
        return this.deliver(register, verdict, sender, sums);
      case "new":
        throw new Error("a new intention is delivered as an old one");
    }
  }

  /** The verdict on what is agreed; what is new becomes the intention on the way. */
  private async agree(
    register: string,
    brought: Brought,
    routesOf: RoutesOf,
  ): Promise<Verdict | Refused> {
    const { registers, keys, clock, random, self, codec, idTimeAfter } = this.options;
    const key = (await keys.current())?.keys[0];
    if (!key) return undecided("the ring's keys can't be read");
    const { isDone } = this;
    const nonce = random.bytes(12).toString("base64url");
    const verdict = await this.look(register, brought);
    if (verdict.kind !== "new") return verdict;
    // Not where a message goes on that has begun: that was to fit when it did.
    const begins = verdict.frames.filter(({ offset }) => offset === 0);
    const large = tooLarge(begins, routesOf);
    if (large !== undefined) return refused("tooLarge", large);
    const reserved = await this.room.reserve(verdict.frames, routesOf);
    if ("full" in reserved) return refused("full", `no room in ${reserved.full}`);
    const fitting = reserved.frames;
    const flow = flowName(register);
    const facts = {
      nonce,
      flow,
      takenAtMs: clock.wallMs(),
      coordinator: self,
      kid: key.kid,
      codec,
    };
    const intend = (value: unknown): Update<Verdict | Refused> => {
      const state = flowOf(value, brought);
      const now = judge(state, brought, isDone);
      if (now.kind !== "new") return { result: now };
      const idMs = idTimeAfter(state.lastIdMs);
      const frames = now.frames.slice(0, fitting);
      const planned = plan(state, { brought, frames, routesOf, facts: { ...facts, idMs } });
      if (planned.kind === "refused") return { result: refused(planned.code, planned.why) };
      const { intention } = planned;
      const covered = frames.slice(0, intention.frames);
      return {
        set: { value: planned.state },
        result: { kind: "again", intention, frames: covered },
      };
    };
    // A device stays with a node as long as that lives.
    const answer = await registers.change(register, intend, { again: true });
    const isTaken = answer.kind === "changed";
    reserved.end(isTaken);
    if (answer.kind === "undecided") {
      this.known.forget(register);
      return undecided("too few members took the intention");
    }
    this.known.note(register, flowOf(answer.value, brought));
    return answer.result;
  }

  /**
   * The verdict before anything is changed. What this node knows is enough to go ahead: whoever changes the
   * register judges again. For all that is answered at once the register is read.
   */
  private async look(register: string, brought: Brought): Promise<Verdict | Refused> {
    const known = this.known.get(register);
    const expected = known && judge(known, brought, this.isDone);
    if (expected?.kind === "new") return expected;
    const read = await this.options.registers.read(register, { alone: true });
    if (read.kind === "undecided") return undecided("the flow can't be read");
    const state = flowOf(read.kind === "value" ? read.value : null, brought);
    this.known.note(register, state);
    return judge(state, brought, this.isDone);
  }

  /** Delivers what is intended, for the first time or again. */
  private async deliver(
    register: string,
    { intention, frames }: Extract<Verdict, { kind: "again" }>,
    sender: ProvenSender,
    sums: Sums,
  ): Promise<PublishOutcome | undefined> {
    const key = await this.options.keys.find(intention.kid);
    if (key === undefined) return undecided("the ring's keys can't be read");
    if (key === "unknown" || intention.codec !== this.options.codec) {
      return this.makeSure(register, intention, true);
    }
    const { user, device, epoch } = sender;
    const origin: Origin = { user, device, epoch };
    const { privateKey } = key;
    const options = { ...this.options, intention, frames, origin, privateKey };
    const alive = await this.doubts.aliveOf(intention);
    const results = await inParallel(
      intention.bodies,
      brokerLimits.deliveriesMax,
      async (body): Promise<Delivered> => {
        const bytes = sealBody(body, options);
        const digest = digestOf(bytes);
        const copies = copiesOf(body, { digest, octets: bytes.length }, options);
        const wanted = copies
          .filter(({ destination }) => alive.has(destination.mailbox))
          .map(({ mailbox, message }) => ({ mailbox, message }));
        return this.renewal.deliver(wanted, bytes, digest);
      },
    );
    if (results.some((result) => result.kind === "tempfail" && result.isSunk)) {
      const answer = await this.renewal.renew(register, intention, alive);
      this.known.forget(register);
      return answer;
    }
    for (const result of results) {
      if (result.kind === "full") return refused("full", "this member's disk is full");
      if (result.kind === "tempfail") return undecided(result.why);
      sums.copies = Math.min(sums.copies, result.copies);
      sums.copiesWanted = Math.max(sums.copiesWanted, result.copiesWanted);
    }
    sums.routed += intention.routed;
    this.noteDone(intention.nonce);
    for (const { queue } of intention.destinations) this.options.onPushed(queue);
    return undefined;
  }

  private async makeSure(
    register: string,
    intention: Intention,
    restarts: boolean,
  ): Promise<PublishOutcome | undefined> {
    const answer = await this.doubts.makeSure(register, intention, restarts);
    this.known.forget(register);
    if (answer === "delivered") this.noteDone(intention.nonce);
    return typeof answer === "string" ? undefined : answer;
  }

  private readonly isDone = (nonce: string): boolean => this.done.has(nonce);

  private noteDone(nonce: string): void {
    this.done.add(nonce);
    for (const oldest of this.done) {
      if (this.done.size <= doneMax) return;
      this.done.delete(oldest);
    }
  }
}

function flowOf(value: unknown, { epoch }: Brought): FlowState {
  return (value as FlowState | null) ?? emptyFlow(epoch);
}

function takenBy({ routed, copies, copiesWanted }: Sums, before: number): PublishOutcome {
  return {
    kind: "taken",
    routed: routed === 0 ? before : routed,
    copies: Number.isFinite(copies) ? copies : 0,
    copiesWanted,
  };
}

/**
 * Of a packet that has been agreed on, be it in part: only what says that nothing of it was taken lets its sender
 * use the same numbers for something else.
 */
function inPart(outcome: PublishOutcome): PublishOutcome {
  if (outcome.kind === "taken") return outcome;
  return undecided(
    outcome.kind === "refused" ? `taken in part: ${outcome.why}` : "taken in part, and too early",
  );
}

/** What no publisher sends. */
function findFault(frames: readonly Frame[]): string | undefined {
  for (const frame of frames) {
    if (frame.kind === "ack") continue;
    if (frame.kind !== "data") return `a ${frame.kind} frame does not belong here`;
    if (!frame.properties) return "every block needs its properties";
    if (frame.octets.length === 0 && frame.size > 0) return "a block without octets";
    const { exchange, routingKey } = frame.properties;
    if (exchange === undefined && !routingKey) return "neither an exchange nor a queue is named";
  }
  return undefined;
}
