/** Pulls what this node lacks of a mailbox from a member that has it. Used by repair, join, handoff. */
import type { Body } from "../shared/body.js";
import type { BodyDigest, MailboxName, MessageId } from "../shared/ids.js";
import { type Floor, isSunk } from "../shared/floor.js";
import { limits } from "../shared/limits.js";
import type { Operation, StoredMessage, Tombstone } from "../shared/operation.js";
import type { Bodies } from "./bodies.js";
import type { Caller, ReplyOf } from "./peer-methods.js";
import type { Pace } from "./pace.js";
import type { Peers } from "./peers.js";
import { type MailboxContents, PeerUnavailableError, type Store } from "./ports.js";
import { deletionOf, noteRemoved, removalsOfDeleted, removalsOfRepeated } from "./doubts.js";
import { isRepeatedIn, type Retries, type Unsettled } from "./retries.js";

const messagesPerFetch = 500;
/** About what a message takes in an answer, without its body. */
const metadataOctets = 600;
/** Bodies of one `fetch` answer; its messages are small. */
export const fetchBodyOctetsMax = 1024 * 1024;

interface PullOptions {
  readonly pace: Pace;
  readonly store: Store;
  readonly peers: Peers;
  readonly bodies: Bodies;
  readonly retries: Retries;
}

export interface PullAsk {
  readonly signal?: AbortSignal;
  /** Messages that have arrived, and their octets as they are read. */
  readonly onArrived?: (messages: number, octets: number) => void;
}

export interface Pulled {
  readonly messages: number;
  readonly tombstones: number;
  /** Messages whose body the other member could not serve. */
  readonly missing: number;
}

/** A mailbox at another member. */
export interface ReadContents extends Omit<MailboxContents, "summary"> {
  /** Messages of which that member does not know that the client has read its 250. */
  readonly unsettled: readonly Unsettled[];
  /** See `Floors.barrier`. */
  readonly barrier: string;
  /** Of just this; absent when it changed while it was read. */
  readonly digest?: string;
}

interface Listing {
  readonly live: readonly MessageId[];
  readonly removed: readonly Tombstone[];
  /** Of the removed ones. */
  readonly unsettled: readonly Unsettled[];
  readonly floor: Floor | undefined;
  readonly barrier: string;
  readonly digest: string | undefined;
}

/** A mailbox whose floor rises faster than it can be listed is listed later. */
const listTriesMax = 5;

export class Puller {
  constructor(private readonly options: PullOptions) {}

  /**
   * After it, this node knows of the mailbox all that `from` knew. Messages come before
   * tombstones: a tombstone may be there because another message took the place of that one.
   * @throws PeerUnavailableError
   */
  async pull(mailbox: MailboxName, from: Caller, how: PullAsk = {}): Promise<Pulled> {
    const theirs = await listAll(this.options.peers, mailbox, from, how.signal);
    const ours = await this.options.store.contents(mailbox);
    const gone = new Set(ours.tombstones.map((tombstone) => tombstone.id));
    const live = new Set(ours.messages.map((message) => message.id));
    // Not by their floor: only the mailbox's group says which one is agreed on.
    const isOver = (id: MessageId): boolean => gone.has(id) || isSunk(ours.floor, id);
    const lacking = theirs.live.filter((id) => !live.has(id) && !isOver(id));
    const removed = theirs.removed.filter(({ id }) => !isOver(id));
    this.noteDeletedInDoubt(mailbox, theirs);

    let messages = 0;
    const missing: StoredMessage[] = [];
    for (let start = 0; start < lacking.length; ) {
      const ids = lacking.slice(start, start + messagesPerFetch);
      const got = await this.fetchSome(mailbox, ids, from, ours, how);
      start += got.asked;
      messages += got.stored;
      missing.push(...got.missing);
    }
    const { retries } = this.options;
    const tombstones = removed.filter(
      ({ id, fingerprint }) =>
        fingerprint !== undefined || !isReplacedBy(missing, ours.messages, id),
    );
    if (tombstones.length > 0) {
      const operations = tombstones.flatMap((tombstone): readonly Operation[] => [
        { kind: "RemoveMessage", mailbox, tombstone },
        ...removalsOfDeleted(retries, mailbox, tombstone),
      ]);
      await this.options.store.write(operations);
      noteRemoved(retries, operations);
    }
    return { messages, tombstones: tombstones.length, missing: missing.length };
  }

