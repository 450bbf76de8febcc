/**
 * A queue at the node that leads it, which is the one whose session holds the lock of the queue's
 * mailbox. What was handed out is known here only; what was acknowledged is deleted at a majority,
 * fenced by that lock, before it is answered.
 */
import type { ReplicatedMaildrop } from "../../replication/maildrop.js";
import type { QueueCall, QueueReply } from "../../replication/peer-methods.js";
import type { Clock } from "../../replication/ports.js";
import type { MessageId } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import type { StoredMessage } from "../../shared/operation.js";
import type { QueueFields } from "./definitions.js";
import type { DeadLetters } from "./dead-letters.js";
import type { DeliveryCounts } from "./delivery-counts.js";
import { inParallel } from "./durable.js";
import { factsIn } from "./entry.js";
import { type Doomed, type Leased, LeaseTable, type Now } from "./lease-table.js";
import { brokerLimits, deadSuffix } from "./limits.js";
import { dropsOldest } from "./overflow.js";
import { giveBack, hasToPush, takeToPush } from "./push-window.js";
import { Removals } from "./removals.js";

export interface LeaderOptions {
  readonly queue: string;
  readonly fields: QueueFields;
  readonly maildrop: ReplicatedMaildrop;
  readonly deadLetters: DeadLetters;
  readonly deliveries: DeliveryCounts;
  /** Is the front node of a session known to be gone? */
  readonly isGone: (session: string) => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** Entries for one mail to the owner, leased. */
export interface PushBatch {
  readonly entries: readonly Leased[];
  readonly read: ReplicatedMaildrop["read"];
  /** Where nothing may pass what is in front of it. */
  readonly inOrder: boolean;
  /** They were not sent, and count as not handed out. */
  readonly giveBack: (unsent: readonly Leased[]) => void;
}

const failed = (why: string): QueueReply => ({ kind: "failed", why });
const retryDeadMs = 5_000;
const buriedAtATime = 16;

export class QueueLeader {
  readonly table: LeaseTable;
  /** Another session has the lock: this leader is none any more. */
  lost = false;
  private fields: QueueFields;
  private digest: string | undefined;
  /** When `digest` was that of all who answered. */
  private listedAtMs = -Infinity;
  private refreshing: Promise<boolean> | undefined;
  /** Deleted while the mailbox was being listed: the list may be older. */
  private readonly gone = new Set<MessageId>();
  /** Not shown yet, since when: no majority is known to have them. */
  private unsure: ReadonlyMap<MessageId, number> = new Map();
  /** Consumers that are looking at entries now, and when they were last heard of. */
  private readonly sessions = new Map<string, number>();
  private readonly removals: Removals;
  private askedAtMs: number;
  private burying: Promise<void> = Promise.resolve();
  private readonly released = new AbortController();
  private foreign: readonly StoredMessage[] = [];

  constructor(private readonly options: LeaderOptions) {
    const { fields, maildrop, clock } = options;
    this.fields = fields;
    this.table = new LeaseTable(this.rulesOf(fields));
    // Only the ids: nothing else is a try of an entry, and what is known of it is kept for ever.
    this.removals = new Removals((gone) => maildrop.remove(gone.map(({ id }) => ({ id }))));
    this.askedAtMs = clock.monotonicMs();
    this.admit(maildrop);
    this.table.remember(options.deliveries.former, this.now());
  }

  get incarnation(): string {
    return this.fields.incarnation;
  }

  /** Options of the queue as they are now. */
  update(fields: QueueFields): void {
    this.fields = fields;
    this.table.rules = this.rulesOf(fields);
  }

  private rulesOf({ leaseMs, deliveriesMax }: QueueFields): LeaseTable["rules"] {
    return { leaseMs, deliveriesMax, isForDead: this.options.queue.endsWith(deadSuffix) };
  }

  private now(): Now {
    const { clock } = this.options;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }

