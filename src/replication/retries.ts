/**
 * Knows a client's retry when it sees one. When an acknowledgement is lost, the client sends the
 * same mail again, perhaps through another node; it must not appear twice. Yet two identical mails
 * that were both acknowledged are two mails. So every member remembers the mails whose client has
 * not confirmed that it read the 250, and a new mail with the same fingerprint takes the place of
 * one of these only when that one is *in doubt*: its client went away, or its coordinator died.
 * The member stores the new one and removes the old one in one write, so that it never has neither.
 *
 * A reader may have deleted the mail in doubt before the retry comes. Then the retry is deleted as
 * well, if a Message-ID says that it is the same mail and not a new one that looks like it.
 */
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type { StoredMessage, Tombstone } from "../shared/operation.js";
import { timeOf } from "./message-id.js";
import type { MailboxContents } from "./ports.js";

/** A mail and the identity that its next try would share: sender, mailbox and octets. */
interface Try {
  readonly id: MessageId;
  readonly fingerprint: string;
}

interface Entry extends Try {
  readonly mailbox: MailboxName;
  readonly coordinator: MemberUuid;
  readonly notedAtMs: number;
  state: "outstanding" | "doubtful";
  /** `replaced`: by a later try. A session that still shows it may delete it all the same. */
  copy: "here" | "replaced" | "deleted";
}

/** A mail whose client is not known to have read its 250, as members tell each other. */
export type Unsettled = Readonly<Omit<Entry, "mailbox" | "notedAtMs" | "copy">>;

/** A mail in doubt: its client may send it again, or has done so. */
export type Doubt = Readonly<Entry>;

type Contents = Pick<MailboxContents, "messages" | "tombstones">;

export interface RetryLimits {
  readonly entriesMax: number;
  /** How long a mail in doubt waits for its retry. */
  readonly rememberedMs: number;
  /**
   * A coordinator knows sooner than this what became of an acknowledgement. Who has heard nothing
   * has missed the news; had it been a doubt, the others would know.
   */
  readonly outstandingMs: number;
}

const defaultLimits: RetryLimits = {
  entriesMax: 100_000,
  rememberedMs: 24 * 60 * 60 * 1_000,
  outstandingMs: 10 * 60 * 1_000,
};

const earlyMax = 10_000;
const confirmedMax = 10_000;

export class Retries {
  private readonly byId = new Map<MessageId, Entry>();
  private readonly byFingerprint = new Map<string, Set<MessageId>>();
  /** Doubts about mails that this member has not seen, but may be about to. */
  private early = new Set<MessageId>();
  /** Confirmed lately: the news may be faster than the mail, which is not outstanding then. */
  private readonly confirmed = new Set<MessageId>();
  /** Coordinators whose connection broke: what comes from them late has nobody to settle it. */
  private readonly gone = new Set<MemberUuid>();

  /** `nowMs`: monotonic. A wall clock that jumps would make all of them old. */
  constructor(
    private readonly nowMs: () => number,
    private readonly limits = defaultLimits,
  ) {}

  get size(): number {
    return this.byId.size;
  }

  /** A mail is about to be stored; its acknowledgement is outstanding. */
  note(
    mailbox: MailboxName,
    message: Pick<StoredMessage, "id" | "fingerprint" | "coordinator">,
    doubtful = false,
  ): void {
    const { id, fingerprint, coordinator } = message;
    if (this.byId.has(id) || this.confirmed.has(id)) return;
    this.forgetOld();
    const isDoubtful = this.early.delete(id) || doubtful || this.gone.has(coordinator);
    const state = isDoubtful ? "doubtful" : "outstanding";
    const notedAtMs = this.nowMs();
    const entry = {
      id,
      mailbox,
      fingerprint,
      coordinator,
      notedAtMs,
      state,
      copy: "here",
    } as const;
    this.byId.set(id, entry);
    const ids = this.byFingerprint.get(fingerprint) ?? new Set();
    ids.add(id);
    this.byFingerprint.set(fingerprint, ids);
  }

