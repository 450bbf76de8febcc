/** Which mail that leaves the ring is to be sent next. Pure: time is told by the caller. */
import type { MessageId } from "../shared/ids.js";
import type { SendOutcome } from "./smart-host.js";

export interface WaitingMail {
  readonly id: MessageId;
  readonly to: string;
  /** Wall clock, milliseconds since 1970. */
  readonly receivedAtMs: number;
}

export interface OutgoingTimes {
  /** Before the second try of a mail; doubled for each further one. */
  readonly firstRetryMs: number;
  readonly retryMsMax: number;
  /** Older than that, a mail that fails once more is given up. */
  readonly givenUpAfterMs: number;
}

export const outgoingTimes: OutgoingTimes = {
  firstRetryMs: 60_000,
  retryMsMax: 60 * 60_000,
  givenUpAfterMs: 2 * 24 * 60 * 60_000,
};

/** Of the whole smart host; the first after a second, so that its restart costs no more. */
const firstPauseMs = 1_000;

const never = Number.NEGATIVE_INFINITY;

export interface Now {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export type Verdict = "done" | "givenUp" | "waits";

interface Recipient {
  readonly mails: WaitingMail[];
  isBusy: boolean;
  tries: number;
  dueAtMs: number;
  /** Those with a smaller one come first, however old the mail of this one is. */
  turn: number;
  /** When the smart host last failed over its mail. */
  hostFailedAtMs: number;
}

/**
 * One mail of a recipient at a time, in the order in which they came: the next is not sent before
 * the one in front of it is taken or given up. When the smart host itself fails, all wait.
 */
export class OutgoingSchedule {
  private recipients = new Map<string, Recipient>();
  private pauses = 0;
  private pausedUntilMs = never;
  private takenAtMs = never;
  /** Who comes now lines up behind those that were sent to the end of the line. */
  private turn = 0;

  constructor(private readonly times: OutgoingTimes = outgoingTimes) {}

  /** All that waits, in order of arrival. What is on its way is known. */
  update(waiting: readonly WaitingMail[]): void {
    const before = this.recipients;
    this.recipients = new Map();
    for (const mail of waiting) {
      const key = mail.to.toLowerCase();
      let recipient = this.recipients.get(key);
      if (!recipient) {
        const known = before.get(key);
        const isSame = known?.mails[0]?.id === mail.id;
        recipient = isSame && known ? { ...known, mails: [] } : fresh(this.turn);
        this.recipients.set(key, recipient);
      }
      recipient.mails.push(mail);
    }
  }

  get isEmpty(): boolean {
    return this.recipients.size === 0;
  }

  /** The oldest that is due; it counts as on its way until `settle`. */
  take({ monotonicMs }: Now): WaitingMail | undefined {
    if (monotonicMs < this.pausedUntilMs) return undefined;
    let oldest: Recipient | undefined;
    for (const recipient of this.recipients.values()) {
      if (recipient.isBusy || recipient.dueAtMs > monotonicMs) continue;
      if (!oldest || isBefore(recipient, oldest)) oldest = recipient;
    }
    if (oldest) oldest.isBusy = true;
    return oldest?.mails[0];
  }

  /** When `take` may have something, in milliseconds from now, if nothing is added or settled. */
  dueInMs({ monotonicMs }: Now): number {
    const free = [...this.recipients.values()].filter(({ isBusy }) => !isBusy);
    const dueAtMs = Math.min(...free.map((recipient) => recipient.dueAtMs));
    return Math.max(0, Math.max(dueAtMs, this.pausedUntilMs) - monotonicMs);
  }

  settle(mail: WaitingMail, outcome: SendOutcome["kind"], now: Now): Verdict {
    switch (outcome) {
      case "taken":
        this.pauses = 0;
        this.takenAtMs = now.monotonicMs;
        return this.remove(mail, "done");
      case "never":
        this.pauses = 0;
        return this.remove(mail, "givenUp");
      case "later":
        this.pauses = 0;
        return this.retry(mail, now);
      case "away":
        this.pause(now);
        return this.hostFailed(mail, now);
    }
  }

  /**
   * Nobody's fault, so it is no try of this mail; but it goes to the end of the line, and when the host has
   * taken other mail since it failed over this one, it fails over this one.
   */
  private hostFailed(mail: WaitingMail, now: Now): Verdict {
    const recipient = this.recipientOf(mail);
    if (!recipient) return "waits";
    const isTheMail = this.takenAtMs > recipient.hostFailedAtMs && recipient.hostFailedAtMs > never;
    recipient.hostFailedAtMs = now.monotonicMs;
    this.turn += 1;
    recipient.turn = this.turn;
    if (isTheMail) return this.retry(mail, now);
    recipient.isBusy = false;
    return "waits";
  }

  private pause({ monotonicMs }: Now): void {
    // Those that were on their way together fail together.
    if (monotonicMs < this.pausedUntilMs) return;
    const { firstRetryMs } = this.times;
    this.pausedUntilMs = monotonicMs + Math.min(firstPauseMs * 2 ** this.pauses, firstRetryMs);
    this.pauses = Math.min(this.pauses + 1, 20);
  }

  private retry(mail: WaitingMail, { monotonicMs, wallMs }: Now): Verdict {
    const { firstRetryMs, retryMsMax, givenUpAfterMs } = this.times;
    if (wallMs - mail.receivedAtMs > givenUpAfterMs) return this.remove(mail, "givenUp");
    const recipient = this.recipientOf(mail);
    if (!recipient) return "waits";
    recipient.dueAtMs = monotonicMs + Math.min(firstRetryMs * 2 ** recipient.tries, retryMsMax);
    recipient.tries = Math.min(recipient.tries + 1, 30);
    recipient.isBusy = false;
    return "waits";
  }

  private remove(mail: WaitingMail, verdict: Verdict): Verdict {
    const recipient = this.recipientOf(mail);
    if (!recipient) return verdict;
    recipient.mails.shift();
    const { mails } = recipient;
    Object.assign(recipient, fresh(this.turn), { mails });
    if (mails.length === 0) this.recipients.delete(mail.to.toLowerCase());
    return verdict;
  }

  /** Undefined when the mail is not waiting any more. */
  private recipientOf(mail: WaitingMail): Recipient | undefined {
    const recipient = this.recipients.get(mail.to.toLowerCase());
    return recipient?.mails[0]?.id === mail.id ? recipient : undefined;
  }
}

const fresh = (turn: number): Recipient => ({
  mails: [],
  isBusy: false,
  tries: 0,
  dueAtMs: never,
  turn,
  hostFailedAtMs: never,
});

/** Ids are in order of arrival. */
function isBefore(a: Recipient, b: Recipient): boolean {
  if (a.turn !== b.turn) return a.turn < b.turn;
  return (a.mails[0]?.id ?? "") < (b.mails[0]?.id ?? "");
}
