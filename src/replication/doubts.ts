/** What members do about mails whose client may not have read its 250: see `Retries`. */
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { Operation, StoredMessage, Tombstone } from "../shared/operation.js";
import type { Copy } from "./delivery.js";
import type { Peers } from "./peers.js";
import type { Clock, Store } from "./ports.js";
import { consequencesOf, type Doubt, type Retries } from "./retries.js";

const confirmedPerRecord = 1_000;
const newsWaitMs = 5_000;

interface DoubtsOptions {
  readonly retries: Retries;
  readonly store: Store;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends what waits. */
  readonly stopping: AbortSignal;
}

export class Doubts {
  constructor(private readonly options: DoubtsOptions) {}

  /** News of what became of acknowledgements. */
  async settled(confirmed: readonly MessageId[], doubtful: readonly MessageId[]): Promise<void> {
    const { retries } = this.options;
    for (const id of confirmed) retries.confirm(id);
    this.remember(confirmed);
    const doubts = doubtful.flatMap((id) => retries.doubt(id) ?? []);
    for (const doubt of doubts) await this.conclude(doubt);
  }

  /** So that after a restart these are not in doubt again. Nobody waits for it. */
  private remember(confirmed: readonly MessageId[]): void {
    const { store, log } = this.options;
    for (let start = 0; start < confirmed.length; start += confirmedPerRecord) {
      const ids = confirmed.slice(start, start + confirmedPerRecord);
      store.write([{ kind: "ConfirmMessages", ids }]).catch((error: unknown) => {
        log.debug({ error: String(error) }, "confirmations were not written down");
      });
    }
  }

  /**
   * The connection from a member broke, or it went quiet: what it was about to acknowledge is in doubt at once. What
   * was repeated already is removed later, when the member had time to come back with the news.
   */
  coordinatorGone(uuid: MemberUuid): void {
    const doubtful = this.options.retries.coordinatorGone(uuid);
    if (doubtful.length > 0) void this.removeRepeated(doubtful);
  }

  private async removeRepeated(ids: readonly MessageId[]): Promise<void> {
    const { retries, peers, clock, log, stopping } = this.options;
    try {
      await clock.sleep(newsWaitMs, stopping);
      const doubtful = ids.filter((id) => retries.stateOf(id) === "doubtful");
      await peers.call(peers.self, "settled", { confirmed: [], doubtful });
    } catch (error) {
      if (!stopping.aborted) {
        log.warn({ error: String(error) }, "a repeated mail was not removed");
      }
    }
  }

  /** After messages in doubt were stored or deleted. */
  async written(operations: readonly Operation[]): Promise<void> {
    noteRemoved(this.options.retries, operations);
    for (const operation of operations) {
      if (operation.kind === "AddMessage") await this.concludeOne(operation.message.id);
      if (operation.kind === "RemoveMessage") await this.concludeOne(operation.tombstone.id);
    }
  }

  /**
   * After a start: nobody knows whether these were acknowledged. Their retries may have come before
   * the end, and their readers may have deleted them.
   */
  async doubtRecent(recent: readonly Copy[]): Promise<void> {
    const { retries, store } = this.options;
    for (const { mailbox, message } of recent) {
      const { tombstones } = await store.contents(mailbox);
      const tombstone = tombstones.find(({ id }) => id === message.id);
      if (tombstone) retries.removed(tombstone);
      await this.concludeOne(message.id);
    }
  }

  private async concludeOne(id: MessageId): Promise<void> {
    const { retries } = this.options;
    const doubt = retries.stateOf(id) === "doubtful" ? retries.doubt(id) : undefined;
    if (doubt) await this.conclude(doubt);
  }

  private async conclude(doubt: Doubt): Promise<void> {
    const { retries, store } = this.options;
    const { mailbox } = doubt;
    const contents = await store.contents(mailbox);
    const operations = consequencesOf(doubt, contents).map(
      (tombstone): Operation => ({ kind: "RemoveMessage", mailbox, tombstone }),
    );
    if (operations.length === 0) return;
    await store.write(operations);
    noteRemoved(retries, operations);
  }
}

/** A mail that repeats one in doubt takes its place, in the same write. */
export function removalsOfRepeated(
  retries: Retries,
  mailbox: MailboxName,
  message: StoredMessage,
): readonly Operation[] {
  return retries.repeatedBy(message).map((id) => {
    const tombstone = { id, removedAtMs: message.receivedAtMs };
    return { kind: "RemoveMessage", mailbox, tombstone };
  });
}

/** What a reader deleted does not live on in an earlier try of the same mail. */
export function removalsOfDeleted(
  retries: Retries,
  mailbox: MailboxName,
  { id, removedAtMs, fingerprint }: Tombstone,
): readonly Operation[] {
  if (fingerprint === undefined) return [];
  return retries.repeatedBy({ id, fingerprint }).map((earlier) => {
    return { kind: "RemoveMessage", mailbox, tombstone: { id: earlier, removedAtMs } };
  });
}

/** A message comes that its reader has deleted, as an earlier try: it is deleted, too. */
export function deletionOf(mailbox: MailboxName, message: StoredMessage): Operation {
  const { id, receivedAtMs: removedAtMs, fingerprint } = message;
  return { kind: "RemoveMessage", mailbox, tombstone: { id, removedAtMs, fingerprint } };
}

/** Not before the deletions are on disk: a write that failed has to be possible again. */
export function noteRemoved(retries: Retries, operations: readonly Operation[]): void {
  for (const operation of operations) {
    if (operation.kind === "RemoveMessage") retries.removed(operation.tombstone);
  }
}