  private admit({ messages, unsure }: Pick<ReplicatedMaildrop, "messages" | "unsure">): void {
    const isOwn = (message: StoredMessage): boolean =>
      factsIn(message)?.incarnation === this.fields.incarnation;
    const { monotonicMs } = this.now();
    this.unsure = new Map([...unsure].map((id) => [id, this.unsure.get(id) ?? monotonicMs]));
    // What was sure once stays so, though those who have it may not have been asked.
    const isShown = ({ id }: StoredMessage): boolean => !unsure.has(id) || this.table.has(id);
    const own = messages.filter(
      (message) => isOwn(message) && isShown(message) && !this.gone.has(message.id),
    );
    this.foreign = messages.filter((message) => !isOwn(message));
    this.table.reconcile(own, this.now());
  }

  /** Lists the mailbox anew, under the lock. False: that can't be done now. */
  private refresh(): Promise<boolean> {
    this.refreshing ??= this.relist().finally(() => {
      this.refreshing = undefined;
      this.gone.clear();
    });
    return this.refreshing;
  }

  private async relist(): Promise<boolean> {
    const askedAtMs = this.options.clock.monotonicMs();
    const since = [...this.unsure.values()];
    const also = since.some((ms) => askedAtMs - ms >= brokerLimits.unsureMs);
    const answer = await this.options.maildrop.relist(this.digest, { also });
    if (answer.kind === "lost") this.lost = true;
    if (answer.kind === "listed") {
      this.admit(answer);
      this.digest = answer.digest;
    }
    const isListed = answer.kind === "same" || answer.kind === "listed";
    if (isListed) this.listedAtMs = askedAtMs;
    return isListed;
  }

  /**
   * For who is told that there is nothing: that takes no lock, and what comes is written here as well. Where it is
   * not, or nobody wrote it here, it is found a little later.
   */
  private async isFresh(): Promise<boolean> {
    const { maildrop, clock } = this.options;
    const { digest } = this;
    if (digest === undefined || this.lost) return false;
    if (clock.monotonicMs() - this.listedAtMs > brokerLimits.listedMs) return false;
    return await maildrop.isAsListed(digest);
  }

  private async peek(): Promise<QueueReply> {
    if (this.table.hasReady(this.now())) return { kind: "peeked", ready: true };
    if (!(await this.isFresh()) && !(await this.refresh())) {
      return failed("the queue can't be read now");
    }
    // What is on its way to a majority is there when somebody looks.
    const ready = this.table.hasReady(this.now()) || this.unsure.size > 0;
    return { kind: "peeked", ready };
  }

  async answer(call: QueueCall): Promise<QueueReply> {
    this.askedAtMs = this.options.clock.monotonicMs();
    switch (call.command) {
      case "open":
        return this.open(call);
      case "close":
        return this.close(call);
      case "peek":
        return this.peek();
      case "settle":
        return this.settle(call);
      case "status":
        if (!(await this.refresh())) return failed("the queue can't be read now");
        return { kind: "status", ...this.table.counts(this.now()) };
      case "redrive":
        return this.redrive(call);
      case "trim":
        return this.trim();
      case "wake":
      case "purge":
        return { kind: "done" };
    }
  }

  /** What is more than the queue may hold goes to the dead letters, the oldest first. */
  private async trim(): Promise<QueueReply> {
    if (!(await this.refresh())) return failed("the queue can't be read now");
    const { messagesMax, octetsMax } = this.fields;
    if (!dropsOldest(this.fields)) return { kind: "done", moved: 0 };
    const bounds = { messages: messagesMax, octets: octetsMax };
    const dropped = this.table.dropOldest(bounds, this.now());
    if (dropped > 0) {
      const { queue, log } = this.options;
      const where = this.table.rules.isForDead ? "deleted" : "moved to its dead letters";
      log.warn(
        { queue, dropped, messagesMax },
        `the queue is full: its oldest messages are ${where}`,
      );
      void this.bury();
    }
    return { kind: "done", moved: dropped };
  }

