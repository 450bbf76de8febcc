/** Questions to the ring, each a sealed packet, and its answers. */
import { randomUUID } from "node:crypto";
import {
  type Answer,
  type Ask,
  composeMail,
  type ConfigurationRequest,
  connectionId,
  type OperationName,
  type RefusalCode,
  sealPacket,
  type Settled,
} from "../../ebm/index.js";
import type { ClientJournal } from "../journal/ports.js";
import { RingpostError } from "../errors.js";
import type { Post } from "../transport/post.js";
import { isTemporary, type RingWord, ringWord, type SmtpReply } from "../transport/reply.js";
import type { OutgoingMail } from "../transport/smtp-line.js";
import { delay, reasonOf, within } from "../waiting.js";
import { type Answers, QuestionBounced, type RingAnswer } from "./answers.js";
import { PacketNumbers } from "./packet-numbers.js";

export interface ControlOptions {
  readonly user: string;
  /** Envelope and header sender of questions. */
  readonly address: string;
  /** The ring's control address. */
  readonly ring: () => string;
  /** Undefined before the first login. */
  readonly token: () => string | undefined;
  /** Whether an answer is sealed with a key of the ring. */
  readonly isOfRing: (answer: RingAnswer) => boolean;
  readonly journal: ClientJournal;
  readonly post: Post;
  readonly answers: Answers;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
}

/** One try of a question. */
interface Asked {
  readonly id: string;
  /** Of its last mail, without angle brackets. */
  messageId: string;
  readonly request: ConfigurationRequest;
}

export interface AskOptions {
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal | undefined;
}

const packetLifeMs = 300_000;
const deadlineMs = { ring: 60_000, elsewhere: 600_000 } as const;
const overtakenMax = 3;
const againMs = { first: 100, max: 5_000, answerElsewhere: 60_000 } as const;

/** Their answer says no more than the reply to the mail did. */
const silent: ReadonlySet<OperationName> = new Set<OperationName>([
  "logout",
  "announce",
  "declareExchange",
  "removeExchange",
  "declareQueue",
  "removeQueue",
  "bind",
  "unbind",
  "settle",
  "addContact",
  "removeContact",
  "markRead",
]);
const retryable: ReadonlySet<RefusalCode> = new Set(["throttled", "full", "undecided"]);

