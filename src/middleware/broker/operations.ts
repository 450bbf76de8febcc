/** What is asked of the ring about exchanges and queues. */
import type { Binding, RefusalCode, Settlement } from "../../ebm/index.js";
import { isQueueName } from "../../mailbox/folders.js";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { MailboxName } from "../../shared/ids.js";
import type { Broker } from "../ports.js";
import { deadLettersOf } from "./dead-letters.js";
import type { Definitions, ExchangeFields, OwnedFields, QueueFields } from "./definitions.js";
import {
  bindingOf,
  exchangeFields,
  isFormer,
  isSameBinding,
  isSameExchange,
  isSameQueue,
  queueFields,
} from "./declared.js";
import { Owned } from "./owned.js";
import { settleEach, settlementOf } from "./settlement.js";
import { brokerLimits, deadSuffix } from "./limits.js";
import { isPermitted } from "./permissions.js";
import type { Queues } from "./queues.js";
import { claimed, heirsOf, isUnclaimed, unclaimed, withBindings } from "./unclaimed.js";

export interface OperationsOptions {
  readonly exchanges: Definitions<ExchangeFields>;
  readonly queues: Definitions<QueueFields>;
  readonly owned: Definitions<OwnedFields>;
  readonly leaders: Queues;
  readonly clock: Pick<Clock, "sleep">;
  readonly random: Randomness;
  readonly domain: string;
}

export type Refusal = { readonly ok: false; readonly code: RefusalCode; readonly why: string };
type Done = { readonly ok: true; readonly answer: object };

const done: Done = { ok: true, answer: {} };
const refuse = (code: RefusalCode, why: string): Refusal => ({ ok: false, code, why });

/** Room for the suffix of dead letters. */
const nameMax = 64 - deadSuffix.length;
const isName = (name: string): boolean => isQueueName(name) && name.length <= nameMax;

const outcomes = {
  done: () => done,
  undecided: () => refuse("undecided", "too few members answer; try again"),
  exists: (what: string) => refuse("exists", `${what} exists with other options, or another owner`),
  unknown: (what: string) => refuse("unknown", `there is no ${what}`),
  forbidden: (what: string) => refuse("forbidden", `${what} belongs to another user`),
  full: (what: string) => refuse("full", `${what} has as many as there may be`),
} as const;

type OutcomeKind = keyof typeof outcomes;
const outcome = (kind: OutcomeKind, what: string): Done | Refusal => outcomes[kind](what);

export function createOperations(options: OperationsOptions): Broker["operations"] {
  const operations = new Operations(options);
  return {
    declareExchange: (ask, { user }) => operations.declareExchange(ask, user),
    removeExchange: (ask, { user }) => operations.removeExchange(ask, user),
    declareQueue: (ask, { user }) => operations.declareQueue(ask, user),
    removeQueue: (ask, { user }) => operations.removeQueue(ask, user),
    queueStatus: (ask, { user }) => operations.queueStatus(ask, user),
    bind: (ask, { user }) => operations.bind(ask, user),
    unbind: (ask, { user }) => operations.unbind(ask, user),
    settle: (ask, { user }) => operations.settle(ask, user),
    redrive: (ask, { user }) => operations.redrive(ask, user),
  };
}

type Handler<N extends keyof Broker["operations"]> = (
  ask: Parameters<Broker["operations"][N]>[0],
  user: MailboxName,
) => ReturnType<Broker["operations"][N]>;

class Operations {
  private readonly owned: Owned;

  constructor(private readonly options: OperationsOptions) {
    this.owned = new Owned(options.owned);
  }

