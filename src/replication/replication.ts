/** Replication, put together: what a node's other rooms use of it. */
import type { Body } from "../shared/body.js";
import type { Address, MailboxName, MemberUuid, MessageId, RingId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { Operation } from "../shared/operation.js";
import { Bodies } from "./bodies.js";
import { type Copy, Coordinator, type DeliveryResult } from "./delivery.js";
import { Departures } from "./departures.js";
import { Doubts } from "./doubts.js";
import { Driver } from "./driver.js";
import { defaultFloorLimits, type FloorLimits, Floors } from "./floors.js";
import { Groups } from "./group.js";
import { Heartbeat } from "./heartbeat.js";
import { Joining } from "./joining.js";
import { LockTable } from "./locks.js";
import { Maildrops, type OpenAnswer, type ReplicatedMaildrop } from "./maildrop.js";
import { Mending } from "./mending.js";
import { Membership } from "./membership.js";
import { messageIdMaker, timeOf } from "./message-id.js";
import type { Caller, Progress, QueueCall, QueueReply } from "./peer-methods.js";
import { Pace, type PaceLimits } from "./pace.js";
import { Peers } from "./peers.js";
import type { Clock, Files, PeerCaller, PeerMessage, Randomness, Store } from "./ports.js";
import { Puller } from "./pull.js";
import { Registers } from "./registers.js";
import { Repair } from "./repair.js";
import { Retries } from "./retries.js";
import { RingClock } from "./ring-clock.js";
import { memberByUuid, type RingParameters, type Roster } from "./roster.js";
import { createHandlers } from "./service.js";
import { Settlements } from "./settlements.js";
import { Restoring } from "./restoring.js";
import { SharedNames } from "./shared-names.js";
import { Survey } from "./survey.js";
import { Transfer } from "./transfer.js";
import { TryTable } from "./try-table.js";

export interface ReplicationTimings {
  readonly beatIntervalMs: number;
  /** A lock outlives the last sign of life of its front node by so much. */
  readonly leaseMs: number;
  readonly driveIntervalMs: number;
  readonly repairIntervalMs: number;
  readonly handOverIntervalMs: number;
  readonly evictAfterMs: number;
  readonly joinerSilentMs: number;
}

export const defaultTimings: ReplicationTimings = {
  beatIntervalMs: 500,
  leaseMs: 1_500,
  driveIntervalMs: 500,
  repairIntervalMs: 3_000,
  handOverIntervalMs: 2_000,
  evictAfterMs: 600_000,
  joinerSilentMs: 15_000,
};

const newsWaitMs = 5_000;

export interface ReplicationOptions {
  readonly self: Caller & { readonly id: RingId };
  readonly ring: RingParameters;
  readonly store: Store;
  readonly files: Files;
  readonly caller: PeerCaller;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly log: Log;
  readonly timings: ReplicationTimings;
  /** How fast ranges and repairs are copied. */
  readonly pace?: PaceLimits;
  /** How soon tombstones are forgotten where much passes. */
  readonly floors?: FloorLimits;
  /** Known to be unreachable at this moment. */
  readonly isDown: (peer: Address) => boolean;
  /** What this member tells of itself when asked for its status. */
  readonly status: () => unknown;
}

export class Replication {
  readonly membership: Membership;
  readonly registers: Registers;
  readonly groups: Groups;
  readonly heartbeat: Heartbeat;
  readonly peers: Peers;
  readonly joining: Joining;
  readonly departures: Departures;
  readonly restoring: Restoring;
  readonly newMessageId: () => MessageId;

  private readonly pace: Pace;
  private readonly puller: Puller;
  private readonly ringClock: RingClock;
  private readonly retries: Retries;
  private readonly doubts: Doubts;
  private readonly coordinator: Coordinator;
  private readonly maildrops: Maildrops;
  private readonly settlements: Settlements;
  private readonly floors: Floors;
  private readonly repair: Repair;
  private readonly transfer: Transfer;
  private readonly driver: Driver;
  private readonly names: SharedNames;
  private readonly stopping = new AbortController();
  private wakeRepair: AbortController | undefined;
  private readonly registerListeners: ((register: string) => void)[] = [];
  private queueListener: ((call: QueueCall) => Promise<QueueReply>) | undefined;

  constructor(private readonly options: ReplicationOptions) {
    const { store, files, clock, random, log, timings, self, ring } = options;
    const boot = random.bytes(8).toString("hex");
    const startedMs = clock.monotonicMs();
    // A node without a past has granted no locks.
    const restarted = store.local("roster") !== undefined;
    this.ringClock = new RingClock(clock);
    const { ringClock } = this;
    this.newMessageId = messageIdMaker(ringClock, random);
    this.peers = new Peers({ uuid: self.uuid, addr: self.addr }, options.caller);
    const { peers } = this;
    this.membership = new Membership({ ring, store, peers, log });
    const { membership } = this;
    this.groups = new Groups(peers, membership);
    const { groups } = this;
    this.registers = new Registers(self.uuid, groups, clock, random);
    membership.use(this.registers);
    const locks = new LockTable(self.uuid, timings.leaseMs, () => clock.monotonicMs());
    this.retries = new Retries(() => clock.monotonicMs());
    this.doubts = new Doubts({ retries: this.retries, store, log });
    const bodies = new Bodies({ store, files, peers, clock, log });
    this.pace = new Pace(clock, options.pace);
    this.puller = new Puller({ store, peers, bodies, retries: this.retries, pace: this.pace });
    const { puller } = this;
    this.names = new SharedNames(self.uuid, store, groups);
    this.transfer = new Transfer({
      ...{ membership, groups, store, puller, clock, log },
      registers: this.registers,
    });
    this.floors = new Floors({
      ...{ groups, peers, store, clock, random, log },
      registers: this.registers,
      ringMs: () => ringClock.nowMs(),
      tell: (register) => this.tellChanged(register),
      limits: options.floors ?? defaultFloorLimits,
    });
    const { floors } = this;
    this.repair = new Repair({
      ...{ membership, groups, store, puller, clock, random, log },
      onDropped: (mailbox) => floors.forget(mailbox),
      registers: this.registers,
      names: this.names,
    });
    this.heartbeat = new Heartbeat({
      ...{ membership, peers, locks, clock, ringClock, boot },
      deadlineMs: 1_000,
      onHeard: (member, restarted) => this.heard(member, restarted),
      // Those whose mail it was about to acknowledge go to another member, and that soon.
      onQuiet: (uuid) => this.peerGone(uuid),
    });
    this.driver = new Driver({
      membership,
      groups,
      peers,
      log,
      ...timings,
      heartbeat: this.heartbeat,
    });
    this.departures = new Departures({
      ...{ membership, groups, peers, clock },
      heartbeat: this.heartbeat,
    });
    this.joining = new Joining({ self, membership, peers, clock, log });
    this.settlements = new Settlements(peers, groups, clock);
    this.coordinator = new Coordinator({
      ...{ peers, groups, store, files, log },
      view: membership,
      onSunk: (ms) => ringClock.hear(ms),
      isDown: ({ uuid, addr }) => options.isDown(addr) || this.heartbeat.isQuiet(uuid),
    });
    this.maildrops = new Maildrops({
      ...{ peers, groups, store, files, bodies, puller, clock, log, boot },
      retries: this.retries,
      barrier: (mailbox) => floors.barrier(mailbox),
      onDifference: () => this.wakeRepair?.abort(),
    });
    const { heartbeat, names } = this;
    const survey = new Survey({ membership, groups, heartbeat, names, store, clock });
    const mending = new Mending({
      ...{ membership, groups, heartbeat, store, bodies, puller, clock, log },
    });
    this.restoring = new Restoring({
      ...{ peers, groups, puller, bodies, random, self: self.uuid },
      newMessageId: this.newMessageId,
      deliver: async (copy, body) => {
        const result = await this.deliver([copy], body);
        // Nobody will send it again: an identical mail is a new one.
        if (result.kind === "stored") this.settled(copy.mailbox, copy.message.id, "confirmed");
        return result;
      },
    });
    peers.serve(
      createHandlers({
        ...{ store, membership, groups, peers, locks, bodies, log },
        tries: new TryTable(clock),
        retries: this.retries,
        doubts: this.doubts,
        ...{ ringClock, floors },
        repair: this.repair,
        transfer: this.transfer,
        heartbeat: this.heartbeat,
        ...{ names, mending, survey },
        // Only a restarted node may have granted leases that it does not know.
        leasesAreKnown: async () => {
          const waitMs = startedMs + timings.leaseMs - clock.monotonicMs();
          const isAlone = membership.roster.members.length === 1;
          if (restarted && !isAlone && waitMs > 0) await clock.sleep(waitMs);
        },
        holdsSession: (session) => this.maildrops.holds(session),
        onJoin: (request) => this.joining.admit(request),
        status: options.status,
        onRegisterChanged: (register) => {
          floors.heard(register);
          for (const listener of this.registerListeners) listener(register);
        },
        onQueueCall: async (call) => {
          const why = "this member has no queues";
          return this.queueListener?.(call) ?? { kind: "failed", why };
        },
      }),
    );
    membership.onChange((roster, before) => {
      this.heartbeat.rosterChanged(roster, before);
      this.transfer.begin();
    });
  }

  /** Begins the background work. The roster is known: founded, loaded or joined. */
  start(recent: readonly Copy[]): void {
    // What was acknowledged last before a crash may be unknown to its client.
    for (const { mailbox, message } of recent) {
      this.ringClock.hear(timeOf(message.id));
      this.retries.note(mailbox, message, true);
    }
    this.doubts.doubtRecent(recent).catch((error: unknown) => {
      this.options.log.warn({ error: String(error) }, "a repeated mail was not removed");
    });
    this.transfer.begin();
    const { timings } = this.options;
    void this.every(timings.beatIntervalMs / 2, () => this.heartbeat.tick());
    void this.every(timings.driveIntervalMs, () => this.driver.tick());
    void this.every(timings.repairIntervalMs, () => this.repairRound(), true);
    void this.every(this.floors.intervalMs, () => this.floors.tick());
    void this.every(timings.handOverIntervalMs, async () => {
      await this.repair.handOver();
    });
  }

  stop(): void {
    this.stopping.abort();
    this.transfer.stop();
    this.settlements.stop();
  }

  private async every(
    intervalMs: number,
    run: () => Promise<void> | void,
    wakeable = false,
  ): Promise<void> {
    const { clock, log } = this.options;
    while (!this.stopping.signal.aborted) {
      // What turns up during a run wants another one.
      const wake = new AbortController();
      if (wakeable) this.wakeRepair = wake;
      try {
        await run();
      } catch (error) {
        log.warn({ error: String(error) }, "background work failed; it will be tried again");
      }
      const signal = AbortSignal.any([this.stopping.signal, wake.signal]);
      await clock.sleep(intervalMs, signal).catch(() => undefined);
    }
  }

  private async repairRound(): Promise<void> {
    const { membership, heartbeat } = this;
    for (const member of membership.roster.members) {
      if (this.peers.isSelf(member.uuid) || heartbeat.isQuiet(member.uuid)) continue;
      await this.repair.compareWith(member);
    }
  }

  private heard(caller: Caller, restarted: boolean): void {
    const member = memberByUuid(this.membership.roster, caller.uuid);
    if (!member) return;
    if (restarted) this.maildrops.assertAt(member);
    this.wakeRepair?.abort();
  }

  /** A connection to a member stands (again): whether it lives is asked at once. */
  peerUp(): void {
    this.heartbeat.beat();
  }

  /** A call from another member. */
  handle(from: Caller, method: string, message: PeerMessage): Promise<PeerMessage> {
    if (method === "replicate" || method === "acquire") this.pace.noteForeground();
    return this.peers.incoming(from, method, message);
  }

  /**
   * The connection from a member broke, or it went quiet: what it was about to acknowledge is in doubt at once. What
   * was repeated already is removed later, when the member had time to come back with the news.
   */
  peerGone(uuid: MemberUuid): void {
    const doubtful = this.retries.coordinatorGone(uuid);
    if (doubtful.length > 0) void this.removeRepeated(doubtful);
  }

  private async removeRepeated(ids: readonly MessageId[]): Promise<void> {
    const { clock, log } = this.options;
    try {
      await clock.sleep(newsWaitMs, this.stopping.signal);
      const doubtful = ids.filter((id) => this.retries.stateOf(id) === "doubtful");
      await this.peers.call(this.peers.self, "settled", { confirmed: [], doubtful });
    } catch (error) {
      if (!this.stopping.signal.aborted) {
        log.warn({ error: String(error) }, "a repeated mail was not removed");
      }
    }
  }

  /**
   * Takes back what was promised to nobody, so that it does not turn up when its sender has long
   * sent it again. Who can't be reached learns of it by repair.
   */
  withdraw(copies: readonly Copy[]): void {
    for (const { mailbox, message } of copies) {
      // Stand-ins and those who are away hear nothing of the deletion before others repeat the mail.
      this.settlements.settle(mailbox, message.id, "doubtful");
      const tombstone = { id: message.id, removedAtMs: message.receivedAtMs };
      const operations: Operation[] = [{ kind: "RemoveMessage", mailbox, tombstone }];
      this.groups.ask(mailbox, "replicate", { operations, bodies: [] }).catch((error: unknown) => {
        this.options.log.warn({ error: String(error) }, "a refused mail was not taken back");
      });
    }
  }

  /** `byGroup`: only copies with the mailbox's own group count, and nobody else gets any. */
  deliver(
    copies: readonly Copy[],
    body: Body,
    options: { readonly byGroup?: boolean } = {},
  ): Promise<DeliveryResult> {
    this.pace.noteForeground();
    return this.coordinator.deliver(copies, body, options);
  }

  /** Gives up a body that was handed over to be delivered. */
  async discard(body: Body): Promise<void> {
    if (body.kind === "file") await this.options.files.remove(body.path);
  }

  settled(mailbox: MailboxName, id: MessageId, outcome: "confirmed" | "doubtful"): void {
    this.settlements.settle(mailbox, id, outcome);
  }

  openMaildrop(mailbox: MailboxName): Promise<OpenAnswer> {
    this.pace.noteForeground();
    return this.maildrops.openMaildrop(mailbox);
  }

  /** Registers somebody who remembers values of registers. */
  onRegisterChanged(listener: (register: string) => void): void {
    this.registerListeners.push(listener);
  }

  /** Registers who leads queues on this node. */
  onQueueCall(listener: (call: QueueCall) => Promise<QueueReply>): void {
    this.queueListener = listener;
  }

  /** Reads messages of a mailbox whose lock another member may hold. */
  readerOf(mailbox: MailboxName): Pick<ReplicatedMaildrop, "read"> {
    return this.maildrops.reader(mailbox);
  }

  /** The time of an id made now, which is later than `ms`. */
  idTimeAfter(ms: number): number {
    this.ringClock.hear(ms + 1);
    return timeOf(this.newMessageId());
  }

  /** Makes every member forget what it remembers of a register; who is silent forgets by itself. */
  async announceChanged(register: string): Promise<void> {
    await this.tellChanged(register);
  }

  /** As `announceChanged`; true when every member has heard it. */
  async tellChanged(register: string): Promise<boolean> {
    const deadlineMs = 500;
    const told = await Promise.allSettled(
      this.roster.members.map((member) =>
        this.peers.call(member, "registerChanged", { register }, { deadlineMs }),
      ),
    );
    return told.every(({ status }) => status === "fulfilled");
  }

  /** How far the copying is that a change of members asks of this node. */
  get copying(): Progress {
    return this.transfer.progress();
  }

  /**
   * What a mailbox holds, by the member of a majority that knows of most; undefined when too few
   * answer.
   */
  async usageOf(
    mailbox: MailboxName,
  ): Promise<{ readonly octets: number; readonly messages: number } | undefined> {
    const asked = await this.groups.ask(mailbox, "summary", { mailbox }, { alone: true });
    if (!asked.quorum) return undefined;
    const summaries = [...asked.answers.values()].map(({ summary }) => summary);
    return {
      octets: Math.max(0, ...summaries.map(({ octets }) => octets)),
      messages: Math.max(0, ...summaries.map(({ messages }) => messages)),
    };
  }

  /** Ids of a mailbox as a member has it. @throws PeerUnavailableError */
  idsOf(mailbox: MailboxName, member: Caller): ReturnType<Puller["idsAt"]> {
    return this.puller.idsAt(mailbox, member);
  }

  get roster(): Roster {
    return this.membership.roster;
  }
}
