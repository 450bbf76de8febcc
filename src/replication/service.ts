/** What this member answers to the others. */
import type { Body } from "../shared/body.js";
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Log } from "../shared/log.js";
import type { Operation, RegisterState, StoredMessage } from "../shared/operation.js";
import { BodyCorruptError, StoreFailedError, StoreFullError } from "../shared/store-errors.js";
import { accept, prepare } from "./acceptor.js";
import { untouched } from "./ballot.js";
import type { Bodies } from "./bodies.js";
import type { Admitted, Floors } from "./floors.js";
import type { Groups } from "./group.js";
import type { Heartbeat } from "./heartbeat.js";
import type { LockTable } from "./locks.js";
import { pendingOf } from "./merged.js";
import type { Mending } from "./mending.js";
import type { Membership } from "./membership.js";
import type {
  Caller,
  Fenced,
  JoinReply,
  PeerHandlers,
  QueueCall,
  QueueReply,
  ReplicateReply,
  ReplyOf,
  RequestOf,
} from "./peer-methods.js";
import { timeOf } from "./message-id.js";
import type { Peers } from "./peers.js";
import { isInGroup } from "./placement.js";
import type { Store } from "./ports.js";
import { deletionOf, type Doubts, removalsOfDeleted, removalsOfRepeated } from "./doubts.js";
import { fetchBodyOctetsMax } from "./pull.js";
import type { Repair } from "./repair.js";
import type { Retries, Unsettled } from "./retries.js";
import type { RingClock } from "./ring-clock.js";
import { memberByUuid, type Member, rosterToJson } from "./roster.js";
import { type SharedNames } from "./shared-names.js";
import type { Survey } from "./survey.js";
import type { Transfer } from "./transfer.js";
import type { TryTable } from "./try-table.js";

export interface ServiceOptions {
  readonly store: Store;
  readonly membership: Membership;
  readonly groups: Groups;
  readonly peers: Peers;
  readonly locks: LockTable;
  readonly tries: TryTable;
  readonly retries: Retries;
  readonly doubts: Doubts;
  readonly ringClock: RingClock;
  readonly bodies: Bodies;
  readonly floors: Floors;
  readonly repair: Repair;
  readonly transfer: Transfer;
  readonly heartbeat: Heartbeat;
  readonly names: SharedNames;
  readonly survey: Survey;
  readonly mending: Mending;
  readonly log: Log;
  readonly boot: string;
  /** Waits while leases that were granted before this node's start may be alive. */
  readonly leasesAreKnown: () => Promise<void>;
  readonly holdsSession: (session: string) => boolean;
  readonly onJoin: (request: RequestOf<"join">) => Promise<JoinReply>;
  readonly status: () => unknown;
  readonly onRegisterChanged: (register: string) => void;
  readonly onQueueCall: (call: QueueCall) => Promise<QueueReply>;
}

