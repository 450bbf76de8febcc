import { unreachable } from "../shared/unreachable.js";
import { Authorization, type AuthorizationOptions, type Protection } from "./authorization.js";
import { parseCommand } from "./commands.js";
import type { Effect, Input } from "./dialogue.js";
import type { CommitAnswer, EndReason, MaildropMessage } from "./maildrop.js";
import { replies } from "./replies.js";
import { Snapshot } from "./snapshot.js";

type Phase =
  | { readonly kind: "authorization" }
  | { readonly kind: "transaction" }
  | { readonly kind: "opening" | "transmitting"; readonly lines: number | undefined }
  | { readonly kind: "update"; readonly removed: number }
  | { readonly kind: "closed" };

const reply = (text: string): Effect => ({ kind: "reply", text });
const close = (reason: EndReason): Effect => ({ kind: "close", reason });
const goodbye: readonly Effect[] = [
  { kind: "release" },
  reply(replies.goodbye),
  { kind: "close", reason: "quit" },
];

/**
 * The dialogue of one connection (RFC 1939 §3 to §7), after the greeting. No socket, no clock, no
 * promise: the same inputs give the same effects.
 */
export class Pop3Session {
  readonly #options: AuthorizationOptions;
  readonly #authorization: Authorization;
  #phase: Phase = { kind: "authorization" };
  #maildrop = new Snapshot([]);
  #errors = 0;

  constructor(options: AuthorizationOptions, protection: Protection) {
    this.#options = options;
    this.#authorization = new Authorization(options, protection, {
      mistake: (text) => this.#mistake(text),
      end: (effects, reason) => this.#end(effects, reason),
    });
  }

  /** What comes next: a line, the answer to an effect, or nothing any more. */
  get wants(): "line" | "answer" | "nothing" {
    const { kind } = this.#phase;
    if (kind === "closed") return "nothing";
    if (kind === "authorization") return this.#authorization.wants;
    return kind === "transaction" ? "line" : "answer";
  }

  /** RFC 1939 §5 and on: between a login and the end. */
  get loggedIn(): boolean {
    return this.#phase.kind !== "authorization";
  }

  /** Bound of the next line, its end included. */
  get lineOctetsMax(): number {
    const { limits } = this.#options;
    return this.loggedIn ? limits.commandOctetsMax : this.#authorization.lineOctetsMax;
  }

  step(input: Input): readonly Effect[] {
    switch (input.kind) {
      case "line":
        return this.#onLine(input.text);
      case "lineTooLong":
        if (!this.loggedIn) return this.#authorization.onLineTooLong();
        return this.#mistake(replies.lineTooLong);
      case "authenticated":
        return this.#onAuthenticated(input.messages);
      case "refused":
      case "challenge":
      case "malformed":
      case "secured":
        return this.#authorization.step(input);
      case "opened":
        return this.#onOpened(input.octets);
      case "openFailed":
        this.#phase = { kind: "transaction" };
        return [reply(replies.readFailed)];
      case "transmitted":
        this.#phase = { kind: "transaction" };
        return [];
      case "committed":
        return this.#onCommitted(input.answer);
      case "deadline":
        // RFC 1939 §3: closes "without removing any messages or sending any response".
        return this.#end([], "autologout");
      case "shutdown":
        return this.#end([reply(replies.shuttingDown)], "shutdown");
      default:
        return unreachable(input);
    }
  }

  #onLine(text: string): readonly Effect[] {
    const phase = this.#phase;
    switch (phase.kind) {
      case "authorization":
        return this.#authorization.onLine(text);
      case "transaction":
        return this.#onTransactionLine(text);
      case "opening":
      case "transmitting":
      case "update":
      case "closed":
        throw new Error(`a line while ${phase.kind}`);
      default:
        return unreachable(phase);
    }
  }

  #onAuthenticated(messages: readonly MaildropMessage[]): readonly Effect[] {
    this.#phase = { kind: "transaction" };
    this.#maildrop = new Snapshot(messages);
    return [reply(replies.loggedIn(messages.length))];
  }

  #onTransactionLine(text: string): readonly Effect[] {
    const command = parseCommand(text);
    const maildrop = this.#maildrop;
    switch (command.verb) {
      case "invalid":
        return this.#mistake(command.reply);
      case "RETR":
        return this.#onRetrieve(command.number, undefined);
      case "TOP":
        return this.#onRetrieve(command.number, command.lines);
      case "LIST":
      case "UIDL":
        return this.#onListing(command.verb, command.number);
      case "STAT":
        return [reply(`+OK ${maildrop.count} ${maildrop.octets}\r\n`)];
      case "DELE":
        return [reply(maildrop.problem(command.number) ?? maildrop.remove(command.number))];
      case "NOOP":
        return [reply(replies.ok)];
      case "RSET":
        return [reply(maildrop.reset())];
      case "CAPA":
        return [this.#authorization.capabilities(false)];
      case "QUIT":
        return this.#onQuit();
      case "USER":
      case "PASS":
      case "AUTH":
      case "UTF8":
      case "STLS":
        return [reply(replies.loggedInAlready)];
      default:
        return unreachable(command);
    }
  }

  #onRetrieve(number: number, lines: number | undefined): readonly Effect[] {
    const problem = this.#maildrop.problem(number);
    if (problem !== undefined) return [reply(problem)];
    this.#phase = { kind: "opening", lines };
    return [{ kind: "open", index: number - 1 }];
  }

  #onOpened(octets: number): readonly Effect[] {
    if (this.#phase.kind !== "opening") throw new Error(`opened while ${this.#phase.kind}`);
    const { lines } = this.#phase;
    this.#phase = { kind: "transmitting", lines };
    const text = lines === undefined ? `+OK ${octets} octets\r\n` : "+OK top of message\r\n";
    return [reply(text), { kind: "transmit", lines }];
  }

  #onListing(verb: "LIST" | "UIDL", number: number | undefined): readonly Effect[] {
    if (number === undefined) return [{ kind: "listing", pieces: this.#maildrop.listing(verb) }];
    const problem = this.#maildrop.problem(number);
    return [reply(problem ?? `+OK ${this.#maildrop.entry(verb, number)}`)];
  }

  #onQuit(): readonly Effect[] {
    const removed = this.#maildrop.removed();
    if (removed.length === 0) {
      this.#phase = { kind: "closed" };
      return goodbye;
    }
    this.#phase = { kind: "update", removed: removed.length };
    return [{ kind: "commit", removed }];
  }

  #onCommitted(answer: CommitAnswer): readonly Effect[] {
    if (this.#phase.kind !== "update") throw new Error(`committed while ${this.#phase.kind}`);
    const text =
      answer.kind === "removed"
        ? replies.removed(this.#phase.removed)
        : replies.notRemoved(answer.why);
    return this.#end([{ kind: "release" }, reply(text)], "quit");
  }

  /** Answers a line that is no command; too many of them end the session. */
  #mistake(text: string): readonly Effect[] {
    const effects = [reply(text)];
    const tooMany = ++this.#errors >= this.#options.limits.errorsMax;
    return tooMany ? this.#end(effects, "misbehaved") : effects;
  }

  #end(effects: readonly Effect[], reason: EndReason): readonly Effect[] {
    this.#phase = { kind: "closed" };
    return [...effects, close(reason)];
  }
}