  /** Hands out entries. The list is made anew first, which also proves that the lock is held. */
  private async open({ session = "", max, recall = false }: QueueCall): Promise<QueueReply> {
    await this.options.deliveries.open();
    if (this.table.size === 0 && (await this.isFresh())) return { kind: "entries", entries: [] };
    if (!(await this.refresh())) return failed("the queue can't be read now");
    const now = this.now();
    // A repeated question gets the same answer.
    if (this.sessions.has(session)) {
      return { kind: "entries", entries: this.table.leasesOf(session) };
    }
    if (!this.hasRoomFor(now)) return { kind: "inUse" };
    // What it has in hand takes no room: it may be blocks of a message that is whole only with the next ones.
    const recalled = recall && this.fields.exclusive ? this.table.recall() : 0;
    const { competing, exclusive } = brokerLimits.shownMax;
    const shownMax = this.fields.exclusive ? exclusive + recalled : competing;
    const entries = this.table.take(session, Math.min(max ?? shownMax, shownMax), now);
    // Who is shown nothing keeps nobody from anything, and need not say that it ends.
    if (entries.length > 0) this.sessions.set(session, now.monotonicMs);
    return { kind: "entries", entries };
  }

  /** Something waits to be sent to the queue's owner, and may be. */
  hasToPush(): boolean {
    return hasToPush(this.table, this.fields, this.now());
  }

  /** Undefined: the queue can't be read now. Nothing, when enough is on its way. */
  async takeToPush(): Promise<PushBatch | undefined> {
    const { maildrop, clock } = this.options;
    this.askedAtMs = clock.monotonicMs();
    if (!this.fields.push) return undefined;
    await this.options.deliveries.open();
    if (!(await this.refresh())) return undefined;
    const entries = takeToPush(this.table, this.fields, this.now());
    return {
      entries,
      read: (message, signal) => maildrop.read(message, signal),
      inOrder: this.fields.exclusive,
      giveBack: (unsent) => {
        for (const { message } of unsent) giveBack(this.table, message.id, this.now());
      },
    };
  }

  private hasRoomFor({ monotonicMs }: Now): boolean {
    for (const [name, atMs] of this.sessions) {
      // Its front node would have closed it, or is gone.
      const isOver = atMs + this.fields.leaseMs <= monotonicMs;
      if (isOver || this.options.isGone(name)) this.sessions.delete(name);
    }
    return this.sessions.size < (this.fields.exclusive ? 1 : brokerLimits.sessionsMax);
  }

  private close({ session = "", back = [] }: QueueCall): QueueReply {
    const now = this.now();
    for (const id of back) this.table.giveBack(id, session, now);
    this.sessions.delete(session);
    return { kind: "done" };
  }

  private async settle(call: QueueCall): Promise<QueueReply> {
    const { ack = [], nack = [], reject = [], extend = [], session } = call;
    if (session !== undefined && this.sessions.has(session)) {
      this.sessions.set(session, this.options.clock.monotonicMs());
    }
    const isUnknown = (id: MessageId): boolean => !this.table.has(id);
    // What is not there was deleted before, or has come since the last look.
    if (ack.some(isUnknown) || reject.some(isUnknown)) {
      if (!(await this.refresh())) return failed("the queue can't be read now");
    }
    const now = this.now();
    for (const { entry, ms } of nack) this.table.nack(entry, ms, now);
    for (const { entry, ms } of extend) this.table.extend(entry, ms, now);
    const rejected = reject.filter((id) => this.table.has(id));
    for (const id of rejected) this.table.reject(id);
    if (!(await this.remove(ack))) return failed("the acknowledgement could not be made durable");
    if (rejected.length > 0) await this.bury();
    // A rejection is durable, too, before it is answered.
    if (rejected.some((id) => this.table.has(id))) {
      return failed("the dead letter could not be stored");
    }
    return { kind: "done" };
  }

  /** Deletes entries for good. */
  private async remove(ids: readonly MessageId[]): Promise<boolean> {
    const messages = ids.flatMap((id) => this.table.get(id) ?? []);
    // Gone already, or not to be seen from here now: it may be with a member that is away, and came from
    // there, to whoever has it in hand.
    const unseen = ids.filter((id) => !this.table.has(id));
    if (unseen.length > 0 && !(await this.options.maildrop.removeUnseen(unseen))) return false;
    if (messages.length === 0) return true;
    for (const { id } of messages) this.table.hold(id);
    const isRemoved = await this.removals.remove(messages);
    for (const { id } of messages) {
      if (isRemoved) {
        this.gone.add(id);
        this.table.remove(id);
      } else this.table.unhold(id, this.now());
    }
    if (!this.refreshing) this.gone.clear();
    return isRemoved;
  }

