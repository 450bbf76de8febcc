import type { Maildrop, MessageBody } from "./maildrop.js";
import type { Waits } from "./waits.js";

/** Largest piece that is handed on at once: what a slow reader costs in memory. */
const PIECE_OCTETS = 64 * 1024;

/**
 * One message on its way out. Exactly the announced octets, or it has failed: a cut body must not
 * look like a whole one.
 */
export class BodyReader {
  readonly octets: number;
  readonly #waits: Waits;
  readonly #deadlineMs: number;
  readonly #abort = new AbortController();
  #iterator: AsyncIterator<Buffer> | undefined;
  #rest: Buffer | undefined;
  #taken = 0;
  /** Why it failed, for the log. */
  error: unknown;

  constructor(octets: number, waits: Waits, deadlineMs: number) {
    this.octets = octets;
    this.#waits = waits;
    this.#deadlineMs = deadlineMs;
  }

  /** Gets the first octets. False: nothing can be sent. */
  async open(maildrop: Maildrop, index: number): Promise<boolean> {
    try {
      const answer = maildrop.retrieve(index, this.#abort.signal);
      const body = "then" in answer ? await this.#settled(answer, discardBody) : answer;
      if (body === undefined) return false;
      if (Buffer.isBuffer(body)) {
        this.#rest = body;
        return this.#count(body) && this.#ended();
      }
      this.#iterator = body[Symbol.asyncIterator]();
      return await this.#more();
    } catch (error) {
      this.error = error;
      return false;
    }
  }

  /** The whole message, when it came in one piece and none was taken yet. */
  get whole(): Buffer | undefined {
    return this.#iterator === undefined ? this.#rest : undefined;
  }

  /** The next piece; undefined at the end; false when reading failed. */
  async next(): Promise<Buffer | undefined | false> {
    if (this.#rest === undefined && !(await this.#more())) return false;
    const rest = this.#rest;
    if (rest === undefined) return undefined;
    this.#rest = rest.length > PIECE_OCTETS ? rest.subarray(PIECE_OCTETS) : undefined;
    return rest.length > PIECE_OCTETS ? rest.subarray(0, PIECE_OCTETS) : rest;
  }

  /** Ends the reading, finished or not. */
  close(): void {
    if (this.#iterator === undefined) return;
    this.#abort.abort();
    discardIterator(this.#iterator);
    this.#iterator = undefined;
  }

  /** Ends a reading that failed or that nobody waits for. */
  abandon(): void {
    this.#abort.abort();
    this.close();
  }

  /** Fills `#rest`, or leaves it empty at the end. */
  async #more(): Promise<boolean> {
    if (this.#iterator === undefined) return true;
    for (;;) {
      const step = await this.#settled(this.#iterator.next());
      if (step === undefined) return false;
      if (step.done === true) {
        this.#iterator = undefined;
        return this.#ended();
      }
      if (!this.#count(step.value)) return false;
      if (step.value.length === 0) continue;
      this.#rest = step.value;
      return true;
    }
  }

  #count(piece: Buffer): boolean {
    this.#taken += piece.length;
    return this.#taken <= this.octets || this.#wrongLength();
  }

  #ended(): boolean {
    return this.#taken === this.octets || this.#wrongLength();
  }

  #wrongLength(): false {
    this.error = new Error(`body of ${this.#taken} octets, announced ${this.octets}`);
    return false;
  }

  async #settled<T>(work: Promise<T>, discard?: (value: T) => void): Promise<T | undefined> {
    const waited = await this.#waits.work(work, this.#deadlineMs, discard);
    if (waited.kind === "done") return waited.value;
    this.error = waited.kind === "failed" ? waited.error : new Error(waited.kind);
    return undefined;
  }
}

function discardBody(body: MessageBody): void {
  if (!Buffer.isBuffer(body)) discardIterator(body[Symbol.asyncIterator]());
}

/** Lets the application close its file. Nobody waits for that, and nothing depends on it. */
function discardIterator(iterator: AsyncIterator<Buffer>): void {
  const ended = (async () => iterator.return?.())();
  ended.catch(() => {});
}
