/** What the broker asks of replication, in its own terms. */
import { createHash } from "node:crypto";
import type { Copy } from "../../replication/delivery.js";
import { isQuorum } from "../../replication/placement.js";
import type { Files, Store } from "../../replication/ports.js";
import type { Replication } from "../../replication/replication.js";
import type { Body } from "../../shared/body.js";
import type { BodyDigest, MailboxName, MemberUuid, MessageId } from "../../shared/ids.js";
import { limits } from "../../shared/limits.js";
import type { Operation } from "../../shared/operation.js";

type Ring = Pick<Replication, "deliver" | "settled" | "groups" | "peers">;

export interface DurableOptions {
  readonly replication: Ring;
  readonly store: Pick<Store, "spoolPath">;
  readonly files: Files;
}

export type Delivered =
  | { readonly kind: "stored"; readonly copies: number; readonly copiesWanted: number }
  | { readonly kind: "full" }
  | { readonly kind: "tempfail"; readonly why: string };

export const digestOf = (bytes: Buffer): BodyDigest =>
  createHash("sha256").update(bytes).digest("hex") as BodyDigest;

export class Durable {
  constructor(private readonly options: DurableOptions) {}

  /**
   * Stores copies of one mail. What fails is not taken back: it was promised to nobody, and
   * whoever tries again does so with the same ids, over which a deletion would win.
   */
  async deliver(copies: readonly Copy[], bytes: Buffer, digest: BodyDigest): Promise<Delivered> {
    const { replication } = this.options;
    const result = await replication.deliver(copies, await this.bodyOf(bytes, digest));
    if (result.kind !== "stored") return result;
    // Nothing is a retry of an entry; members need not remember it as one that may come again.
    for (const { mailbox, message } of copies)
      replication.settled(mailbox, message.id, "confirmed");
    return { kind: "stored", copies: result.durable, copiesWanted: result.wanted };
  }

  /** Large ones go through a file. */
  private async bodyOf(bytes: Buffer, digest: BodyDigest): Promise<Body> {
    if (bytes.length <= limits.inlineBodyOctetsMax) return { kind: "bytes", digest, bytes };
    const { files, store } = this.options;
    const file = await files.create(store.spoolPath());
    const { path } = file;
    try {
      for (let at = 0; at < bytes.length; at += limits.bodyChunkOctets) {
        await file.append(bytes.subarray(at, at + limits.bodyChunkOctets));
      }
    } catch (error) {
      await file.close().catch(() => undefined);
      await files.remove(path);
      throw error;
    }
    await file.close();
    return { kind: "file", digest, octets: bytes.length, path };
  }

  /** Does a majority of the mailbox's group know all of these, be it as deleted? */
  async isKnown(
    mailbox: MailboxName,
    ids: readonly MessageId[],
  ): Promise<"yes" | "no" | "undecided"> {
    const { groups, peers } = this.options.replication;
    const placement = groups.placementOf(mailbox);
    const knowing = new Set<MemberUuid>();
    const answered = new Set<MemberUuid>();
    await Promise.all(
      placement.everyone.map(async (member) => {
        const wanted = new Set(ids);
        // A page holds the ids above; these lie close together.
        let after = idBelow([...wanted].sort()[0] ?? ("" as MessageId));
        try {
          for (;;) {
            const page = await peers.call(member, "listing", { mailbox, after });
            const known = [...page.live, ...page.removed.map(({ id }) => id)].sort();
            for (const id of known) wanted.delete(id);
            const last = known.at(-1);
            if (!page.more || wanted.size === 0 || last === undefined) break;
            after = last;
          }
        } catch {
          return;
        }
        answered.add(member.uuid);
        if (wanted.size === 0) knowing.add(member.uuid);
      }),
    );
    if (isQuorum(placement, knowing)) return "yes";
    return isQuorum(placement, answered) ? "no" : "undecided";
  }

  /** Deletes for good, wherever they turn up. True when a majority has it on disk. */
  async void(mailbox: MailboxName, ids: readonly MessageId[], atMs: number): Promise<boolean> {
    const operations = ids.map(
      (id): Operation => ({
        kind: "RemoveMessage",
        mailbox,
        tombstone: { id, removedAtMs: atMs },
      }),
    );
    const request = { operations, bodies: [] };
    const stored = await this.options.replication.groups.ask(mailbox, "replicate", request, {
      counts: (reply) => reply.kind === "stored",
      alone: true,
      deadlineMs: limits.peerCallDeadlineMs,
    });
    return stored.quorum;
  }
}

/** The greatest text of 32 hex digits below an id. */
function idBelow(id: MessageId): MessageId | "" {
  if (/^0*$/.test(id)) return "";
  return (BigInt(`0x${id}`) - 1n).toString(16).padStart(32, "0") as MessageId;
}

/** Runs `work` for each, so many at a time. */
export async function inParallel<T, R>(
  items: readonly T[],
  atATime: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next;
      next += 1;
      results[index] = await work(items[index] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atATime, items.length) }, worker));
  return results;
}
