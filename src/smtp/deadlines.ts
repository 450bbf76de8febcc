/**
 * How long a connection may take: RFC 5321 §4.5.3.2. An idle timer alone would let a client that
 * sends an octet a second stay for ever, so progress counts, not octets. Pure.
 */
import type { SmtpLimits } from "./limits.js";

/** Whom the connection waits for, since when. `data` also knows how far the mail had come then. */
type Waiting =
  | { readonly for: "handshake"; readonly sinceMs: number }
  | { readonly for: "command"; readonly sinceMs: number }
  | { readonly for: "data"; readonly sinceMs: number; readonly octets: number }
  | { readonly for: "receiver"; readonly sinceMs: number; readonly giveUp: () => void };

type DeadlineLimits = Pick<
  SmtpLimits,
  | "handshakeMs"
  | "commandMs"
  | "dataBlockMs"
  | "dataBlockOctets"
  | "transactionMs"
  | "sessionMs"
  | "receiverMs"
>;

export class Deadlines {
  readonly #limits: DeadlineLimits;
  readonly #nowMs: () => number;
  #waiting: Waiting;
  #transactionSinceMs: number;
  readonly #sessionSinceMs: number;

  constructor(limits: DeadlineLimits, nowMs: () => number) {
    this.#limits = limits;
    this.#nowMs = nowMs;
    this.#transactionSinceMs = nowMs();
    this.#sessionSinceMs = this.#transactionSinceMs;
    this.#waiting = { for: "command", sinceMs: this.#transactionSinceMs };
  }

  get waitsForCommand(): boolean {
    return this.#waiting.for === "command";
  }

  /** A TLS handshake is under way. */
  handshake(): void {
    this.#waiting = { for: "handshake", sinceMs: this.#nowMs() };
  }

  /** The client has the word. */
  command(): void {
    this.#waiting = { for: "command", sinceMs: this.#nowMs() };
  }

  /** A mail has come as far as `octets`. */
  data(octets: number): void {
    const waiting = this.#waiting;
    const { dataBlockOctets } = this.#limits;
    if (waiting.for === "data" && octets - waiting.octets < dataBlockOctets) return;
    this.#waiting = { for: "data", sinceMs: this.#nowMs(), octets };
  }

  /** The receiver has the word; `giveUp` is called when it takes too long. */
  receiver(giveUp: () => void): void {
    this.#waiting = { for: "receiver", sinceMs: this.#nowMs(), giveUp };
  }

  /** A mail was answered: the time of the next begins. */
  transactionOver(): void {
    this.#transactionSinceMs = this.#nowMs();
  }

  /** True when the client has used up its time. */
  check(): boolean {
    const nowMs = this.#nowMs();
    const waitedMs = nowMs - this.#waiting.sinceMs;
    if (this.#waiting.for === "receiver") {
      if (waitedMs > this.#limits.receiverMs) this.#waiting.giveUp();
      return false;
    }
    const { commandMs, dataBlockMs, handshakeMs, transactionMs, sessionMs } = this.#limits;
    const limitMs = { handshake: handshakeMs, command: commandMs, data: dataBlockMs };
    if (waitedMs > limitMs[this.#waiting.for]) return true;
    // A mail that has begun may end; that it does is seen to by the transaction's time.
    if (this.waitsForCommand && nowMs - this.#sessionSinceMs > sessionMs) return true;
    return nowMs - this.#transactionSinceMs > transactionMs;
  }
}
