/** A mailbox as one session sees it: locked, merged from a majority, frozen. */
import { createHash } from "node:crypto";
import type { Body } from "../shared/body.js";
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import { isOfFlow } from "../shared/floor.js";
import { limits } from "../shared/limits.js";
import type { Log } from "../shared/log.js";
import type { Operation, StoredMessage } from "../shared/operation.js";
import { BodyCorruptError } from "../shared/store-errors.js";
import type { Bodies } from "./bodies.js";
import type { Groups } from "./group.js";
import { commonDigest, type Granted, unionOf, unsureIn } from "./merged.js";
import type { ReplyOf } from "./peer-methods.js";
import { firstToRead } from "./hedge.js";
import type { Peers } from "./peers.js";
import type { Placement } from "./placement.js";
import type { Clock, Files, Store } from "./ports.js";
import type { Puller, ReadContents } from "./pull.js";
import { type Retries, type Unsettled, withoutRepeated } from "./retries.js";
import type { Member } from "./roster.js";

export interface MaildropOptions {
  readonly peers: Peers;
  readonly groups: Groups;
  readonly store: Store;
  readonly files: Files;
  readonly bodies: Bodies;
  readonly puller: Puller;
  readonly retries: Retries;
  readonly clock: Clock;
  readonly log: Log;
  readonly boot: string;
  /** See `Floors.barrier`. */
  readonly barrier: (mailbox: MailboxName) => string;
  /** Replicas were found to differ. */
  readonly onDifference: () => void;
}

export type OpenAnswer =
  | { readonly kind: "open"; readonly maildrop: ReplicatedMaildrop }
  /** `owner`: the member whose session has it, by the word of one. */
  | { readonly kind: "inUse"; readonly owner?: MemberUuid }
  | { readonly kind: "tempfail"; readonly why: string };

/** A piece of a body takes a few milliseconds; a client need not notice that a member froze. */
const stallMs = 250;

/** The sessions whose front node this is. */
export class Maildrops {
  private readonly open = new Map<string, MailboxName>();
  private count = 0;

  constructor(private readonly options: MaildropOptions) {}

  holds(session: string): boolean {
    return this.open.has(session);
  }