  /**
   * Earlier mails whose place a mail takes, or that its deletion ends as well: those in doubt with
   * its fingerprint.
   */
  repeatedBy(later: Try): readonly MessageId[] {
    return this.doubtfulBefore(later).flatMap(({ id, copy }) => (copy === "here" ? [id] : []));
  }

  /** Is the message another try to send a mail that its reader has deleted already? */
  wasDeleted(message: StoredMessage): boolean {
    if (!message.hasMessageId) return false;
    return this.doubtfulBefore(message).some(({ copy }) => copy === "deleted");
  }

  private doubtfulBefore(later: Try): readonly Entry[] {
    const ids = this.byFingerprint.get(later.fingerprint);
    if (!ids) return [];
    return [...ids].flatMap((id) => {
      const entry = this.byId.get(id);
      const counts = id < later.id && entry?.state === "doubtful" && !this.isOld(entry);
      return counts ? [entry] : [];
    });
  }

  /**
   * The client has read its 250: the next identical mail is a new one, also if an earlier try of
   * this one was deleted.
   */
  confirm(id: MessageId): void {
    this.confirmed.add(id);
    for (const oldest of this.confirmed) {
      if (this.confirmed.size <= confirmedMax) break;
      this.confirmed.delete(oldest);
    }
    const entry = this.byId.get(id);
    if (!entry) return;
    for (const earlier of this.doubtfulBefore(entry)) {
      if (earlier.copy === "deleted") this.forget(earlier.id);
    }
    this.forget(id);
  }

  /** The client went away without one. Answers the doubt if this member knows the mail. */
  doubt(id: MessageId): Doubt | undefined {
    const entry = this.byId.get(id);
    if (entry) {
      entry.state = "doubtful";
      return { ...entry };
    }
    if (this.early.size < earlyMax) this.early.add(id);
    else this.early = new Set([id]);
    return undefined;
  }

  /** Undefined: nothing is known of it, so its client knows. */
  stateOf(id: MessageId): Entry["state"] | undefined {
    return this.byId.get(id)?.state;
  }

  /** What another member needs to know of a mail that this one passes on. */
  unsettled(id: MessageId): Unsettled | undefined {
    const entry = this.byId.get(id);
    if (!entry) return undefined;
    const { fingerprint, coordinator, state } = entry;
    return { id, fingerprint, coordinator, state };
  }

  /** As `unsettled`, of all mails of a mailbox: those that are there and those that were deleted. */
  unsettledIn(mailbox: MailboxName): readonly Unsettled[] {
    const found: Unsettled[] = [];
    for (const { id, mailbox: of, fingerprint, coordinator, state } of this.byId.values()) {
      if (of === mailbox) found.push({ id, fingerprint, coordinator, state });
    }
    return found;
  }

  /**
   * Nobody may tell what became of this node's acknowledgements: they are in doubt. Answers which;
   * they are not removed before it is sure that the node does not come back with the news.
   */
  coordinatorGone(coordinator: MemberUuid): readonly MessageId[] {
    this.gone.add(coordinator);
    const doubtful: MessageId[] = [];
    for (const [id, entry] of this.byId) {
      if (entry.coordinator !== coordinator || entry.state !== "outstanding") continue;
      if (this.nowMs() - entry.notedAtMs > this.limits.outstandingMs) {
        this.forget(id);
        continue;
      }
      entry.state = "doubtful";
      doubtful.push(id);
    }
    return doubtful;
  }

  /** It is back, or was not away for long. */
  coordinatorHeard(coordinator: MemberUuid): void {
    this.gone.delete(coordinator);
  }

  /** A mail is gone: given up, or deleted by its reader, which its client may not know. */
  removed({ id, fingerprint }: Tombstone): void {
    const entry = this.byId.get(id);
    if (!entry) return;
    if (fingerprint !== undefined) entry.copy = "deleted";
    else if (entry.copy === "here") entry.copy = "replaced";
  }

