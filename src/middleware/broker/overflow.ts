/**
 * Queues that drop their oldest messages when they are full, so that a consumer that is gone stops
 * nobody else. Whoever puts something into one looks a moment later, once for all that came meanwhile,
 * whether it holds more than it may, and then tells its leader.
 */
import type { Amount } from "../../mailbox/quotas.js";
import { queueMailbox } from "../../mailbox/folders.js";
import type { Clock } from "../../replication/ports.js";
import type { MailboxName } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import type { Definitions, QueueFields } from "./definitions.js";
import { brokerLimits } from "./limits.js";

interface OverflowOptions {
  readonly queues: Pick<Definitions<QueueFields>, "recall">;
  /** What a mailbox holds; undefined when too few members of its group answer. */
  readonly usageOf: (mailbox: MailboxName) => Promise<Amount | undefined>;
  /** Has the leader drop what is too much; undefined: that can't be done now. */
  readonly trim: (queue: string) => Promise<boolean>;
  /** The ring's first domain. */
  readonly domain: string;
  readonly clock: Clock;
  readonly log: Log;
}

export const dropsOldest = ({ overflow }: Pick<QueueFields, "overflow">): boolean =>
  overflow === "drop-oldest";

export class Overflow {
  /** Queues that are about to be looked at; true: something came while they were. */
  private readonly looking = new Map<string, boolean>();
  private readonly stopping = new AbortController();

  constructor(private readonly options: OverflowOptions) {}

  stop(): void {
    this.stopping.abort();
  }

  /** Something was put into the queue. */
  note(queue: string): void {
    if (this.looking.has(queue)) {
      this.looking.set(queue, true);
      return;
    }
    this.looking.set(queue, false);
    void this.look(queue);
  }

  private async look(queue: string): Promise<void> {
    const { clock, log } = this.options;
    const { signal } = this.stopping;
    for (let again = true; again && !signal.aborted; again = this.looking.get(queue) === true) {
      this.looking.set(queue, false);
      try {
        const isBounded = await this.isBounded(queue);
        if (!isBounded) break;
        await clock.sleep(brokerLimits.overflowLookMs, signal);
        await this.lookNow(queue);
      } catch (error) {
        if (!signal.aborted)
          log.warn({ queue, error: String(error) }, "a full queue is not trimmed");
      }
    }
    this.looking.delete(queue);
  }

  private async isBounded(queue: string): Promise<boolean> {
    const found = await this.options.queues.recall(queue);
    return found.kind === "undecided" || (found.kind === "found" && dropsOldest(found.value));
  }

  private async lookNow(queue: string): Promise<void> {
    const { queues, usageOf, trim, domain } = this.options;
    const found = await queues.recall(queue);
    if (found.kind !== "found" || !dropsOldest(found.value)) return;
    const { messagesMax, octetsMax } = found.value;
    const used = await usageOf(queueMailbox(queue, domain));
    // Unknown, or its leader did not: what comes next makes somebody look again, and what is twice
    // too much is refused.
    if (used && (used.messages > messagesMax || used.octets > octetsMax)) await trim(queue);
  }
}