export function createHandlers(options: ServiceOptions): PeerHandlers {
  const service = new Service(options);
  const { heartbeat, membership, repair, transfer, names, locks } = options;
  return {
    replicate: (from, request) => service.replicate(from, request),
    bodyChunk: (from, { transfer: name, offset, blobs }) =>
      options.bodies.receiveChunk(from, name, offset, blobs?.[0] ?? Buffer.alloc(0)),
    readBody: async (_, { digest, offset, length }) => {
      const bytes = await options.bodies.serve(digest, offset, length);
      return bytes ? { kind: "bytes", blobs: [bytes] } : { kind: "missing" };
    },
    bodies: (_, { digests }) => options.bodies.serveSome(digests),
    settled: async (_, { confirmed, doubtful }) => {
      await options.doubts.settled(confirmed, doubtful);
      return { kind: "ok" };
    },
    prepare: (from, request) => service.prepare(from, request),
    accept: (from, request) => service.accept(from, request),
    readRegister: (from, request) => service.readRegister(from, request),
    acquire: (from, request) => service.acquire(from, request),
    checkLock: (from, { epoch, mailbox, session }) =>
      service.fenced(from, epoch, () => ({
        kind: locks.holds(mailbox, session) ? "held" : "lost",
      })),
    release: (_, { mailbox, session }) => {
      locks.release(mailbox, session);
      return { kind: "ok" };
    },
    holds: (_, { session }) => ({ holds: options.holdsSession(session) }),
    noteTry: (from, { epoch, key, id, windowMs, max }) =>
      service.fenced(from, epoch, () => ({
        kind: "tries",
        tries: options.tries.note(key, id, { windowMs, max }),
      })),
    releaseTry: (from, { epoch, key, id }) =>
      service.fenced(from, epoch, () => {
        options.tries.release(key, id);
        return { kind: "ok" };
      }),
    summary: (from, { epoch, mailbox }) =>
      service.fenced(from, epoch, async () => {
        return { kind: "summary", summary: await options.store.summary(mailbox) };
      }),
    listing: (_, request) => service.listing(request),
    sound: (from, { epoch, mailbox, nonce }) =>
      service.fenced(from, epoch, () => options.floors.sound(mailbox, nonce)),
    fetch: (_, request) => service.fetch(request),
    beat: (from, beat) => {
      options.retries.coordinatorHeard(from.uuid);
      return heartbeat.answer(from, beat);
    },
    roster: () => ({ roster: rosterToJson(membership.roster) }),
    newRoster: async (_, { roster }) => {
      await membership.learn(roster);
      return { kind: "ok" };
    },
    join: (_, request) => options.onJoin(request),
    silence: (_, { of }) => ({ silentMs: heartbeat.silentMs(of) }),
    progress: (from, { epoch }) =>
      service.fenced(from, epoch, () => {
        const progress = transfer.progress();
        const done = progress.done && !service.keepsHintsAndLeaves();
        return { kind: "progress", ...progress, done };
      }),
    gains: (from, { epoch, after }) =>
      service.fenced(from, epoch, () => names.gainsOf(from.uuid, after)),
    compare: (from, { epoch, buckets, firstBucket }) =>
      service.fenced(from, epoch, () =>
        repair.compare(service.memberOf(from), buckets, firstBucket),
      ),
    offer: (from, { epoch, mailbox, digest }) =>
      service.fenced(from, epoch, async () => {
        const complete = await repair.takeOffer(mailbox, digest, service.memberOf(from));
        return { kind: complete ? "complete" : "incomplete" };
      }),
    lines: (from, { epoch, buckets, from: first }) =>
      service.fenced(from, epoch, () =>
        options.survey.lines(service.memberOf(from), buckets, first),
      ),
    survey: (from, { epoch }) => service.fenced(from, epoch, () => options.survey.take()),
    mend: (from, request) =>
      service.fenced(from, request.epoch, () => options.mending.mend(request)),
    recall: (_, { id }) => options.mending.recall(id),
    status: () => ({ status: options.status() }),
    registerChanged: (_, { register }) => {
      options.onRegisterChanged(register);
      return { kind: "ok" };
    },
    queueCall: (_, call) => options.onQueueCall(call),
    accounts: (_, { after }) => names.registersAfter(after),
  };
}

/** Floors that come one after the other while an operation waits. */
const judgementsMax = 16;

interface Barred {
  readonly kind: "barred";
  readonly barred: ReturnType<Floors["barred"]>;
}

class Service {
  constructor(private readonly options: ServiceOptions) {}

  memberOf(from: Caller): Member {
    const member = memberByUuid(this.options.membership.roster, from.uuid);
    if (!member) throw new Error("the caller is not on the roster");
    return member;
  }

  /** A member that leaves takes nothing with it that others rely on. */
  keepsHintsAndLeaves(): boolean {
    const { membership, names } = this.options;
    return membership.selfMember?.state === "leaving" && names.keepsForeign();
  }

  /**
   * Runs `answer` when the caller works by the same roster as this node. There is no turn of the
   * event loop between the check and the beginning of `answer`.
   */
  async fenced<R>(from: Caller, epoch: number, answer: () => R | Promise<R>): Promise<Fenced<R>> {
    const { membership } = this.options;
    if (epoch > membership.roster.epoch) await membership.learnFrom(from);
    if (epoch > membership.roster.epoch) return { kind: "behind" };
    if (epoch < membership.roster.epoch) {
      return { kind: "stale", roster: rosterToJson(membership.roster) };
    }
    return answer();
  }

  async replicate(from: Caller, request: RequestOf<"replicate">): Promise<ReplyOf<"replicate">> {
    const bodies = await this.options.bodies.collect(from, request.bodies, request.blobs ?? []);
    const reply = await this.counted(from, request, bodies);
    if (reply.kind !== "stored") await this.options.bodies.dispose(bodies);
    return reply;
  }

  /** What lies below a barrier waits, and is judged by the floor. */
  private async counted(
    from: Caller,
    request: RequestOf<"replicate">,
    bodies: readonly Body[],
  ): Promise<ReplyOf<"replicate">> {
    const { floors } = this.options;
    let admitted: Admitted = new Map();
    for (let judged = 0; judged < judgementsMax; judged += 1) {
      const reply = await this.written(from, request, { bodies, admitted });
      if (reply.kind !== "barred") return reply;
      const judgement = await floors.judge(reply.barred, request.lock !== undefined);
      if (judgement.kind === "sunk") return judgement;
      // One of another mailbox may have come meanwhile: what was looked at of the first need not be again.
      admitted = new Map([...admitted, ...judgement.admitted]);
    }
    return { kind: "failed" };
  }

