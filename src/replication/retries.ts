/**
 * Knows a client's retry when it sees one. When an acknowledgement is lost, the client sends the
 * same mail again, perhaps through another node; it must not appear twice. Yet two identical mails
 * that were both acknowledged are two mails. So every member remembers the mails whose client has
 * not confirmed that it read the 250, and a new mail with the same fingerprint takes the place of
 * one of these only when that one is *in doubt*: its client went away, or its coordinator died.
 * The member stores the new one and removes the old one in one write, so that it never has neither.
 */
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type { StoredMessage } from "../shared/operation.js";

interface Entry {
  readonly mailbox: MailboxName;
  readonly fingerprint: string;
  readonly coordinator: MemberUuid;
  readonly notedAtMs: number;
  state: "outstanding" | "doubtful" | "confirmed" | "removed";
}

export interface RetryLimits {
  readonly entriesMax: number;
  /** How long a mail in doubt waits for its retry. */
  readonly rememberedMs: number;
  /** How long a settled one is kept, for the doubt about an earlier one that comes late. */
  readonly settledMs: number;
}

const defaultLimits: RetryLimits = {
  entriesMax: 100_000,
  rememberedMs: 24 * 60 * 60 * 1_000,
  settledMs: 30_000,
};

const earlyMax = 10_000;

export class Retries {
  private readonly byId = new Map<MessageId, Entry>();
  private readonly byFingerprint = new Map<string, Set<MessageId>>();
  /** Doubts about mails that this member has not seen, but may be about to. */
  private early = new Set<MessageId>();
  /** Confirmed or removed, in order of time. */
  private settled: { readonly id: MessageId; readonly atMs: number }[] = [];

  constructor(
    private readonly nowMs: () => number,
    private readonly limits = defaultLimits,
  ) {}

  get size(): number {
    return this.byId.size;
  }

  /** A mail is about to be stored; its acknowledgement is outstanding. */
  note(mailbox: MailboxName, message: StoredMessage, doubtful = false): void {
    const { id, fingerprint, coordinator } = message;
    if (this.byId.has(id)) return;
    this.forgetOld();
    const state = doubtful || this.early.delete(id) ? "doubtful" : "outstanding";
    this.byId.set(id, { mailbox, fingerprint, coordinator, notedAtMs: this.nowMs(), state });
    const ids = this.byFingerprint.get(fingerprint) ?? new Set();
    ids.add(id);
    this.byFingerprint.set(fingerprint, ids);
  }

  /** Earlier mails that `message` repeats: those in doubt. */
  repeatedBy(message: StoredMessage): readonly MessageId[] {
    const ids = this.byFingerprint.get(message.fingerprint);
    if (!ids) return [];
    return [...ids].filter((id) => {
      const entry = this.byId.get(id);
      return id < message.id && entry?.state === "doubtful" && !this.isOld(entry);
    });
  }

  /** The client has read its 250. The next identical mail is a new one. */
  confirm(id: MessageId): void {
    this.settle(id, "confirmed");
  }

  private settle(id: MessageId, state: "confirmed" | "removed"): void {
    const entry = this.byId.get(id);
    if (!entry || entry.state === "removed") return;
    entry.state = state;
    this.settled.push({ id, atMs: this.nowMs() });
    this.forgetSettled();
  }

  /**
   * The client went away without one. Its retry may have come before this was known: then the
   * message has been repeated already and has to be removed, which the answer says.
   */
  doubt(id: MessageId): { readonly mailbox: MailboxName; readonly notedAtMs: number } | undefined {
    const entry = this.byId.get(id);
    if (!entry) {
      if (this.early.size < earlyMax) this.early.add(id);
      else this.early = new Set([id]);
      return undefined;
    }
    if (entry.state === "confirmed" || entry.state === "removed") return undefined;
    entry.state = "doubtful";
    const others = this.byFingerprint.get(entry.fingerprint) ?? [];
    return [...others].some((other) => other > id) ? entry : undefined;
  }

  /** Undefined: nothing is known of it, so its client knows. */
  stateOf(id: MessageId): Entry["state"] | undefined {
    return this.byId.get(id)?.state;
  }

  /**
   * Nobody may tell what became of this node's acknowledgements: they are in doubt. Answers which;
   * they are not removed before it is sure that the node does not come back with the news.
   */
  coordinatorGone(coordinator: MemberUuid): readonly MessageId[] {
    const doubtful: MessageId[] = [];
    for (const [id, entry] of this.byId) {
      if (entry.coordinator !== coordinator || entry.state !== "outstanding") continue;
      entry.state = "doubtful";
      doubtful.push(id);
    }
    return doubtful;
  }

  /** A deleted mail is nobody's earlier copy, but it was a later one. */
  removed(id: MessageId): void {
    this.settle(id, "removed");
  }

  private isOld(entry: Entry): boolean {
    return this.nowMs() - entry.notedAtMs > this.limits.rememberedMs;
  }

  private forgetSettled(): void {
    const oldestMs = this.nowMs() - this.limits.settledMs;
    let expired = 0;
    while ((this.settled[expired]?.atMs ?? Number.POSITIVE_INFINITY) < oldestMs) expired += 1;
    // Seldom and many at a time, since it moves the rest.
    if (expired < 256 && expired < this.settled.length) return;
    for (const { id } of this.settled.splice(0, expired)) {
      const state = this.byId.get(id)?.state;
      if (state === "confirmed" || state === "removed") this.forget(id);
    }
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
