/** What an operator needs to find out why somebody waits: replies that take long, and those that say "not now". */
import type { RingPart, RingReply } from "../../mailbox/ports.js";
import type { Clock } from "../../replication/ports.js";
import type { Log } from "../../shared/log.js";
import { lineLimits } from "./limits.js";
import { Strangers } from "./strangers.js";

interface WatchOptions {
  readonly clock: Pick<Clock, "monotonicMs" | "sleep">;
  readonly log: Log;
}

/** A mail to the ring that has no reply yet; what is known of it, as soon as it is. */
export interface Watched {
  readonly part: RingPart;
  readonly client: string;
  /** As it says; it may not be proven. */
  user?: string;
  device?: string;
  /** Its number. */
  packet?: number;
  operation?: string;
}

const slowMs = 10_000;
const lookEveryMs = 5_000;
/** Of a reply, what says which it is; streams are named by programs. */
const wordOf = ({ text }: RingReply): string => /^ebm=[a-z]+/i.exec(text)?.[0] ?? "";
const isNotNow = (reply: RingReply): boolean =>
  ["ebm=early", "ebm=throttled"].includes(wordOf(reply));

export class Watch {
  private readonly running = new Map<Watched, { readonly sinceMs: number; isTold: boolean }>();
  private rest: AbortController | undefined;
  /** Lines of either kind, by where clients are: who is sent away hides nobody who waits. */
  private readonly late: Strangers;
  private readonly notNow: Strangers;

  constructor(private readonly options: WatchOptions) {
    this.late = new Strangers(lineLimits, options.clock);
    this.notNow = new Strangers(lineLimits, options.clock);
  }

  begin(watched: Watched): void {
    this.running.set(watched, { sinceMs: this.options.clock.monotonicMs(), isTold: false });
    if (!this.rest) void this.look();
  }

  end(watched: Watched, reply: RingReply): void {
    const begun = this.running.get(watched);
    this.running.delete(watched);
    if (this.running.size === 0) this.rest?.abort();
    if (!begun) return;
    const tookMs = Math.round(this.options.clock.monotonicMs() - begun.sinceMs);
    const fields = { ...watched, reply: wordOf(reply), tookMs };
    const { log } = this.options;
    // Of a few a minute; the others are the like.
    if (tookMs >= slowMs) {
      if (this.late.take(watched.client)) log.info(fields, "a mail to the ring was answered late");
    } else if (isNotNow(reply) && this.notNow.take(watched.client)) {
      log.info(fields, "a mail to the ring is to come again");
    }
  }

  /** One that is never answered is told of, too. Ends when nothing is under way. */
  private async look(): Promise<void> {
    const { clock, log } = this.options;
    const rest = new AbortController();
    this.rest = rest;
    while (this.running.size > 0) {
      await clock.sleep(lookEveryMs, rest.signal).catch(() => undefined);
      if (rest.signal.aborted) break;
      const nowMs = clock.monotonicMs();
      for (const [watched, begun] of this.running) {
        const waitedMs = Math.round(nowMs - begun.sinceMs);
        if (begun.isTold || waitedMs < slowMs) continue;
        begun.isTold = true;
        if (!this.late.take(watched.client)) continue;
        log.info({ ...watched, waitedMs }, "a mail to the ring has no answer yet");
      }
    }
    this.rest = undefined;
    if (this.running.size > 0) void this.look();
  }
}