  private written(
    from: Caller,
    request: RequestOf<"replicate">,
    { bodies, admitted }: { bodies: readonly Body[]; admitted: Admitted },
  ): Promise<Fenced<ReplicateReply | Barred>> {
    return this.fenced(from, request.epoch, async (): Promise<ReplicateReply | Barred> => {
      const { store, locks, floors, log } = this.options;
      const { lock } = request;
      // No turn of the event loop from here to the write.
      const barred = floors.barred(request.operations, admitted);
      if (barred.length > 0) return { kind: "barred", barred };
      if (lock && !locks.holds(lock.mailbox, lock.session)) return { kind: "lockLost" };
      if (lock) this.noteUnsettled(lock.mailbox, request.unsettled ?? []);
      const operations = request.operations.flatMap((operation) => this.prepared(operation));
      try {
        await store.write(operations, bodies);
        await this.options.doubts.written(operations);
        return { kind: "stored" };
      } catch (error) {
        if (error instanceof StoreFullError) return { kind: "full" };
        if (!(error instanceof StoreFailedError)) log.error({ error: String(error) }, "write");
        return { kind: "failed" };
      }
    });
  }

  /** Mails in doubt that are deleted: this member may never have had them, but gets their retries. */
  private noteUnsettled(mailbox: MailboxName, unsettled: readonly Unsettled[]): void {
    for (const each of unsettled) {
      this.options.retries.note(mailbox, each, each.state === "doubtful");
    }
  }

  /** The operation, with what follows from it on this member. */
  private prepared(operation: Operation): readonly Operation[] {
    const { retries, groups, repair, membership } = this.options;
    switch (operation.kind) {
      case "AddMessage": {
        const { mailbox, message } = operation;
        // A retry that comes here next gets a higher id, whatever the clocks show.
        this.options.ringClock.hear(timeOf(message.id));
        if (!isInGroup(groups.placementOf(mailbox), membership.self.uuid)) {
          repair.noteForeignWrite(mailbox);
        }
        const removals = removalsOfRepeated(retries, mailbox, message);
        const wasDeleted = retries.wasDeleted(message);
        retries.note(mailbox, message);
        return [wasDeleted ? deletionOf(mailbox, message) : operation, ...removals];
      }
      case "RemoveMessage": {
        const { mailbox, tombstone } = operation;
        return [operation, ...removalsOfDeleted(retries, mailbox, tombstone)];
      }
      default:
        throw new Error(`${operation.kind} is not replicated`);
    }
  }

  prepare(from: Caller, request: RequestOf<"prepare">): Promise<ReplyOf<"prepare">> {
    const { register, ballot } = request;
    return this.fenced(from, request.epoch, async () => {
      const answer = prepare(this.options.store.register(register) ?? untouched, ballot);
      if (answer.kind === "conflict") return answer;
      await this.remember(register, answer.state);
      const { accepted, value } = answer.state;
      return { kind: "promised", accepted, value };
    });
  }

  accept(from: Caller, request: RequestOf<"accept">): Promise<ReplyOf<"accept">> {
    const { register, ballot, value, next } = request;
    return this.fenced(from, request.epoch, async () => {
      const state = this.options.store.register(register) ?? untouched;
      const answer = accept(state, ballot, value, next);
      if (answer.kind === "conflict") return answer;
      await this.remember(register, answer.state);
      return { kind: "accepted", ...(next && { next: true as const }) };
    });
  }

  /** The store answers the new state at once, so the next call decides by it; ours waits for disk. */
  private remember(register: string, state: RegisterState): Promise<void> {
    return this.options.store.write([{ kind: "PutRegister", register, state }]);
  }

  readRegister(from: Caller, request: RequestOf<"readRegister">): Promise<ReplyOf<"readRegister">> {
    return this.fenced(from, request.epoch, async () => {
      const { store } = this.options;
      const state = store.register(request.register);
      try {
        await store.durable();
      } catch (error) {
        // On a full disk others' writes are refused all the time. What was not taken back is safe.
        const isSafe =
          error instanceof StoreFullError && store.register(request.register) === state;
        if (!isSafe) throw error;
      }
      const { accepted, value } = state ?? untouched;
      return { kind: "register", accepted, value };
    });
  }