  readonly declareExchange: Handler<"declareExchange"> = async (ask, user) => {
    const { exchanges, queues, domain } = this.options;
    const { name } = ask;
    const fields = exchangeFields(ask, user, domain);
    if (!isName(name) || !fields) return refuse("malformed", "not an exchange that can be made");
    let waiting: ExchangeFields["bindings"] = [];
    const room = await this.owned.own(user, `e ${name}`, async () => {
      const found = await exchanges.recall(name);
      if (found.kind !== "found" || !isUnclaimed(found.value)) return found;
      waiting = found.value.bindings;
      return { kind: "unknown" };
    });
    if (room !== "done") return outcome(room, user);
    const heirs = await heirsOf(waiting, fields, queues);
    if (heirs === "undecided") return outcome("undecided", name);
    const kind = await exchanges.changeEverywhere<"exists">(name, (before) => {
      if (!before) return { set: fields };
      if (isUnclaimed(before)) return { set: claimed(before, fields, heirs) };
      return isSameExchange(before, fields) ? { same: true } : { refuse: "exists" };
    });
    if (kind === "exists")
      await this.owned.disownUnless(user, `e ${name}`, () => exchanges.read(name));
    return outcome(kind, `the exchange ${name}`);
  };

  readonly removeExchange: Handler<"removeExchange"> = async ({ name }, user) => {
    const what = `exchange ${name}`;
    const kind = await this.options.exchanges.change<"unknown" | "forbidden">(name, (before) => {
      if (!before || isUnclaimed(before)) return { refuse: "unknown" };
      return before.owner === user ? { set: "nothing" } : { refuse: "forbidden" };
    });
    if (kind === "done") await this.owned.disown(user, `e ${name}`);
    return outcome(kind, what);
  };

  readonly declareQueue: Handler<"declareQueue"> = async (ask, user) => {
    const { queues, domain, random } = this.options;
    const { name } = ask;
    const made = queueFields(ask, user, domain);
    if (typeof made === "string") return refuse("malformed", made);
    if (name.endsWith(deadSuffix)) return this.declareDead(name, made, user);
    if (!isName(name))
      return refuse("malformed", `not a name of a queue: up to ${nameMax} of a-z 0-9 . _ -`);
    const room = await this.owned.own(user, `q ${name}`, () => queues.recall(name));
    if (room !== "done") return outcome(room, user);
    const incarnation = random.bytes(9).toString("base64url");
    let isMoved = false;
    const kind = await queues.change<"exists">(name, (before) => {
      if (!before) return { set: { ...made, incarnation, boundTo: [] } };
      if (!isSameQueue(before, made)) return { refuse: "exists" };
      // An owner whose account has moved gets it another way from now on.
      isMoved = before.owner === user && before.push !== made.push;
      return isMoved ? { set: { ...before, push: made.push } } : { same: true };
    });
    if (kind === "exists")
      await this.owned.disownUnless(user, `q ${name}`, () => queues.read(name));
    if (isMoved && made.push) this.pushNow(name);
    return outcome(kind, `the queue ${name}`);
  };

  /** A queue for dead letters belongs to the queue that they come from. */
  private async declareDead(
    name: string,
    made: Omit<QueueFields, "incarnation" | "boundTo">,
    user: MailboxName,
  ): Promise<Done | Refusal> {
    const { queues, random } = this.options;
    const base = await queues.read(name.slice(0, -deadSuffix.length));
    if (base.kind === "undecided") return outcome("undecided", name);
    if (base.kind === "unknown") return outcome("unknown", `queue that ${name} would belong to`);
    if (base.value.owner !== user) return outcome("forbidden", `the queue of ${name}`);
    const incarnation = random.bytes(9).toString("base64url");
    // Made by the ring, perhaps, with options of its own.
    let isMoved = false;
    const kind = await queues.change<"exists">(name, (before) => {
      if (!before) return { set: { ...made, incarnation, boundTo: [] } };
      if (before.owner !== user) return { refuse: "exists" };
      isMoved = before.push !== made.push;
      return isMoved ? { set: { ...before, push: made.push } } : { same: true };
    });
    if (isMoved && made.push) this.pushNow(name);
    return outcome(kind, `the queue ${name}`);
  }

