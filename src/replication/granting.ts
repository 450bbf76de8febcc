/** Whom this member grants a maildrop's lock: `locks.ts`, and what has to be asked and waited for. */
import type { MailboxName, MemberUuid } from "../shared/ids.js";
import type { Fence } from "./fence.js";
import type { Floors } from "./floors.js";
import type { LockTable } from "./locks.js";
import type { Membership } from "./membership.js";
import { pendingOf } from "./merged.js";
import type { Caller, ReplyOf, RequestOf } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { Store } from "./ports.js";
import { memberByUuid } from "./roster.js";

export interface GrantingOptions {
  readonly store: Store;
  readonly membership: Membership;
  readonly peers: Peers;
  readonly locks: LockTable;
  readonly floors: Floors;
  /** Waits while leases that were granted before this node's start may be alive. */
  readonly leasesAreKnown: () => Promise<void>;
}

export class Granting {
  constructor(
    private readonly fence: Fence,
    private readonly options: GrantingOptions,
  ) {}

  acquire(from: Caller, request: RequestOf<"acquire">): Promise<ReplyOf<"acquire">> {
    const { locks, store, floors, leasesAreKnown } = this.options;
    const { mailbox, session, boot } = request;
    return this.fence.answer(from, request.epoch, async () => {
      await leasesAreKnown();
      const wanted = { session, boot, owner: from.uuid };
      let answer = locks.acquire(mailbox, wanted);
      if (answer.kind === "held") {
        if (!(await this.isHeld(mailbox, answer.lease))) {
          locks.release(mailbox, answer.lease.session);
        }
        // Even if it was held then: the lease of a silent node may have run out meanwhile.
        answer = locks.acquire(mailbox, wanted);
      }
      if (answer.kind === "held") return { kind: "held", owner: answer.lease.owner };
      // The floor before the summary, and the barrier behind it: what is not sure does not count.
      const floor = await store.floor(mailbox);
      const summary = await store.summary(mailbox);
      const pending = pendingOf({ floor, barrier: floors.barrier(mailbox) });
      return { kind: "granted", summary, ...(pending !== "" && { pending }) };
    });
  }

  /** A release may have been lost, so the front node is asked before a client is turned away. */
  private async isHeld(
    mailbox: MailboxName,
    lease: { session: string; owner: MemberUuid },
  ): Promise<boolean> {
    const owner = memberByUuid(this.options.membership.roster, lease.owner);
    if (!owner) return false;
    try {
      const request = { mailbox, session: lease.session };
      // Short, since a client waits; who is too slow to say keeps the lock.
      const options = { deadlineMs: 250 };
      return (await this.options.peers.call(owner, "holds", request, options)).holds;
    } catch {
      return true;
    }
  }
}
