/**
 * One member's word on who may change a mailbox. A session holds a maildrop when a majority of
 * its group says so, and says so again at the moment of the deletions (fencing). Leases are by
 * node: a lock lives as long as its front node is heard, so a thousand sessions cost one beat.
 */
import type { MailboxName, MemberUuid } from "../shared/ids.js";

export interface Lease {
  readonly session: string;
  readonly owner: MemberUuid;
  /** Names one run of the owner's process; its locks end with it. */
  readonly boot: string;
}

export type AcquireAnswer =
  | { readonly kind: "granted" }
  | { readonly kind: "held"; readonly lease: Lease };

export class LockTable {
  private readonly leases = new Map<MailboxName, Lease>();
  private readonly heard = new Map<MemberUuid, { boot: string; atMs: number }>();

  constructor(
    private readonly self: MemberUuid,
    private readonly leaseMs: number,
    private readonly nowMs: () => number,
  ) {}

  /** A sign of life. Locks of an earlier run of that node end. */
  hear(owner: MemberUuid, boot: string): void {
    this.heard.set(owner, { boot, atMs: this.nowMs() });
  }

  acquire(mailbox: MailboxName, wanted: Lease): AcquireAnswer {
    this.hear(wanted.owner, wanted.boot);
    const lease = this.holder(mailbox);
    if (lease && lease.session !== wanted.session) return { kind: "held", lease };
    this.leases.set(mailbox, wanted);
    return { kind: "granted" };
  }

  holds(mailbox: MailboxName, session: string): boolean {
    return this.holder(mailbox)?.session === session;
  }

  release(mailbox: MailboxName, session: string): void {
    if (this.leases.get(mailbox)?.session === session) this.leases.delete(mailbox);
  }

  /** The live lease of a mailbox. One that is found to have run out is gone, whoever wakes up. */
  private holder(mailbox: MailboxName): Lease | undefined {
    const lease = this.leases.get(mailbox);
    if (!lease || this.isAlive(lease)) return lease;
    this.leases.delete(mailbox);
    return undefined;
  }

  private isAlive(lease: Lease): boolean {
    const heard = this.heard.get(lease.owner);
    if (!heard || heard.boot !== lease.boot) return false;
    return lease.owner === this.self || this.nowMs() - heard.atMs <= this.leaseMs;
  }
}
