/** The broker of one node, put together. */
import type { RingKeys } from "../../mailbox/ring-keys.js";
import { queueMailbox } from "../../mailbox/folders.js";
import { Quotas } from "../../mailbox/quotas.js";
import type { EntryTime, QueueEntry } from "../../replication/peer-methods.js";
import type { Clock, Files, Randomness, Store } from "../../replication/ports.js";
import type { Replication } from "../../replication/replication.js";
import type { MailboxName, MemberUuid, MessageId } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import type { Broker, ProvenSender, PublishOutcome } from "../ports.js";
import type { Packet } from "../../ebm/index.js";
import { DeadLetters } from "./dead-letters.js";
import {
  Definitions,
  type ExchangeFields,
  type OwnedFields,
  type QueueFields,
} from "./definitions.js";
import { Durable } from "./durable.js";
import { redeliveredLine } from "./entry.js";
import { createOperations } from "./operations.js";
import { Overflow } from "./overflow.js";
import { brokerLimits } from "./limits.js";
import { isPermitted } from "./permissions.js";
import { Publisher } from "./publisher.js";
import type { PushBatch } from "./queue-leader.js";
import { Queues } from "./queues.js";

export interface BrokerOptions {
  readonly replication: Replication;
  readonly store: Pick<Store, "spoolPath" | "catalog">;
  readonly files: Files;
  readonly keys: Pick<RingKeys, "current" | "find">;
  /** The ring's first domain. */
  readonly domain: string;
  readonly self: MemberUuid;
  /** What sealed octets depend on besides their content: the version of zlib. */
  readonly codec: string;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly log: Log;
}

/** What one consumer is shown of a queue, and how it ends. */
export interface QueueSession {
  readonly entries: readonly QueueEntry[];
  /** Octets of an entry as it is read. */
  octetsOf(entry: QueueEntry): number;
  /** @throws Error when no member has a sound copy now */
  read(entry: QueueEntry, signal: AbortSignal): Promise<Buffer | AsyncIterable<Buffer>>;
  /** True when they are deleted, durably. */
  acknowledge(entries: readonly QueueEntry[]): Promise<boolean>;
  /** Those that were read and not acknowledged stay leased, others are given back. */
  close(): Promise<void>;
}

export type QueueAnswer =
  | { readonly kind: "open"; readonly session: QueueSession }
  /** There is no such queue, or the user may not consume it. */
  | { readonly kind: "denied" }
  | { readonly kind: "inUse" }
  | { readonly kind: "tempfail" };

/** Queues whose messages are sent to their owners: work for a pusher on this node. */
export interface PushWork {
  readonly queue: string;
  readonly owner: MailboxName;
}

export class RingBroker implements Broker {
  readonly operations: Broker["operations"];
  private readonly exchanges: Definitions<ExchangeFields>;
  private readonly queues: Definitions<QueueFields>;
  private readonly owned: Definitions<OwnedFields>;
  private readonly publisher: Publisher;
  private readonly leaders: Queues;
  private readonly overflow: Overflow;
  private pusher: ((work: PushWork) => void) | undefined;

  constructor(private readonly options: BrokerOptions) {
    const { replication, clock, random, log, domain } = options;
    const tellChanged = (register: string) => replication.tellChanged(register);
    const { registers } = replication;
    const kept = { registers, clock, random, tellChanged };
    const exchanges = new Definitions<ExchangeFields>("exchange", kept);
    const queues = new Definitions<QueueFields>("queue", kept);
    const owned = new Definitions<OwnedFields>("owned", kept);
    this.exchanges = exchanges;
    this.queues = queues;
    this.owned = owned;
    const durable = new Durable(options);
    const onMoved = (queue: string): void => {
      this.overflow.note(queue);
      void this.wake(queue);
    };
    const deadLetters = new DeadLetters({ queues, durable, clock, random, domain, log, onMoved });
    this.leaders = new Queues({
      ...{ replication, queues, deadLetters, domain, clock, random, log },
      onWake: (queue) => void this.woken(queue),
    });
    const usageOf = (mailbox: MailboxName) => replication.usageOf(mailbox);
    this.overflow = new Overflow({
      ...{ queues, usageOf, domain, clock, log },
      trim: async (queue) => (await this.leaders.call({ queue, command: "trim" })).kind === "done",
    });
    const quotas = new Quotas({
      ...{ standard: {}, usageOf },
      members: () => replication.roster.members.length,
      clock,
    });
    this.publisher = new Publisher({
      ...{ ...options, registers, exchanges, queues, durable, quotas },
      idTimeAfter: (ms) => replication.idTimeAfter(ms),
      onPushed: (queue) => {
        this.overflow.note(queue);
        void this.wake(queue);
      },
    });
    this.operations = createOperations({
      ...{ exchanges, queues, owned, clock, random, domain },
      leaders: this.leaders,
    });
    replication.onQueueCall((call) => this.leaders.handle(call));
    replication.onRegisterChanged((register) => this.forget(register));
  }

  start(): void {
    this.leaders.start();
  }

  /** Gives up the queues that this node leads. */
  stop(): void {
    this.overflow.stop();
    this.leaders.stop();
  }

  /** Does this node lead the queue now? */
  leads(queue: string): boolean {
    return this.leaders.leads(queue);
  }

  private forget(register: string): void {
    this.exchanges.forget(register);
    this.queues.forget(register);
    this.owned.forget(register);
  }

  publish(packet: Packet, sender: ProvenSender): Promise<PublishOutcome> {
    return this.publisher.publish(packet, sender);
  }