  acquire(from: Caller, request: RequestOf<"acquire">): Promise<ReplyOf<"acquire">> {
    const { locks, store, floors, leasesAreKnown } = this.options;
    const { mailbox, session, boot } = request;
    return this.fenced(from, request.epoch, async () => {
      await leasesAreKnown();
      const wanted = { session, boot, owner: from.uuid };
      let answer = locks.acquire(mailbox, wanted);
      if (answer.kind === "held") {
        if (!(await this.isHeld(mailbox, answer.lease))) {
          locks.release(mailbox, answer.lease.session);
        }
        // Even if it was held then: the lease of a silent node may have run out meanwhile.
        answer = locks.acquire(mailbox, wanted);
      }
      if (answer.kind === "held") return { kind: "held", owner: answer.lease.owner };
      // The floor before the summary, and the barrier behind it: what is not sure does not count.
      const floor = await store.floor(mailbox);
      const summary = await store.summary(mailbox);
      const pending = pendingOf({ floor, barrier: floors.barrier(mailbox) });
      return { kind: "granted", summary, ...(pending !== "" && { pending }) };
    });
  }

  /** A release may have been lost, so the front node is asked before a client is turned away. */
  private async isHeld(
    mailbox: MailboxName,
    lease: { session: string; owner: MemberUuid },
  ): Promise<boolean> {
    const owner = memberByUuid(this.options.membership.roster, lease.owner);
    if (!owner) return false;
    try {
      const request = { mailbox, session: lease.session };
      // Short, since a client waits; who is too slow to say keeps the lock.
      const options = { deadlineMs: 250 };
      return (await this.options.peers.call(owner, "holds", request, options)).holds;
    } catch {
      return true;
    }
  }

  async listing({ mailbox, after }: RequestOf<"listing">): Promise<ReplyOf<"listing">> {
    const { messages, tombstones, floor, summary } = await this.options.store.contents(mailbox);
    const ids = [...messages, ...tombstones].map(({ id }) => id).filter((id) => id > after);
    const more = ids.length > limits.pageEntriesMax;
    if (ids.length > 1) ids.sort();
    const last = more ? ids[limits.pageEntriesMax - 1] : ids.at(-1);
    const isOnPage = ({ id }: { id: MessageId }): boolean =>
      id > after && last !== undefined && id <= last;
    const live = messages.filter(isOnPage).map(({ id }) => id);
    const removed = tombstones.filter(isOnPage);
    const unsettled = removed.flatMap(({ id }) => this.options.retries.unsettled(id) ?? []);
    const height = floor && { below: floor.below, ...(after === "" && { floor }) };
    // Not before the list was made: what came behind the barrier's back would count as known.
    return {
      live,
      removed,
      more,
      unsettled,
      ...height,
      digest: summary.digest,
      barrier: this.options.floors.barrier(mailbox),
    };
  }

  async fetch(request: RequestOf<"fetch">): Promise<ReplyOf<"fetch">> {
    const contents = await this.options.store.contents(request.mailbox);
    const ids = new Set(request.ids.slice(0, limits.pageEntriesMax));
    const wanted = contents.messages.filter((message) => ids.has(message.id));
    if (!request.withBodies) {
      const bodies = wanted.map(() => "omitted" as const);
      return { messages: wanted, bodies, unsettled: this.unsettledOf(wanted) };
    }
    const messages: (typeof wanted)[number][] = [];
    const bodies: ReplyOf<"fetch">["bodies"][number][] = [];
    const blobs: Buffer[] = [];
    let octets = 0;
    for (const message of wanted) {
      if (octets >= fetchBodyOctetsMax) break;
      messages.push(message);
      if (message.bodyOctets > limits.inlineBodyOctetsMax) {
        bodies.push("large");
        continue;
      }
      const bytes = await this.bodyOf(message.digest);
      bodies.push(bytes ? "blob" : "missing");
      if (bytes) blobs.push(bytes);
      octets += bytes?.length ?? 0;
    }
    return { messages, bodies, unsettled: this.unsettledOf(messages), blobs };
  }

  private unsettledOf(messages: readonly StoredMessage[]): readonly Unsettled[] {
    return messages.flatMap(({ id }) => this.options.retries.unsettled(id) ?? []);
  }

  private async bodyOf(digest: Parameters<Store["readBody"]>[0]): Promise<Buffer | undefined> {
    try {
      return await this.options.store.readBody(digest);
    } catch (error) {
      if (!(error instanceof BodyCorruptError)) throw error;
      this.options.log.warn({ digest }, "a body is damaged");
      return undefined;
    }
  }
}
