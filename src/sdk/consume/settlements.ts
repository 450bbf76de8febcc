/**
 * Settlements of all queues of a program: what comes together goes to the ring in one mail, each with an outcome of
 * its own. What is not done that way is asked for by itself, which also tells why.
 */
import { ebmBounds, type Ask, type Settled, type Settlement } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { delay } from "../waiting.js";

export interface SettlementMailsOptions {
  readonly ask: (asked: Ask<"settle">) => Promise<Settled>;
  readonly nowMs: () => number;
  readonly closing: AbortSignal;
}

export interface Urgency {
  readonly isAgain: boolean;
  readonly canWait: boolean;
}

interface Waiting {
  readonly settlement: Settlement;
  readonly octets: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Of the question as JSON: the ring takes 64 KiB of mail from who has not authenticated. */
const octetsMax = 40_000;
/**
 * Queues that were looked into at the same time are settled at about the same time. Where somebody waits for it; else for
 * as long as a mail takes, within bounds: longer under load, when it is of use.
 */
const gatherMs = { waitedFor: 5, min: 50, max: 250 } as const;
/** What comes while a mail is on its way goes with the next one; so long, whatever becomes of that mail. */
const onItsWayMs = 1_000;
/** A member that knows only the form with one queue may be a newer one by then. */
const singlyMs = 60_000;

export class SettlementMails {
  readonly #options: SettlementMailsOptions;
  readonly #waiting: Waiting[] = [];
  #isFlushing = false;
  #singlyUntilMs = 0;
  /** The last mail, until its answer. */
  #tookMs = 0;
  #hurry = new AbortController();

  constructor(options: SettlementMailsOptions) {
    this.#options = options;
    options.closing.addEventListener("abort", () => this.hurry(), { once: true });
  }

  /** Somebody waits for what was put here before. */
  hurry(): void {
    this.#hurry.abort();
  }

  /**
   * Resolves when that queue's is done, durably. `isAgain`: it has not gone well before, so that it goes in a mail of
   * its own, and keeps nobody waiting. `canWait`: nobody waits for it.
   * @throws RingpostError of this one, or of the mail as a whole
   */
  async settle(settlement: Settlement, { isAgain, canWait }: Urgency): Promise<void> {
    const { nowMs } = this.#options;
    if (isAgain || nowMs() < this.#singlyUntilMs) return await this.#alone(settlement);
    if (!canWait) this.hurry();
    const octets = JSON.stringify(settlement).length;
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ settlement, octets, resolve, reject });
      if (!this.#isFlushing) void this.#flush();
    });
  }

  async #alone(settlement: Settlement): Promise<void> {
    await this.#options.ask(settlement);
  }

  async #flush(): Promise<void> {
    this.#isFlushing = true;
    while (this.#waiting.length > 0) {
      await this.#gather();
      await this.#untilSent(this.#send(this.#takeMail()));
    }
    // In the same turn: what comes later begins another.
    this.#isFlushing = false;
  }

  async #gather(): Promise<void> {
    const { closing } = this.#options;
    const longest = Math.min(Math.max(this.#tookMs, gatherMs.min), gatherMs.max);
    const { signal } = this.#hurry;
    await delay(longest, signal);
    if (signal.aborted) await delay(gatherMs.waitedFor, closing);
    this.#hurry = new AbortController();
  }

  async #untilSent(sending: Promise<void>): Promise<void> {
    const { nowMs } = this.#options;
    const beganMs = nowMs();
    const sent = new AbortController();
    const { signal } = sent;
    await Promise.race([sending, delay(onItsWayMs, signal)]);
    sent.abort();
    this.#tookMs = nowMs() - beganMs;
  }

  #takeMail(): Waiting[] {
    let octets = 0;
    let count = 0;
    for (const one of this.#waiting) {
      octets += one.octets;
      if (count === ebmBounds.settlementsMax || (count > 0 && octets > octetsMax)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  /** Never rejects. */
  async #send(mail: readonly Waiting[]): Promise<void> {
    const [first] = mail;
    if (first !== undefined && mail.length === 1) return await this.#sendAlone(first);
    try {
      const settlements = mail.map(({ settlement }) => settlement);
      const { done } = await this.#options.ask({ settlements });
      mail.forEach((one, index) => {
        if (done === undefined || done[index] === true) one.resolve();
        else void this.#sendAlone(one);
      });
    } catch (error) {
      if (!isMalformed(error)) return mail.forEach(({ reject }) => reject(error));
      // Nothing of it was done: by a member of an older version, or since one is at fault.
      this.#singlyUntilMs = this.#options.nowMs() + singlyMs;
      await Promise.all(mail.map((one) => this.#sendAlone(one)));
    }
  }

  async #sendAlone({ settlement, resolve, reject }: Waiting): Promise<void> {
    await this.#alone(settlement).then(resolve, reject);
  }
}

const isMalformed = (error: unknown): boolean =>
  error instanceof RingpostError && error.code === "malformed";
