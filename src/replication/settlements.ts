import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type { Groups } from "./group.js";
import type { Peers } from "./peers.js";
import type { Clock } from "./ports.js";
import type { Member } from "./roster.js";

const gatherMs = 20;
const attemptsMax = 20;
const retryMs = 200;
const repeatingMax = 1_000;

interface Notice {
  readonly member: Member;
  readonly confirmed: MessageId[];
  readonly doubtful: MessageId[];
}

/** Tells the members what became of acknowledgements (see `Retries`), many at a time. */
export class Settlements {
  private waiting = new Map<MemberUuid, Notice>();
  private timer: Promise<void> | undefined;
  private repeating = 0;
  private stopped = false;

  constructor(
    private readonly peers: Peers,
    private readonly groups: Groups,
    private readonly clock: Clock,
  ) {}

  settle(mailbox: MailboxName, id: MessageId, outcome: "confirmed" | "doubtful"): void {
    // Of a doubt, those who keep a hint have to know as well.
    const concerned =
      outcome === "doubtful" ? this.groups.members : this.groups.placementOf(mailbox).everyone;
    for (const member of concerned) {
      const notice = this.waiting.get(member.uuid) ?? { member, confirmed: [], doubtful: [] };
      notice[outcome].push(id);
      this.waiting.set(member.uuid, notice);
    }
    // A doubt is told at once: the client's next try may be on its way already.
    if (outcome === "doubtful") this.send();
    else this.timer ??= this.sendLater();
  }

  stop(): void {
    this.stopped = true;
  }

  private async sendLater(): Promise<void> {
    await this.clock.sleep(gatherMs);
    this.timer = undefined;
    this.send();
  }

  private send(): void {
    const notices = this.waiting;
    this.waiting = new Map();
    for (const notice of notices.values()) void this.tell(notice);
  }

  /**
   * A member that misses a confirmation takes a later identical mail for a retry; one that misses
   * a doubt takes the retry for a mail of its own. So both are told again.
   */
  private async tell({ member, confirmed, doubtful }: Notice): Promise<void> {
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      try {
        await this.peers.call(member, "settled", { confirmed, doubtful });
        return;
      } catch {
        if (this.repeating >= repeatingMax) return;
        this.repeating += 1;
        await this.clock.sleep(retryMs);
        this.repeating -= 1;
        if (this.stopped) return;
      }
    }
  }
}
