import { unreachable } from "../shared/unreachable.js";
import { parseCommand } from "./commands.js";
import type { Effect, Input } from "./dialogue.js";
import type { CommitAnswer, Credentials, EndReason, MaildropMessage } from "./maildrop.js";
import type { AuthMethod, Pop3Limits } from "./options.js";
import { replies } from "./replies.js";
import { decodePlain, decodeUtf8 } from "./sasl.js";
import { Snapshot } from "./snapshot.js";

type Phase =
  | { readonly kind: "authorization"; readonly userName?: string }
  | { readonly kind: "sasl" }
  | { readonly kind: "authenticating" }
  | { readonly kind: "transaction" }
  | { readonly kind: "opening" | "transmitting"; readonly lines: number | undefined }
  | { readonly kind: "update"; readonly removed: number }
  | { readonly kind: "closed" };

export interface SessionOptions {
  readonly capabilities: readonly string[];
  readonly authMethods: readonly AuthMethod[];
  readonly limits: Pop3Limits;
}

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
  readonly #options: SessionOptions;
  #phase: Phase = { kind: "authorization" };
  #maildrop = new Snapshot([]);
  #errors = 0;
  #authFailures = 0;
  #unauthenticated = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** What comes next: a line, the answer to an effect, or nothing any more. */
  get wants(): "line" | "answer" | "nothing" {
    const { kind } = this.#phase;
    if (kind === "closed") return "nothing";
    return kind === "authorization" || kind === "sasl" || kind === "transaction"
      ? "line"
      : "answer";
  }

  /** RFC 1939 §5 and on: between a login and the end. */
  get loggedIn(): boolean {
    const { kind } = this.#phase;
    return kind !== "authorization" && kind !== "sasl" && kind !== "authenticating";
  }

  /** Bound of the next line, its end included. */
  get lineOctetsMax(): number {
    const { commandOctetsMax, saslOctetsMax } = this.#options.limits;
    return this.#phase.kind === "sasl" ? saslOctetsMax : commandOctetsMax;
  }

  step(input: Input): readonly Effect[] {
    switch (input.kind) {
      case "line":
        return this.#onLine(input.text);
      case "lineTooLong":
        if (this.#phase.kind === "sasl") this.#phase = { kind: "authorization" };
        return this.#mistake(replies.lineTooLong);
      case "authenticated":
        return this.#onAuthenticated(input.messages);
      case "refused":
        return this.#onRefused(input.why);
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
      case "sasl":
        return this.#onSaslResponse(text);
      case "authorization":
        return this.#onAuthorizationLine(text, phase.userName);
      case "transaction":
        return this.#onTransactionLine(text);
      case "authenticating":
      case "opening":
      case "transmitting":
      case "update":
      case "closed":
        throw new Error(`a line while ${phase.kind}`);
      default:
        return unreachable(phase);
    }
  }

  #onAuthorizationLine(text: string, userName: string | undefined): readonly Effect[] {
    if (++this.#unauthenticated > this.#options.limits.unauthenticatedCommandsMax) {
      return this.#end([reply(replies.needsLogin)], "misbehaved");
    }
    const command = parseCommand(text);
    if (command.verb === "invalid") return this.#mistake(command.reply);
    // RFC 1939 §7: PASS is only good "immediately after a successful USER".
    this.#phase = { kind: "authorization" };
    switch (command.verb) {
      case "USER":
        return this.#onUser(command.name);
      case "PASS":
        return this.#onPass(userName, command.password);
      case "AUTH":
        return this.#onAuth(command.mechanism, command.initial);
      case "UTF8":
        return [reply(replies.utf8)];
      case "CAPA":
        return [this.#capabilities()];
      case "QUIT":
        return this.#end([reply(replies.goodbye)], "quit");
      default:
        return [reply(replies.needsLogin)];
    }
  }

  #onUser(name: string): readonly Effect[] {
    if (!this.#options.authMethods.includes("USER")) return [reply(replies.methodNotOffered)];
    const userName = decodeUtf8(name);
    if (userName === undefined) return [reply(replies.badCharacter)];
    this.#phase = { kind: "authorization", userName };
    // Also for names that nobody has: who they are is none of a stranger's business.
    return [reply(replies.sendPassword)];
  }

  #onPass(username: string | undefined, latin1: string): readonly Effect[] {
    if (username === undefined) return [reply(replies.needsUser)];
    const password = decodeUtf8(latin1);
    if (password === undefined) return this.#onRefused("denied");
    return this.#authenticate({ method: "USER", username, password });
  }

  #onAuth(mechanism: string, initial: string | undefined): readonly Effect[] {
    if (mechanism !== "PLAIN" || !this.#options.authMethods.includes("PLAIN")) {
      return [reply(replies.methodNotOffered)];
    }
    if (initial !== undefined) return this.#onPlain(initial);
    this.#phase = { kind: "sasl" };
    return [reply(replies.challenge)];
  }

  #onSaslResponse(text: string): readonly Effect[] {
    this.#phase = { kind: "authorization" };
    return text === "*" ? [reply(replies.saslCancelled)] : this.#onPlain(text);
  }

  #onPlain(base64: string): readonly Effect[] {
    const plain = decodePlain(base64);
    if (plain === undefined) return this.#mistake(replies.saslMalformed);
    const { authorizationId, username, password } = plain;
    // RFC 4616 §2: nobody here may act for somebody else.
    if (authorizationId !== "" && authorizationId !== username) return this.#onRefused("denied");
    return this.#authenticate({ method: "PLAIN", username, password });
  }

  #authenticate(credentials: Credentials): readonly Effect[] {
    this.#phase = { kind: "authenticating" };
    return [{ kind: "authenticate", credentials }];
  }

  #onAuthenticated(messages: readonly MaildropMessage[]): readonly Effect[] {
    this.#phase = { kind: "transaction" };
    this.#maildrop = new Snapshot(messages);
    return [reply(replies.loggedIn(messages.length))];
  }

  #onRefused(why: "denied" | "inUse" | "tempfail"): readonly Effect[] {
    this.#phase = { kind: "authorization" };
    if (why === "inUse") return [reply(replies.inUse)];
    if (why === "tempfail") return [reply(replies.authTempfail)];
    const tooMany = ++this.#authFailures >= this.#options.limits.authFailuresMax;
    const effects = [reply(replies.denied)];
    return tooMany ? this.#end(effects, "misbehaved") : effects;
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
        return [this.#capabilities()];
      case "QUIT":
        return this.#onQuit();
      case "USER":
      case "PASS":
      case "AUTH":
      case "UTF8":
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

  #capabilities(): Effect {
    const lines = this.#options.capabilities.map((line) => `${line}\r\n`).join("");
    return reply(`+OK capabilities follow\r\n${lines}.\r\n`);
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
