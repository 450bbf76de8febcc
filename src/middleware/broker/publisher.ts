/** Takes what a device publishes: in order, once, durably. See `flow.ts`. */
import {
  connectionId,
  type DataFrame,
  type Frame,
  type Origin,
  type Packet,
  type RefusalCode,
} from "../../ebm/index.js";
import { queueMailbox } from "../../mailbox/folders.js";
import type { Quotas, Reservation } from "../../mailbox/quotas.js";
import type { RingKeys } from "../../mailbox/ring-keys.js";
import { Turns } from "../../mailbox/turns.js";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { Registers } from "../../replication/registers.js";
import type { MemberUuid, MessageId } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import type { ProvenSender, PublishOutcome } from "../ports.js";
import type { Definitions, ExchangeFields, QueueFields } from "./definitions.js";
import { type Delivered, digestOf, type Durable, inParallel } from "./durable.js";
import {
  type Brought,
  broughtBy,
  type Destination,
  emptyFlow,
  entryId,
  type FlowState,
  type Intention,
  judge,
  plan,
  type Verdict,
  withoutLast,
} from "./flow.js";
import { brokerLimits } from "./limits.js";
import { isPermitted } from "./permissions.js";
import { matches } from "./routing.js";
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

type Refused = Extract<PublishOutcome, { kind: "refused" }>;
const refused = (code: RefusalCode, why: string): Refused => ({ kind: "refused", code, why });
const undecided = (why: string): Refused => refused("undecided", why);

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

  constructor(private readonly options: PublisherOptions) {}

  async publish({ header, frames }: Packet, sender: ProvenSender): Promise<PublishOutcome> {
    const { user, device, epoch } = sender;
    const malformed = findFault(frames);
    if (malformed !== undefined) return refused("malformed", malformed);
    // One register for all epochs of a device, so that there are no more of them than devices.
    const register = `flow:${connectionId({ user, device, epoch: 0 }, header.to)}`;
    const work = () => this.take(register, broughtBy(frames, epoch), sender);
    const outcome = await this.turns.take(register, work);
    return outcome ?? refused("throttled", "too many packets of the device at a time");
  }

  private async take(
    register: string,
    brought: Brought,
    sender: ProvenSender,
  ): Promise<PublishOutcome> {
    const routes = await this.routesOf(brought.frames, sender);
    if (routes.kind === "refused") return routes;
    const sums: Sums = { routed: 0, copies: Infinity, copiesWanted: 0 };
    for (let step = 0; step < stepsMax; step += 1) {
      const agreed = await this.agree(register, brought, routes.of);
      if (agreed.kind === "refused") return agreed;
      const outcome = await this.follow(agreed, { register, sender, sums });
      if (outcome) return outcome;
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
    routesOf: (frame: DataFrame) => readonly Destination[],
  ): Promise<Verdict | Refused> {
    const { registers, keys, clock, random, self, codec, idTimeAfter } = this.options;
    const key = (await keys.current())?.keys[0];
    if (!key) return undecided("the ring's keys can't be read");
    const isDone = (nonce: string): boolean => this.done.has(nonce);
    const nonce = random.bytes(12).toString("base64url");
    const read = await registers.read(register, { alone: true });
    if (read.kind === "undecided") return undecided("the flow can't be read");
    const before = flowOf(read.kind === "value" ? read.value : null, brought);
    const verdict = judge(before, brought, isDone);
    if (verdict.kind !== "new") return verdict;
    const room = await this.reserve(verdict.frames, routesOf);
    if (!room) return refused("full", "a queue has no room for it");
    const facts = { nonce, takenAtMs: clock.wallMs(), coordinator: self, kid: key.kid, codec };
    const answer = await registers.change<Verdict | Refused>(register, (value) => {
      const state = flowOf(value, brought);
      const now = judge(state, brought, isDone);
      if (now.kind !== "new") return { result: now };
      const idMs = idTimeAfter(state.lastIdMs);
      const { frames } = now;
      const planned = plan(state, { brought, frames, routesOf, facts: { ...facts, idMs } });
      if (planned.kind === "refused") return { result: refused("full", planned.why) };
      const { intention } = planned;
      const covered = frames.slice(0, intention.frames);
      return {
        set: { value: planned.state },
        result: { kind: "again", intention, frames: covered },
      };
    });
    const isTaken = answer.kind === "changed";
    room.end(isTaken);
    if (answer.kind === "undecided") return undecided("too few members took the intention");
    return answer.result;
  }

  /** Room for what will be stored, about: how large the mails are is known when they are sealed. */
  private async reserve(
    frames: readonly DataFrame[],
    routesOf: (frame: DataFrame) => readonly Destination[],
  ): Promise<Reservation | undefined> {
    const { queues, quotas } = this.options;
    // Of an exclusive queue, all that comes together is one entry.
    const wanted = new Map<Destination["mailbox"], { to: Destination; entries: number[] }>();
    for (const frame of frames) {
      for (const to of routesOf(frame)) {
        const entries: number[] = wanted.get(to.mailbox)?.entries ?? [];
        const octets = frame.octets.length + overheadOctets;
        if (to.exclusive && entries.length > 0) entries[0] = (entries[0] ?? 0) + octets;
        else entries.push(octets);
        wanted.set(to.mailbox, { to, entries });
      }
    }
    for (const { to, entries } of wanted.values()) {
      const found = await queues.recall(to.queue);
      if (found.kind !== "found") continue;
      const quota = { messages: found.value.messagesMax, octets: found.value.octetsMax };
      const check = await quotas.check(to.mailbox, quota, entries[0] ?? 0);
      if (check === "full") return undefined;
    }
    return quotas.reserve(
      [...wanted].flatMap(([mailbox, { entries }]) =>
        entries.map((octets) => ({ mailbox, octets })),
      ),
    );
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
    const alive = await this.aliveOf(intention);
    const results = await inParallel(
      intention.bodies,
      brokerLimits.deliveriesMax,
      async (body): Promise<Delivered> => {
        const bytes = sealBody(body, options);
        const digest = digestOf(bytes);
        const copies = copiesOf(body, { digest, octets: bytes.length }, options);
        const wanted = copies.filter(({ destination }) => alive.has(destination.mailbox));
        if (wanted.length === 0) return { kind: "stored", copies: Infinity, copiesWanted: 0 };
        return this.options.durable.deliver(
          wanted.map(({ mailbox, message }) => ({ mailbox, message })),
          bytes,
          digest,
        );
      },
    );
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

  /** Mailboxes of queues that are still there: of others nobody reads what is put into them. */
  private async aliveOf({ destinations }: Intention): Promise<ReadonlySet<string>> {
    const alive = new Set<string>();
    for (const { queue, incarnation, mailbox } of destinations) {
      const found = await this.options.queues.recall(queue);
      const isGone =
        found.kind === "unknown" ||
        (found.kind === "found" && found.value.incarnation !== incarnation);
      if (!isGone) alive.add(mailbox);
    }
    return alive;
  }

  private noteDone(nonce: string): void {
    this.done.add(nonce);
    for (const oldest of this.done) {
      if (this.done.size <= doneMax) return;
      this.done.delete(oldest);
    }
  }

  /**
   * Another node may have delivered the intention. If so, one goes on from there. If not, and its sender
   * begins with the same message anew, cut otherwise, its copies are made void and it is
   * forgotten: should somebody have consumed one, they know the message by its origin.
   */
  private async makeSure(
    register: string,
    intention: Intention,
    restarts: boolean,
  ): Promise<PublishOutcome | undefined> {
    const { durable, clock, registers, log } = this.options;
    const byMailbox = await this.idsOf(intention);
    const known = await inParallel([...byMailbox], brokerLimits.deliveriesMax, ([mailbox, ids]) =>
      durable.isKnown(mailbox, ids),
    );
    if (known.every((answer) => answer === "yes")) {
      this.noteDone(intention.nonce);
      return undefined;
    }
    if (known.includes("undecided") || !restarts) {
      return undecided("whether the messages before these are stored is not known yet");
    }
    log.warn({ register }, "an intention that was not carried out is made void");
    for (const [mailbox, ids] of byMailbox) {
      if (!(await durable.void(mailbox, ids, clock.wallMs()))) {
        return undecided("too few members answer");
      }
    }
    const answer = await registers.change(register, (value) => {
      const state = value as FlowState | null;
      if (state?.last?.nonce !== intention.nonce) return { result: null };
      return { set: { value: withoutLast(state) }, result: null };
    });
    return answer.kind === "undecided" ? undecided("too few members answer") : undefined;
  }

  private async idsOf(
    intention: Intention,
  ): Promise<ReadonlyMap<Destination["mailbox"], readonly MessageId[]>> {
    const alive = await this.aliveOf(intention);
    const byMailbox = new Map<Destination["mailbox"], MessageId[]>();
    for (const body of intention.bodies) {
      for (const number of body.to) {
        const destination = intention.destinations[number];
        if (!destination || !alive.has(destination.mailbox)) continue;
        const ids = byMailbox.get(destination.mailbox) ?? [];
        ids.push(entryId(intention, body, destination));
        byMailbox.set(destination.mailbox, ids);
      }
    }
    return byMailbox;
  }

  /** Where each frame goes by what is bound now. Equal addresses are looked up once. */
  private async routesOf(
    frames: readonly DataFrame[],
    { user }: ProvenSender,
  ): Promise<Refused | { kind: "routes"; of: (frame: DataFrame) => readonly Destination[] }> {
    const byAddress = new Map<string, readonly Destination[]>();
    for (const frame of frames) {
      const address = addressOf(frame);
      if (byAddress.has(address)) continue;
      const found = await this.destinationsOf(frame, user);
      if ("kind" in found) return found;
      byAddress.set(address, found);
    }
    return { kind: "routes", of: (frame) => byAddress.get(addressOf(frame)) ?? [] };
  }

  private async destinationsOf(
    { properties }: DataFrame,
    user: ProvenSender["user"],
  ): Promise<Refused | readonly Destination[]> {
    const { exchange, routingKey = "" } = properties ?? {};
    if (exchange === undefined) return this.directTo(routingKey, user);
    const found = await this.options.exchanges.recall(exchange);
    if (found.kind === "undecided") return undecided(`the exchange ${exchange} can't be read`);
    if (found.kind === "unknown") return refused("unknown", `there is no exchange ${exchange}`);
    const { type, owner, publishers, bindings } = found.value;
    if (!isPermitted(user, owner, publishers)) {
      return refused("forbidden", `${user} may not publish to ${exchange}`);
    }
    const bound = bindings.filter((binding) => matches(type, binding, properties ?? {}));
    const names = new Map(bound.map(({ queue, incarnation }) => [queue, incarnation]));
    const destinations: Destination[] = [];
    for (const [queue, incarnation] of names) {
      const there = await this.options.queues.recall(queue);
      if (there.kind === "undecided") return undecided(`the queue ${queue} can't be read`);
      if (there.kind === "unknown" || there.value.incarnation !== incarnation) continue;
      destinations.push(this.destination(queue, there.value));
    }
    return destinations;
  }

  private async directTo(
    queue: string,
    user: ProvenSender["user"],
  ): Promise<Refused | readonly Destination[]> {
    const found = await this.options.queues.recall(queue);
    if (found.kind === "undecided") return undecided(`the queue ${queue} can't be read`);
    if (found.kind === "unknown") return refused("unknown", `there is no queue ${queue}`);
    const { owner, publishers } = found.value;
    if (isPermitted(user, owner, publishers)) return [this.destination(queue, found.value)];
    return refused("forbidden", `${user} may not publish to the queue ${queue}`);
  }

  private destination(queue: string, { incarnation, exclusive }: QueueFields): Destination {
    return { queue, incarnation, exclusive, mailbox: queueMailbox(queue, this.options.domain) };
  }
}

/** Of the trace, the packet's header and the mail around it; about. */
const overheadOctets = 1_500;

const addressOf = ({ properties }: DataFrame): string => {
  const { exchange, routingKey, headers } = properties ?? {};
  return JSON.stringify([exchange, routingKey, headers]);
};

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
