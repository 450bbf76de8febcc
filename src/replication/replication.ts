/** Replication, put together: what a node's other rooms use of it. */
import type { Body } from "../shared/body.js";
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type { Operation } from "../shared/operation.js";
import type { Copy, DeliveryResult } from "./delivery.js";
import type { Departures } from "./departures.js";
import type { Floors } from "./floors.js";
import type { Groups } from "./group.js";
import type { Heartbeat } from "./heartbeat.js";
import type { Joining } from "./joining.js";
import type { OpenAnswer } from "./maildrop.js";
import type { Membership } from "./membership.js";
import { timeOf } from "./message-id.js";
import type { MessageReader } from "./message-reader.js";
import type { ReplicationOptions } from "./options.js";
import { type Parts, partsOf } from "./parts.js";
import type { Caller, Progress, QueueCall, QueueReply } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { PeerMessage } from "./ports.js";
import type { Puller } from "./pull.js";
import type { Registers } from "./registers.js";
import { Restoring } from "./restoring.js";
import type { Roster } from "./roster.js";
import { Round } from "./round.js";
import { createHandlers } from "./service.js";
import { TryTable } from "./try-table.js";

export class Replication {
  readonly membership: Membership;
  readonly registers: Registers;
  readonly groups: Groups;
  readonly floors: Floors;
  readonly heartbeat: Heartbeat;
  readonly peers: Peers;
  readonly joining: Joining;
  readonly departures: Departures;
  readonly restoring: Restoring;
  readonly newMessageId: () => MessageId;

  private readonly parts: Parts;
  private queueListener: ((call: QueueCall) => Promise<QueueReply>) | undefined;

  constructor(private readonly options: ReplicationOptions) {
    const parts = partsOf(options);
    this.parts = parts;
    this.membership = parts.membership;
    this.registers = parts.registers;
    this.groups = parts.groups;
    this.floors = parts.floors;
    this.heartbeat = parts.heartbeat;
    this.peers = parts.peers;
    this.joining = parts.joining;
    this.departures = parts.departures;
    this.newMessageId = parts.newMessageId;
    this.restoring = new Restoring({
      ...{ ...parts, random: options.random, self: options.self.uuid },
      deliver: async (copy, body) => {
        const result = await this.deliver([copy], body);
        // Nobody will send it again: an identical mail is a new one.
        if (result.kind === "stored") this.settled(copy.mailbox, copy.message.id, "confirmed");
        return result;
      },
    });
    this.serve();
    parts.membership.onChange((roster, before) => {
      parts.heartbeat.rosterChanged(roster, before);
      parts.transfer.begin();
    });
  }

  private serve(): void {
    const { parts } = this;
    const { store, clock, log, status } = this.options;
    parts.peers.serve(
      createHandlers({
        ...{ ...parts, store, log, status },
        tries: new TryTable(clock),
        leasesAreKnown: this.leasesKnown(),
        holdsSession: (session) => parts.maildrops.holds(session),
        onJoin: (request) => parts.joining.admit(request),
        onRegisterChanged: (register) => parts.news.heard(register),
        onQueueCall: async (call) => {
          const why = "this member has no queues";
          return this.queueListener?.(call) ?? { kind: "failed", why };
        },
      }),
    );
  }

  /** Only a restarted node may have granted leases that it does not know; one without a past has none. */
  private leasesKnown(): () => Promise<void> {
    const { store, clock, timings } = this.options;
    const knownAtMs = clock.monotonicMs() + timings.leaseMs;
    const restarted = store.local("roster") !== undefined;
    return async () => {
      const waitMs = knownAtMs - clock.monotonicMs();
      const isAlone = this.roster.members.length === 1;
      if (restarted && !isAlone && waitMs > 0) await clock.sleep(waitMs);
    };
  }

