/** What the broker asks of replication, in its own terms. */
import { createHash } from "node:crypto";
import type { Copy } from "../../replication/delivery.js";
import type { Caller } from "../../replication/peer-methods.js";
import { isQuorum, type Placement } from "../../replication/placement.js";
import type { Files, Store } from "../../replication/ports.js";
import type { Replication } from "../../replication/replication.js";
import type { Body } from "../../shared/body.js";
import type { BodyDigest, MailboxName, MemberUuid, MessageId } from "../../shared/ids.js";
import { limits } from "../../shared/limits.js";
import { type Floor, isOfFlow, isSunk } from "../../shared/floor.js";
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
  /** `isSunk`: with these ids perhaps never, see `fatesOf`. */
  | { readonly kind: "tempfail"; readonly why: string; readonly isSunk?: boolean };

/**
 * What became of a copy, by the word of a majority: it is there or was; it never was, and never will be with
 * this id; or that is not known yet.
 */
export type Fate = "delivered" | "never" | "unknown";

/** What a member knows of some ids of a mailbox. */
interface Knowledge {
  readonly known: ReadonlySet<MessageId>;
  /** Its floor, and the barrier above it when another is on its way. */
  readonly below: string;
  readonly barrier: string;
}

/** ... and the floor with what it spares, as it was a moment before. */
interface Judged extends Knowledge {
  readonly floor: Floor | undefined;
}

export const digestOf = (bytes: Buffer): BodyDigest =>
  createHash("sha256").update(bytes).digest("hex") as BodyDigest;

export class Durable {
  constructor(private readonly options: DurableOptions) {}

  /**
   * Stores copies of one mail. What fails is not taken back: it was promised to nobody, and
   * whoever tries again does so with the same ids, over which a deletion would win. A copy that only a
   * stand-in has doesn't count: it would come home behind the floor.
   */
  async deliver(copies: readonly Copy[], bytes: Buffer, digest: BodyDigest): Promise<Delivered> {
    const { replication } = this.options;
    const body = await this.bodyOf(bytes, digest);
    const result = await replication.deliver(copies, body, { byGroup: true });
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
    const told = await askAll(placement, (member) => this.knownTo(member, mailbox, ids));
    if (!isQuorum(placement, new Set(told.keys()))) return "undecided";
    const lacking = ids.filter((id) => !isQuorum(placement, knowersOf(told, id)));
    if (lacking.length === 0) return "yes";
    const isSpreading = lacking.some((id) => [...told.values()].some(({ known }) => known.has(id)));
    return isSpreading ? "undecided" : "no";
  }

  /** What became of copies that could not be delivered because a floor has come above their ids. */
  async fatesOf(
    mailbox: MailboxName,
    ids: readonly MessageId[],
  ): Promise<ReadonlyMap<MessageId, Fate>> {
    const placement = this.options.replication.groups.placementOf(mailbox);
    const told = await askAll(placement, async (member): Promise<Judged | undefined> => {
      const height = await this.floorAt(member, mailbox);
      const knowledge = height && (await this.knownTo(member, mailbox, ids));
      return knowledge && { ...knowledge, ...height };
    });
    return new Map(ids.map((id) => [id, fateOf(placement, told, id)]));
  }

  private async floorAt(
    member: Caller,
    mailbox: MailboxName,
  ): Promise<Pick<Judged, "floor"> | undefined> {
    try {
      const { peers } = this.options.replication;
      const { floor } = await peers.call(member, "listing", { mailbox, after: "" });
      return { floor };
    } catch {
      return undefined;
    }
  }

  /** Those of the ids that a member has, live or deleted; undefined when it does not answer. */
  private async knownTo(
    member: Caller,
    mailbox: MailboxName,
    ids: readonly MessageId[],
  ): Promise<Knowledge | undefined> {
    const wanted = new Set(ids);
    const known = new Set<MessageId>();
    let [below, barrier] = ["", ""];
    const sorted = [...ids].sort();
    const [first, last] = [sorted[0], sorted.at(-1)];
    if (first === undefined || last === undefined) return undefined;
    try {
      // A page holds the ids above; these lie close together.
      for (let after = idBelow(first); ; ) {
        const page = await this.options.replication.peers.call(member, "listing", {
          mailbox,
          after,
        });
        const there = [...page.live, ...page.removed.map(({ id }) => id)].sort();
        for (const id of there) if (wanted.has(id)) known.add(id);
        // The highest barrier, the lowest floor: what is not sure does not count.
        below = after === idBelow(first) ? (page.below ?? "") : below;
        barrier = (page.barrier ?? "") > barrier ? (page.barrier ?? "") : barrier;
        const end = there.at(-1);
        if (!page.more || end === undefined || end >= last) return { known, below, barrier };
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

/** Does the member count what it knows of the id, so that no floor will pass over it? */
const counts = ({ below, barrier }: Knowledge, id: MessageId): boolean =>
  !isOfFlow(id) || id >= barrier || below >= barrier;

const knowersOf = (told: ReadonlyMap<MemberUuid, Knowledge>, id: MessageId): Set<MemberUuid> =>
  new Set(
    [...told].flatMap(([uuid, each]) => (each.known.has(id) && counts(each, id) ? [uuid] : [])),
  );

/** What members say, of those who do. */
async function askAll<T>(
  { everyone }: Placement,
  ask: (member: Caller) => Promise<T | undefined>,
): Promise<ReadonlyMap<MemberUuid, T>> {
  const told = new Map<MemberUuid, T>();
  await Promise.all(
    everyone.map(async (member) => {
      const answer = await ask(member);
      if (answer) told.set(member.uuid, answer);
    }),
  );
  return told;
}

/**
 * A floor spares all that a majority ever had of a flow's last intention, removed or not. So where a majority has
 * applied one above the id that does not spare it, and nobody who answers has it, no majority ever had it. One that
 * is spared somebody has who does not answer; it can still be delivered with its id, by whoever comes first.
 */
function fateOf(placement: Placement, told: ReadonlyMap<MemberUuid, Judged>, id: MessageId): Fate {
  if (isQuorum(placement, knowersOf(told, id))) return "delivered";
  if ([...told.values()].some(({ known }) => known.has(id))) return "unknown";
  const behind = [...told].filter(
    ([, { below, barrier, floor }]) => below >= barrier && isSunk(floor, id),
  );
  return isQuorum(placement, new Set(behind.map(([uuid]) => uuid))) ? "never" : "unknown";
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
