/** What a login gave: the token and the ring's keys, kept fresh. */
import type { PacketHeader, SessionAnswer } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import type { RingAnswer } from "../control/answers.js";

/** Refreshed when that share of its life is over. */
const refreshAfter = 0.75;
const refreshMs = { min: 1_000, max: 3_600_000 } as const;

export class Session {
  #answer: SessionAnswer | undefined;
  #takenAtMs = 0;
  /** All that were told: a key that is not current any more has signed what still waits in maildrops. */
  readonly #ringKeys = new Map<string, string>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get token(): string | undefined {
    return this.#answer?.token;
  }

  /** @throws RingpostError `loginNeeded` */
  get answer(): SessionAnswer {
    if (this.#answer === undefined) {
      throw new RingpostError("loginNeeded", "log in first, or register", false);
    }
    return this.#answer;
  }

  /** Until the token should be refreshed. */
  get refreshInMs(): number {
    const { expiresAtMs } = this.answer;
    const atMs = this.#takenAtMs + (expiresAtMs - this.#takenAtMs) * refreshAfter;
    return Math.min(Math.max(atMs - this.#nowMs(), refreshMs.min), refreshMs.max);
  }

  take(answer: SessionAnswer): void {
    this.#answer = answer;
    this.#takenAtMs = this.#nowMs();
    for (const [id, key] of Object.entries(answer.ringKeys)) this.#ringKeys.set(id, key);
  }

  forget(): void {
    this.#answer = undefined;
  }

  /** Whether a packet that says it is from the ring is signed with one of its keys. */
  isRingKey({ from, key }: PacketHeader): boolean {
    return this.#ringKeys.get(from.device) === key;
  }

  /**
   * The ring's keys are pinned with the first login, whose answer can only be where its question was
   * read: its id is not to be guessed, and the maildrop not to be written to by others.
   */
  isOfRing({ header, answer }: RingAnswer): boolean {
    if (this.isRingKey(header)) return true;
    if (this.#ringKeys.size > 0) return isNewRingKey(header, answer, this.#answer);
    if (!answer.ok) return true;
    const { ringKeys } = answer.answer as Partial<SessionAnswer>;
    return ringKeys?.[header.from.device] === header.key;
  }
}

/** A ring that has changed its keys says so in the answer to a login. */
function isNewRingKey(
  header: PacketHeader,
  answer: RingAnswer["answer"],
  session: SessionAnswer | undefined,
): boolean {
  if (session !== undefined || !answer.ok) return false;
  const { ringKeys } = answer.answer as Partial<SessionAnswer>;
  return ringKeys?.[header.from.device] === header.key;
}
