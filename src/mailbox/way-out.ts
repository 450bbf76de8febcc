/** Whether mail that a user hands in may leave the ring, and how much of it. */
import type { Clock } from "../replication/ports.js";
import type { MailboxName } from "../shared/ids.js";
import { outgoingRoom, submittedMailbox } from "./outgoing-mail.js";
import type { WayOut, WayOutAnswer } from "./ports.js";
import type { Quotas } from "./quotas.js";

interface SubmittedMailOptions {
  /** The ring's first domain. */
  readonly domain: string;
  /** Recipients per account and hour, at this member: all at once, or one after the other. */
  readonly recipientsPerHour: number;
  readonly quotas: Pick<Quotas, "check">;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly onAdded: () => void;
}

const hourMs = 3_600_000;
/** Accounts that are counted; whoever was forgotten begins anew. */
const accountsMax = 10_000;

interface Account {
  /** Recipients it may have now, as of `atMs`. */
  free: number;
  atMs: number;
}

export class SubmittedMail implements WayOut {
  /** Least recently used first. */
  private readonly accounts = new Map<MailboxName, Account>();

  constructor(private readonly options: SubmittedMailOptions) {}

  async ask(user: MailboxName, octets: number): Promise<WayOutAnswer> {
    const { quotas, domain } = this.options;
    if (!this.mayHaveAnother(user)) return "throttled";
    const room = await quotas.check(submittedMailbox(domain), outgoingRoom, octets);
    return room === "fits" ? "open" : room;
  }

  added(): void {
    this.options.onAdded();
  }

  /** A bucket that is full at first, and fills up again within an hour. */
  private mayHaveAnother(user: MailboxName): boolean {
    const { recipientsPerHour, clock } = this.options;
    const nowMs = clock.monotonicMs();
    const known = this.accounts.get(user) ?? { free: recipientsPerHour, atMs: nowMs };
    const since = ((nowMs - known.atMs) * recipientsPerHour) / hourMs;
    const free = Math.min(recipientsPerHour, known.free + since);
    const isFree = free >= 1;
    this.accounts.delete(user);
    this.accounts.set(user, { free: isFree ? free - 1 : free, atMs: nowMs });
    for (const oldest of this.accounts.keys()) {
      if (this.accounts.size <= accountsMax) break;
      this.accounts.delete(oldest);
    }
    return isFree;
  }
}
