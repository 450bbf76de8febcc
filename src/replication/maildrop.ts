/** A mailbox as one session sees it: locked, merged from a majority, frozen. */
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Operation, StoredMessage } from "../shared/operation.js";
import type { Groups } from "./group.js";
import type { MessageReader } from "./message-reader.js";
import type { RequestOf } from "./peer-methods.js";
import type { Clock, Store } from "./ports.js";
import type { Unsettled } from "./retries.js";

export type OpenAnswer =
  | { readonly kind: "open"; readonly maildrop: ReplicatedMaildrop }
  /** `owner`: the member whose session has it, by the word of one. */
  | { readonly kind: "inUse"; readonly owner?: MemberUuid }
  | { readonly kind: "tempfail"; readonly why: string };

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

/** What a session is shown. */
export interface Shown {
  /** In order of arrival. */
  readonly messages: readonly StoredMessage[];
  readonly unsure: ReadonlySet<MessageId>;
  /** Those whose client may send them again. */
  readonly unsettled: ReadonlyMap<MessageId, Unsettled>;
}

export interface SessionParts extends Shown {
  readonly groups: Groups;
  readonly store: Store;
  readonly clock: Clock;
  readonly reader: MessageReader;
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
  readonly mailbox: MailboxName;
  /** In order of arrival; does not change. */
  readonly messages: readonly StoredMessage[];
  /** Those of a flow that no majority is known to have: see `unsureIn`. */
  readonly unsure: ReadonlySet<MessageId>;
  readonly release: () => void;

  constructor(private readonly parts: SessionParts) {
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
    return (await this.parts.store.summary(this.mailbox)).digest === digest;
  }

  /** See `MessageReader`. @throws Error when no member has a sound copy now */
  read(message: StoredMessage, signal: AbortSignal): Promise<Buffer | AsyncIterable<Buffer>> {
    return this.parts.reader.read(message, signal);
  }

  /**
   * Deletes messages for good; true once that is durable on a majority that still knows this
   * session as the holder of the lock. The lock is asked for first, so that a session that lost
   * it changes nothing anywhere. More than `removalsPerCall` go in steps: when one fails, those
   * before it are done (RFC 1939 §6: "some or none").
   */
  async remove(messages: readonly Removable[]): Promise<boolean> {
    const { groups, clock } = this.parts;
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
    const removedAtMs = this.parts.clock.wallMs();
    const operations = ids.map(
      (id): Operation => ({
        kind: "RemoveMessage",
        mailbox: this.mailbox,
        tombstone: { id, removedAtMs },
      }),
    );
    return this.write({ operations });
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
    return this.write({ operations, lock, unsettled });
  }

  /** True once it is durable on a majority. */
  private async write(
    request: Pick<RequestOf<"replicate">, "operations" | "lock" | "unsettled">,
  ): Promise<boolean> {
    const stored = await this.parts.groups.ask(
      this.mailbox,
      "replicate",
      { ...request, bodies: [] },
      {
        counts: (reply) => reply.kind === "stored",
        alone: true,
        deadlineMs: limits.peerCallDeadlineMs,
      },
    );
    return stored.quorum;
  }
}
