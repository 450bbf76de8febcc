/** Opens maildrops: asks the members for the lock and puts together what they hold. */
import { isOfFlow } from "../shared/floor.js";
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import {
  type OpenAnswer,
  type RelistAnswer,
  ReplicatedMaildrop,
  type SessionParts,
  type Shown,
} from "./maildrop.js";
import { commonDigest, type Granted, unionOf, unsureIn } from "./merged.js";
import { MessageReader, type ReaderOptions } from "./message-reader.js";
import type { ReplyOf } from "./peer-methods.js";
import type { Placement } from "./placement.js";
import type { Puller, ReadContents } from "./pull.js";
import { type Retries, type Unsettled, withoutRepeated } from "./retries.js";
import type { Member } from "./roster.js";

export interface MaildropsOptions extends ReaderOptions {
  readonly puller: Puller;
  readonly retries: Retries;
  /** Names this run of the process. */
  readonly boot: string;
  /** See `Floors.barrier`. */
  readonly barrier: (mailbox: MailboxName) => string;
  /** Replicas were found to differ. */
  readonly onDifference: () => void;
}

/** The sessions whose front node this is. */
export class Maildrops {
  private readonly open = new Map<string, MailboxName>();
  private count = 0;

  constructor(private readonly options: MaildropsOptions) {}

  holds(session: string): boolean {
    return this.open.has(session);
  }

  async openMaildrop(mailbox: MailboxName): Promise<OpenAnswer> {
    this.count += 1;
    const session = `${this.options.boot}/${this.count}`;
    this.open.set(session, mailbox);
    const gathered = await this.acquire(mailbox, session);
    const answers = [...gathered.answers];
    try {
      if (!gathered.quorum) {
        this.release(mailbox, session);
        for (const [, reply] of answers) {
          if (reply.kind === "held") return { kind: "inUse", ...ownerOf(reply) };
        }
        return { kind: "tempfail", why: "too few members answer" };
      }
      const shown = await this.merge(mailbox, gathered.placement, grantedOf(answers));
      const release = (): void => this.release(mailbox, session);
      const relist: SessionParts["relist"] = (...how) => this.relist(mailbox, session, ...how);
      const { groups, store, clock } = this.options;
      const reader = this.reader(mailbox);
      const parts = { groups, store, clock, reader, mailbox, session, ...shown, release, relist };
      return { kind: "open", maildrop: new ReplicatedMaildrop(parts) };
    } catch (error) {
      this.release(mailbox, session);
      this.options.log.warn({ mailbox, error: String(error) }, "maildrop not opened");
      return { kind: "tempfail", why: "the mailbox could not be read" };
    }
  }

  /** What the mailbox holds now, if a majority says that the session still holds its lock. */
  private async relist(
    mailbox: MailboxName,
    session: string,
    digest: string | undefined,
    also: boolean,
  ): Promise<RelistAnswer> {
    if (!this.open.has(session)) return { kind: "lost" };
    const gathered = await this.acquire(mailbox, session);
    const answers = [...gathered.answers];
    if (!gathered.quorum) {
      return answers.some(([, { kind }]) => kind === "held")
        ? { kind: "lost" }
        : { kind: "tempfail" };
    }
    const granted = grantedOf(answers);
    const common = commonDigest(granted);
    if (common !== undefined && common === digest) return { kind: "same" };
    try {
      const { placement } = gathered;
      const { messages, unsure } = await this.merge(mailbox, placement, granted, also);
      // What is unsure is to be looked at again, though nothing changes.
      const sure = unsure.size === 0 ? common : undefined;
      return { kind: "listed", messages, unsure, digest: sure };
    } catch {
      return { kind: "tempfail" };
    }
  }

  private acquire(mailbox: MailboxName, session: string) {
    const { groups, boot } = this.options;
    return groups.ask(
      mailbox,
      "acquire",
      { mailbox, session, boot },
      { counts: (reply) => reply.kind === "granted", alone: true },
    );
  }

  /** Reads what no session has to hold the lock for. */
  reader(mailbox: MailboxName): MessageReader {
    return new MessageReader(this.options, mailbox);
  }

