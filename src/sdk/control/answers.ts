/** Answers of the ring: fetched from the maildrop that they come to, matched by the question's id. */
import type { Pop3Client } from "../../client/pop3-client.js";
import {
  type ConfigurationAnswer,
  type ConfigurationFrame,
  EbmFormatError,
  findIndex,
  openPacket,
  type PacketHeader,
  readMail,
} from "../../ebm/index.js";
import { headerField } from "../header-field.js";
import { mayBeBounce, readBounce } from "../link/bounces.js";
import { delay, reasonOf } from "../waiting.js";

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

interface Listed {
  readonly uid: string;
  readonly number: number;
}

interface Waiting {
  readonly messageId: string;
  readonly resolve: (answer: RingAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** An answer to nobody of this process may be another's of the same user: left for so long. */
const strangeMs = 600_000;
/** Mails that are fetched in one go. What came whole counts, so that each session gets further than one that broke off. */
const batchMax = 16;
const againMs = { first: 20, max: 1_000 } as const;
const seenMax = 10_000;

export class Answers {
  readonly #options: AnswersOptions;
  readonly #waiting = new Map<string, Waiting>();
  /** By unique-id: what nobody waited for, since when, and the questions that it answers. */
  readonly #strange = new Map<
    string,
    { readonly sinceMs: number; readonly ids: readonly string[] }
  >();
  /** Unique-ids of what is of no use any more, and still there, since a session that breaks off deletes nothing. */
  readonly #done = new Set<string>();
  /** Mails that were looked at. */
  #looks = 0;
  #isFetching = false;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  /**
   * Looks for the answer until it is there or `signal` is aborted.
   * @throws QuestionBounced when the mail `messageId`, without angle brackets, is returned
   */
  async wait(id: string, messageId: string, signal: AbortSignal): Promise<RingAnswer> {
    // What was given up while its question was on its way would be looked for until the client is closed.
    if (signal.aborted) throw reasonOf(signal);
    const answer = new Promise<RingAnswer>((resolve, reject) => {
      this.#waiting.set(id, { messageId, resolve, reject });
    });
    answer.catch(() => undefined);
    // It may have been seen before its question's own reply.
    for (const [uid, { ids }] of this.#strange) if (ids.includes(id)) this.#strange.delete(uid);
    const forget = (): void => void this.#waiting.delete(id);
    signal.addEventListener("abort", forget, { once: true });
    try {
      this.#fetch();
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

  #fetch(): void {
    if (this.#isFetching) return;
    this.#isFetching = true;
    void this.#fetchWhileWaiting().finally(() => {
      this.#isFetching = false;
      if (this.#waiting.size > 0 && !this.#options.signal.aborted) this.#fetch();
    });
  }

  async #fetchWhileWaiting(): Promise<void> {
    const { open, signal } = this.#options;
    let waitMs: number = againMs.first;
    while (this.#waiting.size > 0 && !signal.aborted) {
      const before = this.#waiting.size;
      const looksBefore = this.#looks;
      try {
        await open((client) => this.#collect(client));
      } catch (error) {
        if (this.#looks === looksBefore) {
          this.#failAll(error instanceof Error ? error : new Error(String(error)));
          return;
        }
      }
      waitMs = this.#waiting.size < before ? againMs.first : Math.min(2 * waitMs, againMs.max);
      if (this.#waiting.size > 0) await delay(waitMs, signal);
    }
  }

  #failAll(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  /** The newest first, as long as somebody waits. Then some of the oldest, so that leftovers do not stay for ever. */
  async #collect(client: Pop3Client): Promise<void> {
    const uids = await client.uidl();
    this.#forgetGone(new Set(uids));
    const listed = uids.map((uid, index) => ({ uid, number: index + 1 }));
    const over = listed.filter(({ uid }) => this.#done.has(uid) || this.#isLeftover(uid));
    await client.deleMany(over.map(({ number }) => number));
    const fresh = listed
      .filter(({ uid }) => !this.#done.has(uid) && !this.#strange.has(uid))
      .reverse();
    while (fresh.length > 0 && this.#waiting.size > 0) {
      await this.#look(client, fresh.splice(0, batchMax));
    }
    await this.#look(client, fresh.splice(-batchMax));
  }

  async #look(client: Pop3Client, listed: readonly Listed[]): Promise<void> {
    const wanted = this.#options.isShared ? await this.#ours(client, listed) : listed;
    const done: number[] = [];
    let at = 0;
    for await (const mail of client.retrEach(wanted.map(({ number }) => number))) {
      const { uid, number } = wanted[at++] ?? { uid: "", number: 0 };
      const { isDone, ids } = this.#takeMail(mail);
      if (!isDone) this.#remember(uid, ids);
      else if (this.#done.add(uid)) done.push(number);
      this.#looks += 1;
    }
    await client.deleMany(done);
  }

  async #ours(client: Pop3Client, listed: readonly Listed[]): Promise<readonly Listed[]> {
    const headers = await client.topMany(listed.map(({ number }) => number));
    return listed.filter(({ uid }, index) => {
      const header = headers[index] ?? Buffer.alloc(0);
      if (findIndex(headerField(header, "subject"))?.type === "configuration") return true;
      if (mayBeBounce(header)) return true;
      this.#remember(uid);
      return false;
    });
  }

  /** Done: to be deleted. */
  #takeMail(mail: Buffer): { readonly isDone: boolean; readonly ids?: readonly string[] } {
    // It may have the question's packet in it.
    if (mayBeBounce(mail)) return { isDone: this.#takeBounce(mail) };
    try {
      const { packet } = readMail(mail);
      if (packet === undefined) return { isDone: false };
      const { header, frames } = openPacket(packet, this.#options.nowMs());
      const answers = frames.filter((frame) => frame.kind === "configuration");
      return { isDone: this.take(header, answers), ids: answers.map(({ id }) => id) };
    } catch (error) {
      return { isDone: error instanceof EbmFormatError && error.reason === "expired" };
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

  #remember(uid: string, ids: readonly string[] = []): void {
    if (this.#strange.size >= seenMax) this.#strange.clear();
    this.#strange.set(uid, { sinceMs: this.#options.nowMs(), ids });
  }

  /** Nobody has fetched it for long. What people get is theirs. */
  #isLeftover(uid: string): boolean {
    const strange = this.#options.isShared ? undefined : this.#strange.get(uid);
    return strange !== undefined && strange.sinceMs < this.#options.nowMs() - strangeMs;
  }

  #forgetGone(there: ReadonlySet<string>): void {
    for (const uid of this.#done) if (!there.has(uid)) this.#done.delete(uid);
    for (const uid of this.#strange.keys()) if (!there.has(uid)) this.#strange.delete(uid);
  }
}
