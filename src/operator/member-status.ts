import { isInGroup } from "../replication/placement.js";
import type { Store } from "../replication/ports.js";
import type { Replication } from "../replication/replication.js";
import type { Ring } from "../ring/ports.js";
import type { Progress } from "../replication/peer-methods.js";
import type { Copying, MemberStatus } from "../shared/admin.js";

export interface MemberFacts {
  readonly replication: Replication;
  readonly ring: Ring;
  readonly store: Store;
  readonly listeners: Pick<MemberStatus, "smtp" | "submission" | "submissions" | "pop3" | "pop3s">;
  readonly rssBytes: () => number;
  readonly stallMs: () => number;
}

/** What a member knows of itself. */
export function memberStatus(facts: MemberFacts): MemberStatus {
  const { replication, ring, store, listeners } = facts;
  const snapshot = ring.snapshot();
  const { self } = snapshot;
  let keysOwned = 0;
  let keysCopied = 0;
  let messages = 0;
  for (const entry of store.catalog()) {
    const placement = replication.groups.placementOf(entry.mailbox);
    messages += entry.messages;
    if (placement.current[0]?.uuid === self.uuid) keysOwned += 1;
    else if (isInGroup(placement, self.uuid)) keysCopied += 1;
  }
  return {
    id: self.id.toString(),
    addr: self.addr,
    uuid: self.uuid,
    state: replication.membership.selfMember?.state ?? "joining",
    ...(snapshot.predecessor && { predecessor: snapshot.predecessor.id.toString() }),
    successors: snapshot.successors.map((member) => member.id.toString()),
    fingers: snapshot.fingers.map((member) => member.id.toString()),
    keysOwned,
    keysCopied,
    messages,
    rosterEpoch: replication.roster.epoch,
    ...listeners,
    rssBytes: facts.rssBytes(),
    stallMs: facts.stallMs(),
    ...(!replication.copying.done && { copying: copyingOf(replication.copying) }),
  };
}

export const copyingOf = (progress: Omit<Progress, "done">): Copying => ({
  mailboxes: progress.copied,
  mailboxesTotal: progress.total,
  messages: progress.messages,
  messagesTotal: progress.messagesTotal,
  octets: progress.octets,
  octetsTotal: progress.octetsTotal,
  seconds: progress.sinceMs / 1_000,
});
