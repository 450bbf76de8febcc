/** What the broker asks of replication, in its own terms. */
import { createHash } from "node:crypto";
import type { Copy } from "../../replication/delivery.js";
import type { Caller } from "../../replication/peer-methods.js";
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

  /**
   * Does a majority of the mailbox's group know all of these, be it as deleted? While somebody knows
   * what most do not, that is undecided: repair will tell them within seconds.
   */
  async isKnown(
    mailbox: MailboxName,
    ids: readonly MessageId[],
  ): Promise<"yes" | "no" | "undecided"> {
    const placement = this.options.replication.groups.placementOf(mailbox);
    const knowing = new Map(ids.map((id) => [id, new Set<MemberUuid>()]));
    const answered = new Set<MemberUuid>();
    await Promise.all(
      placement.everyone.map(async (member) => {
        const known = await this.knownTo(member, mailbox, ids);
        if (!known) return;
        answered.add(member.uuid);
        for (const id of known) knowing.get(id)?.add(member.uuid);
      }),
    );
    if (!isQuorum(placement, answered)) return "undecided";
    const sets = [...knowing.values()];
    if (sets.every((members) => isQuorum(placement, members))) return "yes";
    const isSpreading = sets.some((members) => members.size > 0 && !isQuorum(placement, members));
    return isSpreading ? "undecided" : "no";
  }

  /** Those of the ids that a member has, live or deleted; undefined when it does not answer. */
  private async knownTo(
    member: Caller,
    mailbox: MailboxName,
    ids: readonly MessageId[],
  ): Promise<readonly MessageId[] | undefined> {
    const wanted = new Set(ids);
    const known: MessageId[] = [];
    const sorted = [...ids].sort();
    const [first, last] = [sorted[0], sorted.at(-1)];
    if (first === undefined || last === undefined) return known;
    try {
      // A page holds the ids above; these lie close together.
      for (let after = idBelow(first); ; ) {
        const page = await this.options.replication.peers.call(member, "listing", {
          mailbox,
          after,
        });
        const there = [...page.live, ...page.removed.map(({ id }) => id)].sort();
        known.push(...there.filter((id) => wanted.has(id)));
        const end = there.at(-1);
        if (!page.more || end === undefined || end >= last) return known;
        after = end;
      }
    } catch {
      return undefined;
    }
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