  async openMaildrop(mailbox: MailboxName): Promise<OpenAnswer> {
    const { boot, groups } = this.options;
    this.count += 1;
    const session = `${boot}/${this.count}`;
    this.open.set(session, mailbox);
    const gathered = await groups.ask(
      mailbox,
      "acquire",
      { mailbox, session, boot },
      { counts: (reply) => reply.kind === "granted", alone: true },
    );
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
      const { options } = this;
      const parts = { options, mailbox, session, ...shown, release, relist };
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
    const { boot, groups } = this.options;
    if (!this.open.has(session)) return { kind: "lost" };
    const gathered = await groups.ask(
      mailbox,
      "acquire",
      { mailbox, session, boot },
      { counts: (reply) => reply.kind === "granted", alone: true },
    );
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

  /** Reads what no session has to hold the lock for. */
  reader(mailbox: MailboxName): Pick<ReplicatedMaildrop, "read"> {
    const { options } = this;
    const nothing = { messages: [], unsure: new Set<MessageId>(), session: "" };
    return new ReplicatedMaildrop({
      ...{ options, mailbox, ...nothing, unsettled: new Map(), release: () => undefined },
      relist: () => Promise.resolve({ kind: "lost" }),
    });
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

export type RelistAnswer =
  /** As it was when it had the digest. */
  | { readonly kind: "same" }
  | {
      readonly kind: "listed";
      readonly messages: readonly StoredMessage[];
      readonly unsure: ReadonlySet<MessageId>;
      /** Of what all who answered hold, if that is the same. */
      readonly digest: string | undefined;
    }
  /** Another session has the lock. */
  | { readonly kind: "lost" }
  | { readonly kind: "tempfail" };

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

/** What a session is shown. */
interface Shown {
  /** In order of arrival. */
  readonly messages: readonly StoredMessage[];
  readonly unsure: ReadonlySet<MessageId>;
  /** Those whose client may send them again. */
  readonly unsettled: ReadonlyMap<MessageId, Unsettled>;
}

interface SessionParts extends Shown {
  readonly options: MaildropOptions;
  readonly mailbox: MailboxName;
  readonly session: string;
  readonly release: () => void;
  readonly relist: (digest: string | undefined, also: boolean) => Promise<RelistAnswer>;
}

/** Of one call: tombstones of more hold up the members that write them, or don't fit into a frame. */
const removalsPerCall = 2_000;

/** Without a fingerprint: no earlier or later try of the same mail goes with it. */
type Removable = Pick<StoredMessage, "id"> & Partial<Pick<StoredMessage, "fingerprint">>;

export class ReplicatedMaildrop {
  private readonly options: MaildropOptions;
  readonly mailbox: MailboxName;
  /** In order of arrival; does not change. */
  readonly messages: readonly StoredMessage[];
  /** Those of a flow that no majority is known to have: see `unsureIn`. */
  readonly unsure: ReadonlySet<MessageId>;
  readonly release: () => void;

  constructor(private readonly parts: SessionParts) {
    this.options = parts.options;
    this.mailbox = parts.mailbox;
    this.messages = parts.messages;
    this.unsure = parts.unsure;
    this.release = parts.release;
  }

  /**
   * What the mailbox holds by now, for who holds the lock for long. `digest`: of the last answer. `also`: asks all
   * members, since what the fastest hold leaves something unsure.
   */
  relist(digest?: string, { also = false } = {}): Promise<RelistAnswer> {
    return this.parts.relist(digest, also);
  }

  /** Whether this member, if it keeps the mailbox, holds what all held when they answered `relist` with `digest`. */
  async isAsListed(digest: string): Promise<boolean> {
    return (await this.options.store.summary(this.mailbox)).digest === digest;
  }

  /**
   * The octets of a message: trace, then body, checked against its digest before the first octet
   * is handed out.
   * @throws Error when no member has a sound copy now
   */
  async read(message: StoredMessage, signal: AbortSignal): Promise<Buffer | AsyncIterable<Buffer>> {
    const trace = Buffer.from(message.trace, "utf8");
    const local = await this.readLocal(message);
    if (Buffer.isBuffer(local)) return Buffer.concat([trace, local]);
    if (local) return chain(trace, local);
    const body = await this.fetch(message, signal);
    if (body.kind === "bytes") return Buffer.concat([trace, body.bytes]);
    return chain(trace, this.streamFile(body.path, body.octets));
  }

  private async readLocal(
    message: StoredMessage,
  ): Promise<Buffer | AsyncIterable<Buffer> | undefined> {
    const { store, log } = this.options;
    const { digest, bodyOctets } = message;
    try {
      if (bodyOctets <= limits.inlineBodyOctetsMax) return await store.readBody(digest);
      const hash = createHash("sha256");
      let found = false;
      for await (const chunk of this.streamLocal(message)) {
        hash.update(chunk);
        found = true;
      }
      if (!found) return undefined;
      if (hash.digest("hex") === digest) return this.streamLocal(message);
      log.warn({ digest }, "a body is damaged");
    } catch (error) {
      if (!(error instanceof BodyCorruptError)) throw error;
      log.warn({ digest }, "a body is damaged");
    }
    return undefined;
  }

  /** Every piece is in the same buffer: it is used up before the next one is asked for. */
  private async *streamLocal({ digest, bodyOctets }: StoredMessage): AsyncGenerator<Buffer> {
    const into = Buffer.allocUnsafe(limits.bodyChunkOctets);
    for (let offset = 0; offset < bodyOctets; ) {
      const length = Math.min(limits.bodyChunkOctets, bodyOctets - offset);
      const chunk = await this.options.store.readBody(digest, { offset, length, into });
      if (!chunk || chunk.length === 0) return;
      offset += chunk.length;
      yield chunk;
    }
  }

  private async *streamFile(path: string, octets: number): AsyncGenerator<Buffer> {
    const { files } = this.options;
    try {
      for (let offset = 0; offset < octets; ) {
        const chunk = await files.read(path, offset, limits.bodyChunkOctets);
        if (chunk.length === 0) throw new Error("the spool file ended early");
        offset += chunk.length;
        yield chunk;
      }
    } finally {
      await files.remove(path);
    }
  }

  /** From the group's members that are heard first; see `firstToRead`. */
  private async fetch(message: StoredMessage, signal: AbortSignal): Promise<Body> {
    const { groups, peers, bodies, files, clock } = this.options;
    const { liveness } = peers;
    const others = groups
      .placementOf(this.mailbox)
      .everyone.filter((member) => !peers.isSelf(member.uuid));
    const body = await firstToRead({
      sources: [
        ...others.filter(({ uuid }) => !liveness.isQuiet(uuid)),
        ...others.filter(({ uuid }) => liveness.isQuiet(uuid)),
      ],
      read: (member, attempt) =>
        bodies.fetch(member, message.digest, message.bodyOctets, attempt.signal, attempt.alive),
      discard: async (late) => {
        if (late.kind === "file") await files.remove(late.path);
      },
      ...{ stallMs, clock, signal },
    });
    if (!body) throw new Error("no member has a sound copy of the message now");
    await this.heal(body);
    return body;
  }

  /** This node should have had the body: it gets it back. */
  private async heal(body: Body): Promise<void> {
    const { groups, peers, store, files, log } = this.options;
    const { everyone } = groups.placementOf(this.mailbox);
    if (!everyone.some((member) => peers.isSelf(member.uuid))) return;
    try {
      if (body.kind === "file") {
        const path = store.spoolPath();
        await files.link(body.path, path);
        await store.write([], [{ ...body, path }]);
      } else await store.write([], [body]);
      log.info({ digest: body.digest }, "a body was healed from a replica");
    } catch (error) {
      log.warn({ digest: body.digest, error: String(error) }, "a body could not be healed");
    }
  }

  /**
   * Deletes messages for good; true once that is durable on a majority that still knows this
   * session as the holder of the lock. The lock is asked for first, so that a session that lost
   * it changes nothing anywhere. More than `removalsPerCall` go in steps: when one fails, those
   * before it are done (RFC 1939 §6: "some or none").
   */
  async remove(messages: readonly Removable[]): Promise<boolean> {
    const { groups, clock } = this.options;
    const lock = { mailbox: this.mailbox, session: this.parts.session };
    // In full, although a member has gone quiet: in a ring of two the other one, which may only be
    // cut off, goes on showing what is deleted here without it.
    const deadlineMs = limits.peerCallDeadlineMs;
    const held = await groups.ask(this.mailbox, "checkLock", lock, {
      counts: (reply) => reply.kind === "held",
      alone: true,
      deadlineMs,
    });
    if (!held.quorum) return false;
    const removedAtMs = clock.wallMs();
    for (let at = 0; at < messages.length; at += removalsPerCall) {
      const some = messages.slice(at, at + removalsPerCall);
      if (!(await this.removeSome(some, removedAtMs))) return false;
    }
    return true;
  }

  /**
   * Deletes for good, durably on a majority, what is not listed: it may have been deleted before, or turn up
   * later. What is below the mailbox's floor is gone in any case.
   */
  async removeUnseen(ids: readonly MessageId[]): Promise<boolean> {
    const removedAtMs = this.options.clock.wallMs();
    const operations = ids.map(
      (id): Operation => ({
        kind: "RemoveMessage",
        mailbox: this.mailbox,
        tombstone: { id, removedAtMs },
      }),
    );
    const stored = await this.options.groups.ask(
      this.mailbox,
      "replicate",
      { operations, bodies: [] },
      {
        counts: (reply) => reply.kind === "stored",
        alone: true,
        deadlineMs: limits.peerCallDeadlineMs,
      },
    );
    return stored.quorum;
  }

  private async removeSome(messages: readonly Removable[], removedAtMs: number): Promise<boolean> {
    const operations = messages.map(
      ({ id, fingerprint }): Operation => ({
        kind: "RemoveMessage",
        mailbox: this.mailbox,
        tombstone: { id, removedAtMs, ...(fingerprint !== undefined && { fingerprint }) },
      }),
    );
    const lock = { mailbox: this.mailbox, session: this.parts.session };
    const unsettled = messages.flatMap(({ id }) => this.parts.unsettled.get(id) ?? []);
    const stored = await this.options.groups.ask(
      this.mailbox,
      "replicate",
      { operations, bodies: [], lock, unsettled },
      {
        counts: (reply) => reply.kind === "stored",
        alone: true,
        deadlineMs: limits.peerCallDeadlineMs,
      },
    );
    return stored.quorum;
  }
}

async function* chain(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}
