/** Pulls what this node lacks of a mailbox from a member that has it. Used by repair, join, handoff. */
import type { Body } from "../shared/body.js";
import type { MailboxName, MessageId } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Operation, StoredMessage, Tombstone } from "../shared/operation.js";
import type { Bodies } from "./bodies.js";
import type { Caller, ReplyOf } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { MailboxContents, Store } from "./ports.js";
import { deletionOf, noteRemoved, removalsOfDeleted, removalsOfRepeated } from "./doubts.js";
import { isRepeatedIn, type Retries, type Unsettled } from "./retries.js";

const messagesPerFetch = 200;
/** Bodies of one `fetch` answer; its messages are small. */
export const fetchBodyOctetsMax = 1024 * 1024;

interface PullOptions {
  readonly store: Store;
  readonly peers: Peers;
  readonly bodies: Bodies;
  readonly retries: Retries;
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
}

interface Listing {
  readonly live: readonly MessageId[];
  readonly removed: readonly Tombstone[];
  /** Of the removed ones. */
  readonly unsettled: readonly Unsettled[];
}

export class Puller {
  constructor(private readonly options: PullOptions) {}

  /**
   * After it, this node knows of the mailbox all that `from` knew. Messages come before
   * tombstones: a tombstone may be there because another message took the place of that one.
   * @throws PeerUnavailableError
   */
  async pull(mailbox: MailboxName, from: Caller, signal?: AbortSignal): Promise<Pulled> {
    const theirs = await listAll(this.options.peers, mailbox, from, signal);
    const ours = await this.options.store.contents(mailbox);
    const gone = new Set(ours.tombstones.map((tombstone) => tombstone.id));
    const live = new Set(ours.messages.map((message) => message.id));
    const lacking = theirs.live.filter((id) => !live.has(id) && !gone.has(id));
    const removed = theirs.removed.filter((tombstone) => !gone.has(tombstone.id));
    this.noteDeletedInDoubt(mailbox, theirs);

    let messages = 0;
    const missing: StoredMessage[] = [];
    for (let start = 0; start < lacking.length; ) {
      const ids = lacking.slice(start, start + messagesPerFetch);
      const got = await this.fetchSome(mailbox, ids, from, ours, signal);
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
    signal?: AbortSignal,
  ): Promise<{ asked: number; stored: number; missing: readonly StoredMessage[] }> {
    const { peers, bodies, store, retries } = this.options;
    const reply = await peers.call(
      from,
      "fetch",
      { mailbox, ids, withBodies: true },
      { deadlineMs: limits.peerTransferDeadlineMs, ...(signal && { signal }) },
    );
    // Nothing at all would be asked for for ever; what they no longer have needs no asking.
    if (reply.messages.length === 0) return { asked: ids.length, stored: 0, missing: [] };
    const operations: Operation[] = [];
    const collected: Body[] = [];
    const missing: StoredMessage[] = [];
    let nextBlob = 0;
    for (const [index, message] of reply.messages.entries()) {
      let body: Body | undefined;
      const how = reply.bodies[index];
      if (how === "blob") {
        const bytes = reply.blobs?.[nextBlob];
        nextBlob += 1;
        if (bytes) body = { kind: "bytes", digest: message.digest, bytes };
      } else if (how === "large") {
        body = await bodies.fetch(from, message.digest, message.bodyOctets, signal);
      }
      const unsettled = reply.unsettled?.find(({ id }) => id === message.id);
      if (unsettled) retries.note(mailbox, unsettled, unsettled.state === "doubtful");
      if (retries.stateOf(message.id) === "doubtful" && isRepeatedIn(ours, message)) {
        const tombstone = { id: message.id, removedAtMs: message.receivedAtMs };
        operations.push({ kind: "RemoveMessage", mailbox, tombstone });
      } else if (retries.wasDeleted(message)) {
        operations.push(deletionOf(mailbox, message));
      } else if (body) {
        operations.push({ kind: "AddMessage", mailbox, message });
        operations.push(...removalsOfRepeated(retries, mailbox, message));
        collected.push(body);
      } else missing.push(message);
    }
    await store.write(operations, collected);
    noteRemoved(retries, operations);
    const last = reply.messages.at(-1);
    const asked = last ? ids.indexOf(last.id) + 1 : ids.length;
    return { asked: Math.max(1, asked), stored: collected.length, missing };
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
    return { messages, tombstones: listing.removed, unsettled };
  }
}

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
    live.push(...page.live);
    removed.push(...page.removed);
    unsettled.push(...(page.unsettled ?? []));
    more = page.more && page.live.length + page.removed.length > 0;
    for (const id of [page.live.at(-1), ...page.removed.map((tombstone) => tombstone.id)]) {
      if (id !== undefined && id > after) after = id;
    }
  }
  return { live, removed, unsettled };
}