  /**
   * The union of a majority's sets; where all are equal, which is the rule, any one of them. `also`: of those, too,
   * who have not answered yet.
   */
  private async merge(
    mailbox: MailboxName,
    placement: Placement,
    granted: ReadonlyMap<MemberUuid, Granted>,
    also = false,
  ): Promise<Shown> {
    const sets = await this.readSets(mailbox, placement, granted, also);
    const unsettled = new Map<MessageId, Unsettled>();
    for (const each of [...sets.values()].flatMap((set) => set.unsettled)) {
      if (unsettled.get(each.id)?.state !== "doubtful") unsettled.set(each.id, each);
    }
    const [only] = sets.values();
    const union = sets.size === 1 && only ? only : unionOf([...sets.values()]);
    const unsure = unsureIn(union.messages, { placement, granted, sets });
    if (unsettled.size === 0) return { messages: union.messages, unsure, unsettled };
    const messages = withoutRepeated(union, (id) => unsettled.get(id)?.state);
    return { messages, unsure, unsettled };
  }

  private async readSets(
    mailbox: MailboxName,
    { everyone }: Placement,
    granted: ReadonlyMap<MemberUuid, Granted>,
    also: boolean,
  ): Promise<ReadonlyMap<MemberUuid, ReadContents>> {
    const { peers, onDifference } = this.options;
    const { liveness } = peers;
    const answered = everyone.filter(({ uuid }) => granted.has(uuid));
    const common = commonDigest(granted);
    if (common === undefined) onDifference();
    const own = answered.find((member) => peers.isSelf(member.uuid));
    const first = own ?? answered[0];
    const late = also
      ? everyone.filter(({ uuid }) => !granted.has(uuid) && !liveness.isQuiet(uuid))
      : [];
    const sets = new Map<MemberUuid, ReadContents>();
    const readFrom = async (member: Member): Promise<void> => {
      sets.set(member.uuid, await this.readAt(member, mailbox));
    };
    await Promise.all([
      ...(common !== undefined && first ? [first] : answered).map(readFrom),
      ...late.map((member) => readFrom(member).catch(() => undefined)),
    ]);
    const read = first && sets.get(first.uuid);
    // What came since they all answered the same the others may not have, and whether they do matters in queues.
    if (common !== undefined && read && read.digest !== common && hasFlows(read)) {
      await Promise.all(answered.filter((member) => member !== first).map(readFrom));
    }
    return sets;
  }

  private readAt(member: Member, mailbox: MailboxName): Promise<ReadContents> {
    const { peers, puller } = this.options;
    return peers.isSelf(member.uuid) ? this.readOwn(mailbox) : puller.read(mailbox, member);
  }

  private async readOwn(mailbox: MailboxName): Promise<ReadContents> {
    const { store, retries } = this.options;
    const contents = await store.contents(mailbox);
    return {
      messages: contents.messages,
      // Many, and made only for those who look at them.
      get tombstones() {
        return contents.tombstones;
      },
      unsettled: retries.unsettledIn(mailbox),
      floor: contents.floor,
      barrier: this.options.barrier(mailbox),
      digest: contents.summary.digest,
    };
  }

  private release(mailbox: MailboxName, session: string): void {
    if (!this.open.delete(session)) return;
    const { groups, peers } = this.options;
    for (const member of groups.placementOf(mailbox).everyone) {
      // A release that gets lost is noticed when somebody wants the lock: `holds`.
      peers.call(member, "release", { mailbox, session }).catch(() => undefined);
    }
  }

  /** A member that was restarted has forgotten the locks it granted. */
  assertAt(member: Member): void {
    const { groups, boot } = this.options;
    for (const [session, mailbox] of this.open) {
      const placement = groups.placementOf(mailbox);
      if (!placement.everyone.some(({ uuid }) => uuid === member.uuid)) continue;
      void groups.ask(mailbox, "acquire", { mailbox, session, boot });
    }
  }
}

type AcquireReply = ReplyOf<"acquire">;

const hasFlows = ({ messages }: ReadContents): boolean => messages.some(({ id }) => isOfFlow(id));

const ownerOf = (reply: { owner?: MemberUuid }): { owner?: MemberUuid } =>
  reply.owner === undefined ? {} : { owner: reply.owner };

const grantedOf = (
  answers: readonly (readonly [MemberUuid, AcquireReply])[],
): ReadonlyMap<MemberUuid, Granted> =>
  new Map(
    answers.flatMap(([uuid, reply]) => (reply.kind === "granted" ? [[uuid, reply] as const] : [])),
  );