  /** Dead letters go where they belong. Resolves when it was tried for all that are due now. */
  private bury(): Promise<void> {
    this.burying = this.burying.then(() => this.buryDue());
    return this.burying;
  }

  private async buryDue(): Promise<void> {
    const doomed = this.table.takeDoomed(this.now());
    await inParallel(doomed, buriedAtATime, async (each) => {
      if (await this.buryOne(each)) return;
      void this.options.clock
        .sleep(retryDeadMs, this.released.signal)
        .then(() => this.table.doomAgain(each))
        .catch(() => undefined);
    });
  }

  private async buryOne({ message, why }: Doomed): Promise<boolean> {
    const { queue, deadLetters, maildrop, log } = this.options;
    try {
      if (this.table.rules.isForDead) return await this.remove([message.id]);
      const from = { queue, fields: this.fields };
      const isMoved = await deadLetters.bury(from, message, why, maildrop);
      return isMoved && (await this.remove([message.id]));
    } catch (error) {
      log.warn({ queue, id: message.id, error: String(error) }, "no dead letter could be made");
      return false;
    }
  }

  /** Of a queue of dead letters: back to where they came from. */
  private async redrive({ target = "", max }: QueueCall): Promise<QueueReply> {
    if (!(await this.refresh())) return failed("the queue can't be read now");
    const { deadLetters, maildrop } = this.options;
    const most = Math.min(max ?? brokerLimits.redriveMax, brokerLimits.redriveMax);
    const chosen = [...this.table.messages()]
      .filter((message) => factsIn(message)?.dead?.queue === target)
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .slice(0, most);
    const to = await deadLetters.wayBack(target, this.fields.owner);
    if (typeof to === "string") return to === "unknown" ? { kind: "unknown" } : failed(to);
    let moved = 0;
    for (const { id } of chosen) {
      const message = this.table.hold(id);
      if (!message) continue;
      const isMoved = await deadLetters.move(to, message, maildrop).catch(() => false);
      if (!isMoved || !(await this.remove([id]))) {
        this.table.unhold(id, this.now());
        return moved > 0 ? { kind: "done", moved } : failed("too few members answer");
      }
      moved += 1;
    }
    return { kind: "done", moved };
  }

  /**
   * Deletes what a former queue of the name left. `incarnation`: of the queue as it is agreed on after
   * the list was made; undefined when there is none.
   */
  async sweep(readIncarnation: () => Promise<string | undefined | "undecided">): Promise<boolean> {
    if (!(await this.refresh())) return false;
    const all = [...this.foreign, ...this.table.messages()];
    const incarnation = await readIncarnation();
    if (incarnation === "undecided") return false;
    const left = all.filter((message) => factsIn(message)?.incarnation !== incarnation);
    if (left.length === 0) return true;
    if (!(await this.removals.remove(left))) return false;
    for (const { id } of left) this.table.remove(id);
    this.foreign = this.foreign.filter((message) => !left.includes(message));
    return true;
  }

  get hasForeign(): boolean {
    return this.foreign.length > 0;
  }

  /** Background work: what is over becomes a dead letter. */
  async tick(): Promise<void> {
    if (this.lost) return;
    await this.bury();
    this.options.deliveries.keep(this.table.returns, () => this.table.deliveries());
  }

  /** Nobody asks, and nobody has anything. */
  isIdle(): boolean {
    const now = this.now();
    if (now.monotonicMs - this.askedAtMs < brokerLimits.idleMs) return false;
    return this.table.counts(now).leased === 0;
  }

  /** Nobody asks any more: what is known of deliveries is all that there is to know. */
  async retire(): Promise<void> {
    const { deliveries } = this.options;
    const isLeading = !this.lost;
    // Whoever asks just now is sent to the next one: what was handed out from here on nobody would know of.
    this.lost = true;
    if (isLeading) await deliveries.close(this.table.deliveries(), this.table.isCertain());
    this.release();
  }

  release(): void {
    this.released.abort();
    this.options.maildrop.release();
  }
}
