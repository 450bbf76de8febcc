/**
 * Makes replicas at rest equal (I3). Every few seconds a member compares digests with each other
 * member it shares ranges with, and pulls what it lacks; the other does the same. And it gives
 * away what it keeps for others: hints, and ranges that moved on.
 */
import type { MailboxName } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Log } from "../shared/log.js";
import { bucketCount, bucketDigests, Buckets, differingLines } from "./digests.js";
import type { Groups } from "./group.js";
import type { Membership } from "./membership.js";
import type { CatalogLine, CatalogPage } from "./peer-methods.js";
import { isInGroup, isQuorum, type Placement } from "./placement.js";
import type { CatalogEntry, Clock, Randomness, Store } from "./ports.js";
import type { Puller } from "./pull.js";
import type { Registers } from "./registers.js";
import type { Member } from "./roster.js";
import type { SharedNames } from "./shared-names.js";
import { adoptRegisters } from "./transfer.js";

/** A busy mailbox always differs a little; after so many rounds it is compared all the same. */
const busyRoundsMax = 6;
const offersPerRoundMax = 200;

interface RepairOptions {
  readonly membership: Membership;
  readonly groups: Groups;
  readonly registers: Registers;
  readonly names: SharedNames;
  readonly store: Store;
  readonly puller: Puller;
  readonly clock: Clock;
  readonly random: Randomness;
  /** This node keeps nothing of a mailbox any more. */
  readonly onDropped: (mailbox: MailboxName) => void;
  readonly log: Log;
}

export class Repair {
  private readonly buckets = new Buckets();
  private readonly busyRounds = new Map<MailboxName, number>();
  private readonly foreignWrites = new Map<MailboxName, number>();
  private offered = 0;

  constructor(private readonly options: RepairOptions) {}

  /** One comparison with one member. Answers how many mailboxes were brought up to date. */
  async compareWith(member: Member): Promise<number> {
    const { membership, groups, store, random } = this.options;
    const page = await groups.askMember(
      member,
      "compare",
      {
        epoch: membership.roster.epoch,
        buckets: bucketDigests(this.buckets, this.options.names.sharedWith(member.uuid)),
        firstBucket: (random.bytes(1)[0] ?? 0) % bucketCount,
      },
      { deadlineMs: limits.peerTransferDeadlineMs },
    );
    if (page?.kind !== "page") return 0;
    const blocked = await adoptRegisters(store, page);
    // A promise given to a proposer that died stands in the way: decide the register anew.
    for (const register of blocked) await this.options.registers.confirm(register);
    if (page.mailboxes.length === 0) return 0;
    const ours = new Map([...store.catalog()].map((entry) => [entry.mailbox, entry]));
    let repaired = 0;
    for (const line of page.mailboxes) {
      if (await this.repairMailbox(line, ours.get(line.mailbox), member)) repaired += 1;
    }
    return repaired;
  }

  private async repairMailbox(
    line: CatalogLine,
    ours: CatalogEntry | undefined,
    member: Member,
  ): Promise<boolean> {
    const { store, puller, log } = this.options;
    if (ours?.digest === line.digest && !ours.pending && !line.pending) return false;
    if ((ours?.pending || line.pending) && this.stillBusy(line.mailbox)) return false;
    this.busyRounds.delete(line.mailbox);
    if ((await store.contents(line.mailbox)).summary.digest === line.digest) return false;
    const pulled = await puller.pull(line.mailbox, member);
    if (pulled.messages + pulled.tombstones === 0) return false;
    log.info({ mailbox: line.mailbox, from: member.addr, ...pulled }, "mailbox repaired");
    return true;
  }

  private stillBusy(mailbox: MailboxName): boolean {
    const rounds = (this.busyRounds.get(mailbox) ?? 0) + 1;
    this.busyRounds.set(mailbox, rounds);
    return rounds <= busyRoundsMax;
  }

  /** Serves `compare`. */
  compare(other: Member, theirs: readonly string[], firstBucket: number): CatalogPage {
    return differingLines(
      this.buckets,
      () => this.options.names.sharedWith(other.uuid),
      theirs,
      firstBucket,
    );
  }

  /**
   * Offers foreign mailboxes to their groups, and drops those that every member of the group
   * confirms to have. Answers how many are left.
   */
  async handOver(): Promise<number> {
    const foreign = [...this.options.names.foreignMailboxes()];
    let left = foreign.length;
    // The next round begins where this one ended: some may have to wait for a silent member.
    const start = foreign.length === 0 ? 0 : this.offered % foreign.length;
    const turn = [...foreign.slice(start), ...foreign.slice(0, start)].slice(0, offersPerRoundMax);
    this.offered = start + turn.length;
    for (const { mailbox } of turn) {
      if (await this.handOverOne(mailbox)) left -= 1;
    }
    return left;
  }

  /** A group has it when all its members do; who leaves can't wait for the silent ones. */
  private haveAll(placement: Placement, complete: readonly Member[]): boolean {
    const uuids = new Set(complete.map((member) => member.uuid));
    return this.options.membership.selfMember?.state === "leaving"
      ? isQuorum(placement, uuids)
      : placement.everyone.every((member) => uuids.has(member.uuid));
  }

  /** Something is being written to a mailbox that this node need not keep: a hint. */
  noteForeignWrite(mailbox: MailboxName): void {
    this.foreignWrites.set(mailbox, (this.foreignWrites.get(mailbox) ?? 0) + 1);
  }

  private async handOverOne(mailbox: MailboxName): Promise<boolean> {
    const { groups, membership, store, log } = this.options;
    const { epoch } = membership.roster;
    const placement = groups.placementOf(mailbox);
    const { digest } = (await store.contents(mailbox)).summary;
    const answers = await Promise.all(
      placement.everyone.map((member) =>
        groups.askMember(
          member,
          "offer",
          { epoch, mailbox, digest },
          { deadlineMs: limits.peerTransferDeadlineMs },
        ),
      ),
    );
    const complete = placement.everyone.filter((_, index) => answers[index]?.kind === "complete");
    if (!this.haveAll(placement, complete)) return false;
    const writes = this.foreignWrites.get(mailbox);
    const now = await store.contents(mailbox);
    // No await from here to the write: nothing may come in between.
    const unchanged =
      now.summary.digest === digest &&
      membership.roster.epoch === epoch &&
      this.foreignWrites.get(mailbox) === writes;
    if (!unchanged || isInGroup(groups.placementOf(mailbox), membership.self.uuid)) return false;
    this.foreignWrites.delete(mailbox);
    this.options.onDropped(mailbox);
    await store.write([{ kind: "DropMailbox", mailbox }]);
    log.info({ mailbox, messages: now.messages.length }, "mailbox handed over");
    return true;
  }

  /** Serves `offer`: pulls what is lacking, and says whether that was all. */
  async takeOffer(mailbox: MailboxName, digest: string, from: Member): Promise<boolean> {
    const { store, puller } = this.options;
    const isEqual = (await store.contents(mailbox)).summary.digest === digest;
    const isComplete = isEqual || (await puller.pull(mailbox, from)).missing === 0;
    // Part of it may have been written a moment ago, by others; the offerer relies on this word.
    await store.durable();
    return isComplete;
  }
}