export class Control {
  readonly #options: ControlOptions;
  readonly #numbers: PacketNumbers;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: ControlOptions) {
    this.#options = options;
    this.#numbers = new PacketNumbers(options.journal.values);
  }

  /**
   * Asks until there is an answer or the time is over. Every operation may be asked twice: when a connection
   * broke, nobody knows whether the first was done.
   * @throws RingpostError with the ring's refusal, `timeout`, `unreachable`, `closed`
   */
  async ask<N extends OperationName>(
    operation: N,
    ask: Ask<N>,
    options: AskOptions = {},
  ): Promise<Answer<N>> {
    const { post, signal: closing } = this.#options;
    const ms = options.deadlineMs ?? (post.isElsewhere ? deadlineMs.elsewhere : deadlineMs.ring);
    const over = new AbortController();
    const signal = AbortSignal.any([
      over.signal,
      closing,
      ...(options.signal === undefined ? [] : [options.signal]),
    ]);
    const request = { operation, ask } as ConfigurationRequest;
    if (signal.aborted) throw reasonOf(signal);
    try {
      const answer = this.#askUntil(request, signal);
      return (await within(answer, { ms, what: operation, signal })) as Answer<N>;
    } finally {
      over.abort();
    }
  }

  async #askUntil(request: ConfigurationRequest, signal: AbortSignal): Promise<object> {
    const id = randomUUID();
    let overtaken = 0;
    for (let waitMs: number = againMs.first; ; waitMs = Math.min(2 * waitMs, againMs.max)) {
      try {
        const outcome = await this.#askOnce(id, request, signal);
        if (outcome !== undefined) return outcome;
      } catch (error) {
        if (!isOvertaken(error) || (overtaken += 1) > overtakenMax) throw error;
      }
      await delay(waitMs, signal);
      if (signal.aborted) throw new RingpostError("timeout", request.operation, true);
    }
  }

  /** Undefined: to be asked again. */
  async #askOnce(
    id: string,
    request: ConfigurationRequest,
    signal: AbortSignal,
  ): Promise<object | undefined> {
    const asked: Asked = { id, messageId: "", request };
    const reply = await this.#post(asked, signal);
    const word = ringWord(reply);
    if (word !== undefined) return await this.#heed(word, asked, signal);
    if (isTemporary(reply)) return undefined;
    if (reply.code !== 250) throw refusedByMail(reply);
    // Somebody else's mail server has it; the answer comes by mail, or the question got lost.
    const patience = AbortSignal.any([signal, AbortSignal.timeout(againMs.answerElsewhere)]);
    try {
      return await this.#answer(asked, patience);
    } catch (error) {
      if (error instanceof QuestionBounced) return this.#bounced(error, request);
      if (patience.aborted && !signal.aborted) return undefined;
      throw error;
    }
  }

  async #heed(word: RingWord, asked: Asked, signal: AbortSignal): Promise<object | undefined> {
    const { operation } = asked.request;
    switch (word.kind) {
      case "ok":
        return silent.has(operation) ? {} : await this.#answer(asked, signal);
      case "partly":
        return { done: word.done } satisfies Settled;
      case "refused":
        if (word.code === "undecided") return undefined;
        throw refusal(operation, word.code, word.why);
      case "kept":
        throw refusal(operation, "malformed", `not understood by the ring: ${word.why}`);
      default:
        throw refusal(operation, "malformed", `the ring answered as to data: ${word.kind}`);
    }
  }

  /** The ring does not answer strangers by mail: what it replied comes back with their question. */
  #bounced({ diagnostic }: QuestionBounced, { operation }: ConfigurationRequest): never {
    const word = ringWord({ code: 0, text: diagnostic });
    if (word?.kind === "refused") throw refusal(operation, word.code, word.why);
    throw refusedByMail({ code: 0, text: diagnostic });
  }

  /** Undefined: to be asked again. */
  async #answer(
    { id, messageId, request }: Asked,
    signal: AbortSignal,
  ): Promise<object | undefined> {
    for (;;) {
      const answer = await within(this.#options.answers.wait(id, messageId, signal), {
        what: "the ring's answer",
        signal,
      });
      // Whoever else put it there is not the ring; the true one may still come.
      if (!this.#options.isOfRing(answer)) continue;
      if (answer.answer.ok) return answer.answer.answer;
      const { code, why } = answer.answer;
      if (code === "undecided") return undefined;
      throw refusal(request.operation, code, why);
    }
  }

  /** One after the other: of each device the ring takes only rising numbers, but for `settle`. */
  #post(asked: Asked, signal: AbortSignal): Promise<SmtpReply> {
    const post = async (): Promise<SmtpReply> => {
      // Given up while it waited for its turn: those behind it need not wait for it as well.
      if (signal.aborted) throw reasonOf(signal);
      return await this.#options.post.toRing(() => this.#seal(asked));
    };
    if (asked.request.operation === "settle") return post();
    const reply = this.#turn.then(post);
    this.#turn = reply.catch(() => undefined);
    return reply;
  }

  async #seal(asked: Asked): Promise<OutgoingMail> {
    const { id, request } = asked;
    // Another one for each mail: providers drop duplicates.
    asked.messageId = `${randomUUID()}@ringpost.invalid`;
    const { user, address, journal, nowMs } = this.#options;
    const ring = this.#options.ring();
    const { device, epoch, privateKey } = journal.identity;
    const from = { user, device, epoch };
    const token = this.#options.token();
    const isLogin = request.operation === "login" || request.operation === "register";
    if (!isLogin && token === undefined) {
      throw new RingpostError("loginNeeded", "log in first, or register", false);
    }
    const connection = connectionId(from, ring);
    const number = await this.#numbers.next();
    const packet = sealPacket({
      header: {
        connection,
        packet: number,
        from,
        to: ring,
        expiresAtMs: nowMs() + packetLifeMs,
        ...(isLogin || token === undefined ? {} : { token }),
      },
      frames: [{ kind: "configuration", id, body: request }],
      privateKey,
    });
    const octets = composeMail({
      from: address,
      to: ring,
      index: { connection, packet: number, type: "configuration" },
      messageId: asked.messageId,
      date: new Date(nowMs()),
      packet,
    });
    return { from: address, to: [ring], octets };
  }
}

function refusal(what: string, code: RefusalCode, why: string): RingpostError {
  return new RingpostError(code, why === "" ? `${what}: ${code}` : why, retryable.has(code));
}

/**
 * A mail system may double a question, and hand on the reply to the copy that came second: refused, since the
 * first was done. Asked with a new number, nothing is lost by that; a store that was put back to an older state,
 * whose numbers are all used up, is told so after a few tries.
 */
const isOvertaken = (error: unknown): boolean =>
  error instanceof RingpostError &&
  error.code === "denied" &&
  /\bpacket number\b/.test(error.message);

/** By a mail server, before the ring was asked. */
function refusedByMail({ code, text }: SmtpReply): RingpostError {
  const hint = code === 550 ? "; name the ring's domain: alice@its.domain" : "";
  return new RingpostError("unknown", `the mail to the ring was refused: ${text}${hint}`, false);
}