  private isOld(entry: Entry): boolean {
    return this.nowMs() - entry.notedAtMs > this.limits.rememberedMs;
  }

  /** Entries lie in order of age. */
  private forgetOld(): void {
    for (const [id, entry] of this.byId) {
      if (this.byId.size < this.limits.entriesMax && !this.isOld(entry)) return;
      this.forget(id);
    }
  }

  private forget(id: MessageId): void {
    const entry = this.byId.get(id);
    if (!entry) return;
    this.byId.delete(id);
    const ids = this.byFingerprint.get(entry.fingerprint);
    ids?.delete(id);
    if (ids?.size === 0) this.byFingerprint.delete(entry.fingerprint);
  }
}

/** Is a later try of the same mail there, or was it deleted by its reader? */
export function isRepeatedIn({ messages, tombstones }: Contents, earlier: Try): boolean {
  const isLater = (other: Partial<Try> & Pick<Try, "id">): boolean =>
    other.fingerprint === earlier.fingerprint && other.id > earlier.id;
  return messages.some(isLater) || tombstones.some(isLater);
}

/**
 * What follows from a doubt about a mail of the mailbox: it goes when a later try is there, or was
 * and its reader deleted it. If the reader deleted the mail itself, it is the later try that goes.
 */
export function consequencesOf(doubt: Doubt, contents: Contents): readonly Tombstone[] {
  const { id, fingerprint } = doubt;
  // When it was sent; the time here is not the wall clock's.
  const removedAtMs = timeOf(id);
  if (doubt.copy === "replaced") return [];
  if (doubt.copy === "here") return isRepeatedIn(contents, doubt) ? [{ id, removedAtMs }] : [];
  return contents.messages
    .filter((other) => other.fingerprint === fingerprint && other.id > id && other.hasMessageId)
    .map((later) => ({ id: later.id, removedAtMs, fingerprint }));
}

/**
 * What a reader is shown: of several tries of a mail whose client did not read its 250 only the last,
 * and none when one of them was deleted before its client was known to have read it. Should that be a
 * mail of its own, the next session has it. Two live ones are both shown while nobody knows:
 * acknowledged mail is to be seen at once.
 */
export function withoutRepeated(
  contents: Contents,
  stateOf: (id: MessageId) => Entry["state"] | undefined,
): readonly StoredMessage[] {
  const { messages, tombstones } = contents;
  const isDoubtful = ({ id }: Pick<Try, "id">): boolean => stateOf(id) === "doubtful";
  const doubtful = new Set(messages.filter(isDoubtful).map(({ fingerprint }) => fingerprint));
  const deleted = tombstones.filter(({ id }) => stateOf(id) !== undefined);
  if (doubtful.size === 0 && deleted.length === 0) return messages;
  // By fingerprint, since anybody can have many mails in doubt: each with each would take too long.
  const last = new Map<string, MessageId>();
  for (const { id, fingerprint } of [...messages, ...tombstones]) {
    if (fingerprint === undefined || !doubtful.has(fingerprint)) continue;
    if (id > (last.get(fingerprint) ?? "")) last.set(fingerprint, id);
  }
  const firstDeleted = new Map<string, MessageId>();
  for (const { id, fingerprint } of deleted) {
    if (fingerprint === undefined) continue;
    const first = firstDeleted.get(fingerprint);
    if (first === undefined || id < first) firstDeleted.set(fingerprint, id);
  }
  const isHidden = (message: StoredMessage): boolean => {
    const { id, fingerprint, hasMessageId } = message;
    if (isDoubtful(message) && (last.get(fingerprint) ?? "") > id) return true;
    const first = firstDeleted.get(fingerprint);
    return hasMessageId === true && first !== undefined && first < id;
  };
  return messages.some(isHidden) ? messages.filter((each) => !isHidden(each)) : messages;
}