  /** The retry of a mail that was deleted in doubt may come to this member. */
  private noteDeletedInDoubt(mailbox: MailboxName, { removed, unsettled }: Listing): void {
    if (unsettled.length === 0) return;
    const { retries } = this.options;
    for (const each of unsettled) retries.note(mailbox, each, each.state === "doubtful");
    for (const tombstone of removed) retries.removed(tombstone);
  }

  private async fetchSome(
    mailbox: MailboxName,
    ids: readonly MessageId[],
    from: Caller,
    ours: MailboxContents,
    how: PullAsk,
  ): Promise<{ asked: number; stored: number; missing: readonly StoredMessage[] }> {
    const { peers, retries, pace } = this.options;
    const options = {
      deadlineMs: limits.peerTransferDeadlineMs,
      ...(how.signal && { signal: how.signal }),
    };
    const request = { mailbox, ids, withBodies: false };
    const reply = await pace.run(
      () => peers.call(from, "fetch", request, options),
      ({ messages }) => messages.length * metadataOctets,
      how.signal,
    );
    for (const unsettled of reply.unsettled ?? []) {
      retries.note(mailbox, unsettled, unsettled.state === "doubtful");
    }
    let stored = 0;
    const missing: StoredMessage[] = [];
    for (let start = 0; start < reply.messages.length; ) {
      const some = withinOctets(reply.messages, start);
      const arrived = await this.bodiesOf(some, from, how.signal);
      stored += await this.keep(mailbox, some, arrived, { ours, missing });
      start += some.length;
      how.onArrived?.(some.length, octetsOf(some));
    }
    // What they no longer have is not asked for again.
    return { asked: ids.length, stored, missing };
  }

  private async keep(
    mailbox: MailboxName,
    messages: readonly StoredMessage[],
    arrived: ReadonlyMap<BodyDigest, Body | "stored">,
    { ours, missing }: { ours: MailboxContents; missing: StoredMessage[] },
  ): Promise<number> {
    const { store, retries } = this.options;
    const operations: Operation[] = [];
    const collected = new Set<Body>();
    let stored = 0;
    for (const message of messages) {
      const body = arrived.get(message.digest);
      if (retries.stateOf(message.id) === "doubtful" && isRepeatedIn(ours, message)) {
        const tombstone = { id: message.id, removedAtMs: message.receivedAtMs };
        operations.push({ kind: "RemoveMessage", mailbox, tombstone });
      } else if (retries.wasDeleted(message)) {
        operations.push(deletionOf(mailbox, message));
      } else if (body) {
        operations.push({ kind: "AddMessage", mailbox, message });
        operations.push(...removalsOfRepeated(retries, mailbox, message));
        if (body !== "stored") collected.add(body);
        stored += 1;
      } else missing.push(message);
    }
    await store.write(operations, [...collected]);
    noteRemoved(retries, operations);
    return stored;
  }