  /**
   * Hands out entries of a queue to one consumer. `max`: at most so many. `recall`: of an exclusive queue, also
   * what was handed out before and is not settled.
   */
  async openQueue(
    queue: string,
    user: MailboxName,
    max?: number,
    recall = false,
  ): Promise<QueueAnswer> {
    const found = await this.queues.recall(queue);
    if (found.kind === "undecided") return { kind: "tempfail" };
    if (found.kind === "unknown") return { kind: "denied" };
    const { owner, consumers } = found.value;
    if (!isPermitted(user, owner, consumers)) return { kind: "denied" };
    const session = this.leaders.newSession();
    const more = { ...(max !== undefined && { max }), ...(recall && { recall }) };
    const call = { queue, command: "open", session, ...more } as const;
    const reply = await this.leaders.call(call);
    if (reply.kind === "entries") {
      return { kind: "open", session: this.sessionOf(queue, session, reply.entries) };
    }
    if (reply.kind === "inUse") return { kind: "inUse" };
    return { kind: reply.kind === "unknown" ? "denied" : "tempfail" };
  }

  /** Those of the queues that are worth a look: they have something for the user, or don't say that they have not. */
  async worthALook(queues: readonly string[], user: MailboxName): Promise<readonly string[]> {
    const { clock } = this.options;
    const over = new AbortController();
    const late = clock.sleep(brokerLimits.peekMs, over.signal).catch(() => undefined);
    try {
      const looks = queues.slice(0, brokerLimits.peekedMax).map(async (queue) => {
        const isEmpty = await Promise.race([this.isEmptyFor(queue, user), late]);
        return isEmpty === true ? [] : [queue];
      });
      return (await Promise.all(looks)).flat();
    } finally {
      over.abort();
    }
  }

  private async isEmptyFor(queue: string, user: MailboxName): Promise<boolean> {
    const found = await this.queues.recall(queue);
    if (found.kind !== "found") return false;
    const { owner, consumers } = found.value;
    if (!isPermitted(user, owner, consumers)) return false;
    const reply = await this.leaders.call({ queue, command: "peek" });
    return reply.kind === "peeked" && !reply.ready;
  }

  private sessionOf(queue: string, session: string, entries: readonly QueueEntry[]): QueueSession {
    const { leaders } = this;
    const { replication, domain } = this.options;
    const reader = replication.readerOf(queueMailbox(queue, domain));
    const seen = new Set<MessageId>();
    const lineOf = ({ redelivered }: QueueEntry): string => redeliveredLine(redelivered);
    return {
      entries,
      octetsOf: (entry) =>
        Buffer.byteLength(lineOf(entry)) +
        Buffer.byteLength(entry.message.trace) +
        entry.message.bodyOctets,
      async read(entry, signal) {
        const { message } = entry;
        const line = lineOf(entry);
        const octets = await reader.read({ ...message, trace: line + message.trace }, signal);
        seen.add(message.id);
        return octets;
      },
      async acknowledge(done) {
        const ack = done.map(({ message }) => message.id);
        const reply = await leaders.call({ queue, command: "settle", session, ack });
        return reply.kind === "done";
      },
      async close() {
        // Of these the leader has not taken notice.
        if (entries.length === 0) return;
        const back = entries.map(({ message }) => message.id).filter((id) => !seen.has(id));
        await leaders.call({ queue, command: "close", session, back });
      },
    };
  }

  /** Tells a pusher of queues with `push` that this node leads and that have something to be sent. */
  onPush(pusher: (work: PushWork) => void): void {
    this.pusher = pusher;
  }

  /** What of a queue is to be sent to its owner now, in one mail; undefined: not by this node, or not now. */
  takeToPush(queue: string): Promise<PushBatch | undefined> {
    return this.leaders.takeToPush(queue);
  }

  /** What was pushed is not to be delivered there: again after a while. */
  async pushFailed(queue: string, entries: readonly EntryTime[]): Promise<void> {
    const found = await this.queues.recall(queue);
    // Of an exclusive queue it counts as on its way until then, so that nothing passes it.
    const isInOrder = found.kind === "found" && found.value.exclusive;
    const times = isInOrder ? { extend: entries } : { nack: entries };
    await this.leaders.call({ queue, command: "settle", ...times });
  }

  /**
   * Queues with `push` that this node leads, or is to lead: for after a start or a failure, and when whoever
   * added something died before the leader was told.
   */
  async pushWork(): Promise<readonly PushWork[]> {
    const suffix = `@${this.options.domain}/queue`;
    const work: PushWork[] = [];
    for (const { mailbox, messages, pending } of this.options.store.catalog()) {
      if (!mailbox.endsWith(suffix) || (messages === 0 && !pending)) continue;
      const queue = mailbox.slice(0, -suffix.length);
      if (!this.leaders.isOurs(queue)) continue;
      const found = await this.queues.recall(queue);
      if (found.kind !== "found" || !found.value.push) continue;
      work.push({ queue, owner: found.value.owner });
    }
    return work;
  }

  /** Something came into a queue: whoever leads it, or is to, looks after it. */
  private async wake(queue: string): Promise<void> {
    const found = await this.queues.recall(queue);
    if (found.kind !== "found" || !found.value.push) return;
    await this.leaders.call({ queue, command: "wake" });
  }

  private async woken(queue: string): Promise<void> {
    const found = await this.queues.recall(queue);
    if (found.kind === "found" && found.value.push) {
      this.pusher?.({ queue, owner: found.value.owner });
    }
  }
}
