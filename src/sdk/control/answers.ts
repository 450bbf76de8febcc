/** Answers of the ring: fetched from the maildrop that they come to, matched by the question's id. */
import type { Pop3Client } from "../../client/pop3-client.js";
import {
  type ConfigurationAnswer,
  type ConfigurationFrame,
  findIndex,
  openPacket,
  type PacketHeader,
  readMail,
} from "../../ebm/index.js";
import { headerField } from "../header-field.js";
import { mayBeBounce, readBounce } from "../link/bounces.js";
import { delay } from "../waiting.js";

export interface AnswersOptions {
  /** Opens the maildrop that answers come to. */
  readonly open: (use: (client: Pop3Client) => Promise<void>) => Promise<void>;
  /** The maildrop holds other mail too: only what has an index in its Subject is looked at. */
  readonly isShared: boolean;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
}

export interface RingAnswer {
  readonly header: PacketHeader;
  readonly answer: ConfigurationAnswer;
}

/** The question came back. */
export class QuestionBounced extends Error {
  override readonly name = "QuestionBounced";
  constructor(readonly diagnostic: string) {
    super(`the mail to the ring was refused: ${diagnostic}`);
  }
}

interface Waiting {
  readonly messageId: string;
  readonly resolve: (answer: RingAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** An answer to nobody of this process may be another's of the same user: left for so long. */
const strangeMs = 600_000;
const againMs = { first: 20, max: 1_000 } as const;
const seenMax = 10_000;

export class Answers {
  readonly #options: AnswersOptions;
  readonly #waiting = new Map<string, Waiting>();
  /** Unique-ids that are not for us, and since when. */
  readonly #strange = new Map<string, number>();
  #fetching: Promise<void> | undefined;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  /**
   * Looks for the answer until it is there or `signal` is aborted.
   * @throws QuestionBounced when the mail `messageId`, without angle brackets, is returned
   */
  async wait(id: string, messageId: string, signal: AbortSignal): Promise<RingAnswer> {
    const answer = new Promise<RingAnswer>((resolve, reject) => {
      this.#waiting.set(id, { messageId, resolve, reject });
    });
    answer.catch(() => undefined);
    const forget = (): void => void this.#waiting.delete(id);
    signal.addEventListener("abort", forget, { once: true });
    try {
      this.#fetching ??= this.#fetchWhileWaiting().finally(() => {
        this.#fetching = undefined;
      });
      return await answer;
    } finally {
      signal.removeEventListener("abort", forget);
      forget();
    }
  }

  /** True when somebody waited for one of these. */
  take(header: PacketHeader, frames: readonly ConfigurationFrame[]): boolean {
    let isOurs = false;
    for (const { id, body } of frames) {
      const waiting = this.#waiting.get(id);
      if (waiting === undefined || !("ok" in body)) continue;
      isOurs = true;
      waiting.resolve({ header, answer: body });
      this.#waiting.delete(id);
    }
    return isOurs;
  }

  async #fetchWhileWaiting(): Promise<void> {
    const { open, signal } = this.#options;
    let waitMs: number = againMs.first;
    while (this.#waiting.size > 0 && !signal.aborted) {
      const before = this.#waiting.size;
      try {
        await open((client) => this.#collect(client));
      } catch (error) {
        this.#failAll(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      waitMs = this.#waiting.size < before ? againMs.first : Math.min(2 * waitMs, againMs.max);
      if (this.#waiting.size > 0) await delay(waitMs, signal);
    }
  }

  #failAll(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  async #collect(client: Pop3Client): Promise<void> {
    const uids = await client.uidl();
    const numbers = uids.map((_, index) => index + 1);
    const fresh = numbers.filter((number) => !this.#strange.has(uids[number - 1] ?? ""));
    const wanted = this.#options.isShared ? await this.#ours(client, fresh, uids) : fresh;
    const mails = await client.retrMany(wanted);
    const done = wanted.filter((number, index) => {
      if (this.#takeMail(mails[index] ?? Buffer.alloc(0))) return true;
      this.#remember(uids[number - 1] ?? "");
      return false;
    });
    await client.deleMany([...done, ...(this.#options.isShared ? [] : this.#old(uids))]);
  }

  async #ours(client: Pop3Client, numbers: readonly number[], uids: readonly string[]) {
    const headers = await client.topMany(numbers);
    return numbers.filter((number, index) => {
      const header = headers[index] ?? Buffer.alloc(0);
      if (findIndex(headerField(header, "subject"))?.type === "configuration") return true;
      if (mayBeBounce(header)) return true;
      this.#remember(uids[number - 1] ?? "");
      return false;
    });
  }

  #takeMail(mail: Buffer): boolean {
    // It may have the question's packet in it.
    if (mayBeBounce(mail)) return this.#takeBounce(mail);
    try {
      const { packet } = readMail(mail);
      if (packet === undefined) return false;
      const { header, frames } = openPacket(packet, this.#options.nowMs());
      return this.take(
        header,
        frames.filter((frame) => frame.kind === "configuration"),
      );
    } catch {
      return false;
    }
  }

  #takeBounce(mail: Buffer): boolean {
    const bounce = readBounce(mail);
    if (bounce === undefined) return false;
    for (const [id, { messageId, reject }] of this.#waiting) {
      if (!bounce.messageIds.includes(messageId)) continue;
      if (bounce.kind === "failed") {
        reject(new QuestionBounced(bounce.diagnostic || bounce.status));
        this.#waiting.delete(id);
      }
      return true;
    }
    return false;
  }

  #remember(uid: string): void {
    if (this.#strange.size >= seenMax) this.#strange.clear();
    this.#strange.set(uid, this.#options.nowMs());
  }

  /** Numbers of what nobody has fetched for long. */
  #old(uids: readonly string[]): number[] {
    const before = this.#options.nowMs() - strangeMs;
    return uids.flatMap((uid, index) => {
      const since = this.#strange.get(uid);
      return since !== undefined && since < before ? [index + 1] : [];
    });
  }
}