  /** The bodies of messages, each fetched once, and only when this node does not have it. */
  private async bodiesOf(
    messages: readonly StoredMessage[],
    from: Caller,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<BodyDigest, Body | "stored">> {
    const { store, bodies, pace } = this.options;
    const arrived = new Map<BodyDigest, Body | "stored">();
    const small: BodyDigest[] = [];
    for (const { digest, bodyOctets } of messages) {
      if (arrived.has(digest) || small.includes(digest)) continue;
      if (await store.hasBody(digest)) arrived.set(digest, "stored");
      else if (bodyOctets <= limits.inlineBodyOctetsMax) small.push(digest);
      else {
        const fetch = () => bodies.fetch(from, digest, bodyOctets, signal);
        const body = await pace.run(fetch, () => bodyOctets, signal);
        if (body) arrived.set(digest, body);
      }
    }
    if (small.length === 0) return arrived;
    const found = await pace.run(
      () => bodies.fetchSome(from, small, signal),
      (some) =>
        some.reduce((sum, body) => sum + (body?.kind === "bytes" ? body.bytes.length : 0), 0),
      signal,
    );
    for (const body of found) if (body) arrived.set(body.digest, body);
    return arrived;
  }

  /** Ids of a mailbox as a member has it. @throws PeerUnavailableError */
  async idsAt(
    mailbox: MailboxName,
    from: Caller,
  ): Promise<{ live: readonly MessageId[]; removed: readonly MessageId[] }> {
    const { live, removed } = await listAll(this.options.peers, mailbox, from);
    return { live, removed: removed.map(({ id }) => id) };
  }

  /** Reads a mailbox's contents from a member, without keeping them. */
  async read(mailbox: MailboxName, from: Caller): Promise<ReadContents> {
    const listing = await listAll(this.options.peers, mailbox, from);
    const messages: StoredMessage[] = [];
    const unsettled = [...listing.unsettled];
    for (let start = 0; start < listing.live.length; start += limits.pageEntriesMax) {
      const ids = listing.live.slice(start, start + limits.pageEntriesMax);
      const reply = await this.options.peers.call(from, "fetch", {
        mailbox,
        ids,
        withBodies: false,
      });
      messages.push(...reply.messages);
      unsettled.push(...(reply.unsettled ?? []));
    }
    const { removed: tombstones, floor, barrier, digest } = listing;
    const isWhole = digest !== undefined && messages.length === listing.live.length;
    return { messages, tombstones, unsettled, floor, barrier, ...(isWhole && { digest }) };
  }
}

/** The messages from `start` on whose bodies fit one answer; at least one. */
function withinOctets(messages: readonly StoredMessage[], start: number): StoredMessage[] {
  let octets = 0;
  let end = start;
  while (end < messages.length && (end === start || octets < fetchBodyOctetsMax)) {
    octets += messages[end]?.bodyOctets ?? 0;
    end += 1;
  }
  return messages.slice(start, end);
}

/** As they are read. */
const octetsOf = (messages: readonly StoredMessage[]): number =>
  messages.reduce((sum, { bodyOctets, trace }) => sum + bodyOctets + trace.length, 0);

/** Was it perhaps removed in favour of one that could not be had? Then it is better than nothing. */
function isReplacedBy(
  missing: readonly StoredMessage[],
  ours: readonly StoredMessage[],
  id: MessageId,
): boolean {
  if (missing.length === 0) return false;
  const message = ours.find((other) => other.id === id);
  return missing.some(({ fingerprint }) => fingerprint === message?.fingerprint);
}

async function listAll(
  peers: Peers,
  mailbox: MailboxName,
  from: Caller,
  signal?: AbortSignal,
): Promise<Listing> {
  for (let attempt = 1; attempt <= listTriesMax; attempt += 1) {
    const listing = await listOnce(peers, mailbox, from, signal);
    if (listing) return listing;
  }
  throw new PeerUnavailableError(from.addr, "failed", `${mailbox} changes while it is listed`);
}

/** Undefined: its floor rose on the way, so that tombstones may be lacking that the floor does not replace. */
async function listOnce(
  peers: Peers,
  mailbox: MailboxName,
  from: Caller,
  signal?: AbortSignal,
): Promise<Listing | undefined> {
  let floor: Floor | undefined;
  let digest: string | undefined;
  let barrier = "";
  const live: MessageId[] = [];
  const removed: Tombstone[] = [];
  const unsettled: Unsettled[] = [];
  let after: MessageId | "" = "";
  for (let more = true; more; ) {
    const page: ReplyOf<"listing"> = await peers.call(
      from,
      "listing",
      { mailbox, after },
      { deadlineMs: limits.peerTransferDeadlineMs, ...(signal && { signal }) },
    );
    if (after === "") ({ floor, digest } = page);
    else if (page.digest !== digest) digest = undefined;
    if (page.below !== floor?.below) return undefined;
    if ((page.barrier ?? "") > barrier) barrier = page.barrier ?? "";
    live.push(...page.live);
    removed.push(...page.removed);
    unsettled.push(...(page.unsettled ?? []));
    more = page.more && page.live.length + page.removed.length > 0;
    for (const id of [page.live.at(-1), ...page.removed.map((tombstone) => tombstone.id)]) {
      if (id !== undefined && id > after) after = id;
    }
  }
  return { live, removed, unsettled, floor, barrier, digest };
}
