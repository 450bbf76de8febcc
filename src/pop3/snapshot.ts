import type { MaildropMessage } from "./maildrop.js";
import { replies } from "./replies.js";

const PIECE_LINES = 500;

/**
 * A maildrop as one session sees it (RFC 1939 §5): numbers fixed at login, and which messages are
 * marked as deleted. Numbers are 1-based and come from the client.
 */
export class Snapshot {
  readonly #messages: readonly MaildropMessage[];
  readonly #deleted: Uint8Array;
  readonly #octetsInAll: number;
  /** Messages and octets that are not marked as deleted. */
  count = 0;
  octets = 0;

  constructor(messages: readonly MaildropMessage[]) {
    this.#messages = messages;
    this.#deleted = new Uint8Array(messages.length);
    this.#octetsInAll = messages.reduce((sum, message) => sum + message.octets, 0);
    this.reset();
  }

  /** The -ERR for a number that no message has, or a deleted one. */
  problem(number: number): string | undefined {
    if (!(number >= 1 && number <= this.#messages.length)) return replies.noSuchMessage;
    return this.#deleted[number - 1] === 1 ? replies.deletedMessage : undefined;
  }

  /** Marks a message for which `problem` has none. */
  remove(number: number): string {
    this.#deleted[number - 1] = 1;
    this.count--;
    this.octets -= this.#messages[number - 1]?.octets ?? 0;
    return `+OK message ${number} marked as deleted\r\n`;
  }

  /** RSET: unmarks all. */
  reset(): string {
    this.#deleted.fill(0);
    this.count = this.#messages.length;
    this.octets = this.#octetsInAll;
    return `+OK ${this.count} messages\r\n`;
  }

  /** Indexes (0-based) of the messages marked as deleted, ascending. */
  removed(): number[] {
    const indexes: number[] = [];
    let at = this.#deleted.indexOf(1);
    for (; at >= 0; at = this.#deleted.indexOf(1, at + 1)) indexes.push(at);
    return indexes;
  }

  /** A scan or unique-id listing: the number and what the verb tells. */
  entry(verb: "LIST" | "UIDL", number: number): string {
    const message = this.#messages[number - 1];
    return `${number} ${verb === "LIST" ? message?.octets : message?.uid}\r\n`;
  }

  /** The whole multi-line reply, made as it is read: a listing may be longer than what is sent. */
  *listing(verb: "LIST" | "UIDL"): Iterable<string> {
    let piece = verb === "LIST" ? `+OK ${this.count} messages\r\n` : "+OK unique-ids follow\r\n";
    for (let number = 1; number <= this.#messages.length; number++) {
      if (this.#deleted[number - 1] === 0) piece += this.entry(verb, number);
      if (number % PIECE_LINES === 0) {
        yield piece;
        piece = "";
      }
    }
    yield `${piece}.\r\n`;
  }
}