  /** What lies in it already need not wait until somebody looks. */
  private pushNow(queue: string): void {
    void this.options.leaders.call({ queue, command: "wake" });
  }

  readonly removeQueue: Handler<"removeQueue"> = async ({ name }, user) => {
    const { queues } = this.options;
    let removed: QueueFields | undefined;
    // Everywhere: one of this name that is made next is bound by its own incarnation.
    const kind = await queues.changeEverywhere<"unknown" | "forbidden">(name, (before) => {
      if (!before) return { refuse: "unknown" };
      if (before.owner !== user) return { refuse: "forbidden" };
      removed = before;
      return { set: "nothing" };
    });
    if (kind !== "done" || !removed) return outcome(kind, `queue ${name}`);
    const { incarnation, boundTo } = removed;
    for (const exchange of boundTo) await this.dropBindings(exchange, name, incarnation);
    await this.options.leaders.call({ queue: name, command: "purge" });
    await this.owned.disown(user, `q ${name}`);
    const dead = deadLettersOf(name, removed);
    // Its own dead letters go with it; a queue that was named for them stays.
    if (dead === `${name}${deadSuffix}` && !name.endsWith(deadSuffix)) {
      await this.removeQueue({ name: dead }, user);
    }
    return done;
  };

  private async dropBindings(exchange: string, queue: string, incarnation: string): Promise<void> {
    await this.options.exchanges.change<"unknown">(exchange, (before) => {
      if (!before) return { refuse: "unknown" };
      const bindings = before.bindings.filter(
        (one) => one.queue !== queue || one.incarnation !== incarnation,
      );
      if (bindings.length === before.bindings.length) return { same: true };
      return { set: withBindings(before, bindings) };
    });
  }

  readonly queueStatus: Handler<"queueStatus"> = async ({ name }, user) => {
    const refused = await this.mayConsume(name, user);
    if (refused) return refused;
    const reply = await this.options.leaders.call({ queue: name, command: "status" });
    if (reply.kind !== "status") return outcome(failureOf(reply.kind), `queue ${name}`) as Refusal;
    const { ready, delayed, leased, octets } = reply;
    return { ok: true, answer: { ready, delayed, leased, octets } };
  };

  readonly bind: Handler<"bind"> = async (ask, user) => {
    const { exchanges, queues } = this.options;
    const { exchange, queue } = ask;
    const there = await queues.read(queue);
    if (there.kind !== "found") return outcome(there.kind, `queue ${queue}`);
    if (there.value.owner !== user) return outcome("forbidden", `the queue ${queue}`);
    const { incarnation } = there.value;
    const refused = await this.maySubscribe(ask, user);
    if (refused) return refused;
    // First noted with the queue, so that its removal finds every binding.
    const noted = await queues.change<"unknown" | "full">(queue, (before) => {
      if (before?.incarnation !== incarnation) return { refuse: "unknown" };
      if (before.boundTo.includes(exchange)) return { same: true };
      if (before.boundTo.length >= brokerLimits.boundToMax) return { refuse: "full" };
      return { set: { ...before, boundTo: [...before.boundTo, exchange] } };
    });
    if (noted !== "done") return outcome(noted, `queue ${queue}`);
    const binding = bindingOf(ask, incarnation);
    type Refusals = "unknown" | "forbidden" | "full";
    const kind = await exchanges.changeEverywhere<Refusals>(exchange, (now) => {
      const before = now ?? (ask.early === true ? unclaimed : undefined);
      if (!before || (isUnclaimed(before) && ask.early !== true)) return { refuse: "unknown" };
      if (!isPermitted(user, before.owner, before.subscribers)) return { refuse: "forbidden" };
      if (before.bindings.some((one) => isSameBinding(one, binding))) return { same: true };
      const others = before.bindings.filter((one) => !isFormer(one, binding));
      if (others.length >= brokerLimits.bindingsMax) return { refuse: "full" };
      return { set: { ...before, bindings: [...others, binding] } };
    });
    return outcome(kind, `exchange ${exchange}`);
  };