  /** Begins the background work. The roster is known: founded, loaded or joined. */
  start(recent: readonly Copy[]): void {
    const { ringClock, retries, doubts, transfer } = this.parts;
    // What was acknowledged last before a crash may be unknown to its client.
    for (const { mailbox, message } of recent) {
      ringClock.hear(timeOf(message.id));
      retries.note(mailbox, message, true);
    }
    doubts.doubtRecent(recent).catch((error: unknown) => {
      this.options.log.warn({ error: String(error) }, "a repeated mail was not removed");
    });
    transfer.begin();
    this.beginRounds();
  }

  private beginRounds(): void {
    const { clock, log, timings } = this.options;
    const { heartbeat, driver, repair, repairRound, floors, stopping } = this.parts;
    const every = (intervalMs: number, run: () => Promise<void> | void): Round =>
      new Round({ clock, log, intervalMs, run });
    const rounds = [
      every(timings.beatIntervalMs / 2, () => heartbeat.tick()),
      every(timings.driveIntervalMs, () => driver.tick()),
      repairRound,
      every(floors.intervalMs, () => floors.tick()),
      every(timings.handOverIntervalMs, async () => {
        await repair.handOver();
      }),
    ];
    for (const round of rounds) void round.begin(stopping.signal);
  }

  stop(): void {
    this.parts.stopping.abort();
    this.parts.transfer.stop();
    this.parts.settlements.stop();
  }

  /** A connection to a member stands (again): whether it lives is asked at once. */
  peerUp(): void {
    this.heartbeat.beat();
  }

  /** A call from another member. */
  handle(from: Caller, method: string, message: PeerMessage): Promise<PeerMessage> {
    if (method === "replicate" || method === "acquire") this.parts.pace.noteForeground();
    return this.peers.incoming(from, method, message);
  }

  /** The connection from a member broke: see `Doubts`. */
  peerGone(uuid: MemberUuid): void {
    this.parts.doubts.coordinatorGone(uuid);
  }

  /**
   * Takes back what was promised to nobody, so that it does not turn up when its sender has long
   * sent it again. Who can't be reached learns of it by repair.
   */
  withdraw(copies: readonly Copy[]): void {
    for (const { mailbox, message } of copies) {
      // Stand-ins and those who are away hear nothing of the deletion before others repeat the mail.
      this.parts.settlements.settle(mailbox, message.id, "doubtful");
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
    this.parts.pace.noteForeground();
    return this.parts.coordinator.deliver(copies, body, options);
  }

  /** Gives up a body that was handed over to be delivered. */
  async discard(body: Body): Promise<void> {
    if (body.kind === "file") await this.options.files.remove(body.path);
  }

  settled(mailbox: MailboxName, id: MessageId, outcome: "confirmed" | "doubtful"): void {
    this.parts.settlements.settle(mailbox, id, outcome);
  }

  openMaildrop(mailbox: MailboxName): Promise<OpenAnswer> {
    this.parts.pace.noteForeground();
    return this.parts.maildrops.openMaildrop(mailbox);
  }

  /** Registers somebody who remembers values of registers. */
  onRegisterChanged(listener: (register: string) => void): void {
    this.parts.news.onChanged(listener);
  }

  /** Registers who leads queues on this node. */
  onQueueCall(listener: (call: QueueCall) => Promise<QueueReply>): void {
    this.queueListener = listener;
  }

  /** Reads messages of a mailbox whose lock another member may hold. */
  readerOf(mailbox: MailboxName): MessageReader {
    return this.parts.maildrops.reader(mailbox);
  }

  /** The time of an id made now, which is later than `ms`. */
  idTimeAfter(ms: number): number {
    this.parts.ringClock.hear(ms + 1);
    return timeOf(this.newMessageId());
  }

  /** Makes every member forget what it remembers of a register; who is silent forgets by itself. */
  async announceChanged(register: string): Promise<void> {
    await this.tellChanged(register);
  }

  /** As `announceChanged`; true when every member has heard it. */
  tellChanged(register: string): Promise<boolean> {
    return this.parts.news.tell(register);
  }

  /** How far the copying is that a change of members asks of this node. */
  get copying(): Progress {
    return this.parts.transfer.progress();
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
    return this.parts.puller.idsAt(mailbox, member);
  }

  get roster(): Roster {
    return this.membership.roster;
  }
}
