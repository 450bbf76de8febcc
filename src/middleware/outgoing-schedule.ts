/** Which mail that leaves the ring is to be sent next. Pure: time is told by the caller. */
import type { MessageId } from "../shared/ids.js";
import type { SendOutcome } from "./smart-host.js";

export interface WaitingMail {
  readonly id: MessageId;
  readonly to: string;
  /** "" for the null sender. */
  readonly from: string;
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

/** From one sender to one recipient. */
interface Lane {
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
 * One mail of a sender to a recipient at a time, in the order in which they came: the next is not sent before
 * the one in front of it is taken or given up. When the smart host itself fails, all wait.
 */
export class OutgoingSchedule {
  private lanes = new Map<string, Lane>();
  private pauses = 0;
  private pausedUntilMs = never;
  private takenAtMs = never;
  /** Who comes now lines up behind those that were sent to the end of the line. */
  private turn = 0;

  constructor(private readonly times: OutgoingTimes = outgoingTimes) {}

  /** All that waits, in order of arrival. What is on its way is known. */
  update(waiting: readonly WaitingMail[]): void {
    const before = this.lanes;
    const waitingNow = new Set(waiting.map(({ id }) => id));
    this.lanes = new Map();
    for (const mail of waiting) {
      const key = laneKey(mail);
      let lane = this.lanes.get(key);
      if (!lane) {
        const known = before.get(key);
        const [head] = known?.mails ?? [];
        // What is on its way stays in front of one that was taken before it and is seen only now: else it would
        // be sent once more while it is.
        const isKept = known?.isBusy === true && head !== undefined && waitingNow.has(head.id);
        const isSame = isKept || head?.id === mail.id;
        lane = isSame && known ? { ...known, mails: isKept ? [head] : [] } : fresh(this.turn);
        this.lanes.set(key, lane);
      }
      if (lane.mails[0]?.id !== mail.id) lane.mails.push(mail);
    }
  }

  get isEmpty(): boolean {
    return this.lanes.size === 0;
  }

  /** The oldest that is due; it counts as on its way until `settle`. */
  take({ monotonicMs }: Now): WaitingMail | undefined {
    if (monotonicMs < this.pausedUntilMs) return undefined;
    let oldest: Lane | undefined;
    for (const lane of this.lanes.values()) {
      if (lane.isBusy || lane.dueAtMs > monotonicMs) continue;
      if (!oldest || isBefore(lane, oldest)) oldest = lane;
    }
    if (oldest) oldest.isBusy = true;
    return oldest?.mails[0];
  }

  /** When `take` may have something, in milliseconds from now, if nothing is added or settled. */
  dueInMs({ monotonicMs }: Now): number {
    const free = [...this.lanes.values()].filter(({ isBusy }) => !isBusy);
    const dueAtMs = Math.min(...free.map((lane) => lane.dueAtMs));
    return Math.max(0, Math.max(dueAtMs, this.pausedUntilMs) - monotonicMs);
  }

  /** Whether `settle` will give it up, so that its sender is to be told before. */
  isLast(mail: WaitingMail, outcome: SendOutcome["kind"], now: Now): boolean {
    if (outcome === "never") return true;
    const lane = this.laneOf(mail);
    const counts = outcome === "later" || (outcome === "away" && lane && this.isPoison(lane));
    return counts === true && this.isTooOld(mail, now);
  }

  /** `untold`: it was to be given up, and its sender could not be told. */
  settle(mail: WaitingMail, outcome: SendOutcome["kind"] | "untold", now: Now): Verdict {
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
      case "untold":
        return this.again(mail, now);
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
    const lane = this.laneOf(mail);
    if (!lane) return "waits";
    const isTheMail = this.isPoison(lane);
    lane.hostFailedAtMs = now.monotonicMs;
    this.turn += 1;
    lane.turn = this.turn;
    if (isTheMail) return this.retry(mail, now);
    lane.isBusy = false;
    return "waits";
  }

  private pause({ monotonicMs }: Now): void {
    // Those that were on their way together fail together.
    if (monotonicMs < this.pausedUntilMs) return;
    const { firstRetryMs } = this.times;
    this.pausedUntilMs = monotonicMs + Math.min(firstPauseMs * 2 ** this.pauses, firstRetryMs);
    this.pauses = Math.min(this.pauses + 1, 20);
  }

  private isPoison({ hostFailedAtMs }: Lane): boolean {
    return this.takenAtMs > hostFailedAtMs && hostFailedAtMs > never;
  }

  private isTooOld({ receivedAtMs }: WaitingMail, { wallMs }: Now): boolean {
    return wallMs - receivedAtMs > this.times.givenUpAfterMs;
  }

  private retry(mail: WaitingMail, now: Now): Verdict {
    return this.isTooOld(mail, now) ? this.remove(mail, "givenUp") : this.again(mail, now);
  }

  private again(mail: WaitingMail, { monotonicMs }: Now): Verdict {
    const { firstRetryMs, retryMsMax } = this.times;
    const lane = this.laneOf(mail);
    if (!lane) return "waits";
    lane.dueAtMs = monotonicMs + Math.min(firstRetryMs * 2 ** lane.tries, retryMsMax);
    lane.tries = Math.min(lane.tries + 1, 30);
    lane.isBusy = false;
    return "waits";
  }

  private remove(mail: WaitingMail, verdict: Verdict): Verdict {
    const lane = this.laneOf(mail);
    if (!lane) return verdict;
    lane.mails.shift();
    const { mails } = lane;
    Object.assign(lane, fresh(this.turn), { mails });
    if (mails.length === 0) this.lanes.delete(laneKey(mail));
    return verdict;
  }

  /** Undefined when the mail is not waiting any more. */
  private laneOf(mail: WaitingMail): Lane | undefined {
    const lane = this.lanes.get(laneKey(mail));
    return lane?.mails[0]?.id === mail.id ? lane : undefined;
  }
}

const laneKey = ({ from, to }: WaitingMail): string => `${from} ${to}`.toLowerCase();

const fresh = (turn: number): Lane => ({
  mails: [],
  isBusy: false,
  tries: 0,
  dueAtMs: never,
  turn,
  hostFailedAtMs: never,
});

/** Ids are in order of arrival. */
function isBefore(a: Lane, b: Lane): boolean {
  if (a.turn !== b.turn) return a.turn < b.turn;
  return (a.mails[0]?.id ?? "") < (b.mails[0]?.id ?? "");
}