  private async maySubscribe(
    { exchange, early = false }: Binding,
    user: MailboxName,
  ): Promise<Refusal | undefined> {
    const found = await this.options.exchanges.read(exchange);
    if (early && found.kind === "unknown") return undefined;
    if (found.kind !== "found") return outcome(found.kind, `exchange ${exchange}`) as Refusal;
    if (isPermitted(user, found.value.owner, found.value.subscribers)) return undefined;
    const why = `${user} may not bind queues to ${exchange}`;
    return refuse("forbidden", `${why}: its owner says by its "subscribers" who may`);
  }

  readonly unbind: Handler<"unbind"> = async (ask, user) => {
    const { exchanges, queues } = this.options;
    const { exchange, queue } = ask;
    const there = await queues.read(queue);
    if (there.kind !== "found") return outcome(there.kind, `queue ${queue}`);
    const { owner, incarnation } = there.value;
    const binding = bindingOf(ask, incarnation);
    const kind = await exchanges.changeEverywhere<"unknown" | "forbidden">(exchange, (before) => {
      if (!before) return { refuse: "unknown" };
      if (user !== owner && user !== before.owner) return { refuse: "forbidden" };
      const bindings = before.bindings.filter((one) => !isSameBinding(one, binding));
      if (bindings.length === before.bindings.length) return { same: true };
      return { set: withBindings(before, bindings) };
    });
    return outcome(kind, `exchange ${exchange}`);
  };

  readonly settle: Handler<"settle"> = async (ask, user) => {
    if (!("settlements" in ask)) return this.settleOne(ask, user);
    const done = await settleEach(
      ask.settlements,
      this.options.clock,
      async (each) => (await this.settleOne(each, user)).ok,
    );
    return { ok: true, answer: { done } };
  };

  private async settleOne(ask: Settlement, user: MailboxName): Promise<Done | Refusal> {
    const { queue } = ask;
    const refused = await this.mayConsume(queue, user);
    if (refused) return refused;
    const settlement = settlementOf(ask);
    if (!settlement) return refuse("malformed", "entries are named by their unique-ids");
    const reply = await this.options.leaders.call({ queue, command: "settle", ...settlement });
    return reply.kind === "done" ? done : outcome(failureOf(reply.kind), `queue ${queue}`);
  }

  readonly redrive: Handler<"redrive"> = async ({ queue, max }, user) => {
    const { queues, leaders } = this.options;
    const found = await queues.recall(queue);
    if (found.kind !== "found") return outcome(found.kind, `queue ${queue}`) as Refusal;
    if (found.value.owner !== user) return outcome("forbidden", `the queue ${queue}`) as Refusal;
    const dead = deadLettersOf(queue, found.value);
    const there = await queues.recall(dead);
    if (there.kind === "unknown") return { ok: true, answer: { moved: 0 } };
    if (there.kind === "undecided") return outcome("undecided", dead) as Refusal;
    if (there.value.owner !== user) return outcome("forbidden", `the queue ${dead}`) as Refusal;
    const call = { queue: dead, command: "redrive", target: queue } as const;
    const reply = await leaders.call({ ...call, ...(max !== undefined && { max }) });
    if (reply.kind === "done") return { ok: true, answer: { moved: reply.moved ?? 0 } };
    return outcome(failureOf(reply.kind), `queue ${queue}`) as Refusal;
  };

  /** Undefined: the user may. */
  async mayConsume(queue: string, user: MailboxName): Promise<Refusal | undefined> {
    const found = await this.options.queues.recall(queue);
    if (found.kind !== "found") return outcome(found.kind, `queue ${queue}`) as Refusal;
    const { owner, consumers } = found.value;
    if (isPermitted(user, owner, consumers)) return undefined;
    return refuse("forbidden", `${user} may not consume ${queue}`);
  }
}

const failureOf = (kind: string): "unknown" | "undecided" =>
  kind === "unknown" ? "unknown" : "undecided";
