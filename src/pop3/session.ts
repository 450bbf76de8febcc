import { unreachable } from "../shared/unreachable.js";
import { type AuthMethod, isPlaintext, saslMechanisms } from "./authentication.js";
import type { Offer } from "./capabilities.js";
import { parseCommand } from "./commands.js";
import type { Effect, Input, Refusal } from "./dialogue.js";
import type { CommitAnswer, EndReason, MaildropMessage } from "./maildrop.js";
import type { Pop3Limits } from "./options.js";
import { replies } from "./replies.js";
import { decodeBase64, decodeInitial, decodeUtf8 } from "./sasl.js";
import { Snapshot } from "./snapshot.js";

type Phase =
  | { readonly kind: "authorization"; readonly userName?: string }
  | { readonly kind: "securing" }
  | { readonly kind: "sasl" }
  | { readonly kind: "authenticating" }
  | { readonly kind: "transaction" }
  | { readonly kind: "opening" | "transmitting"; readonly lines: number | undefined }
  | { readonly kind: "update"; readonly removed: number }
  | { readonly kind: "closed" };

export interface SessionOptions {
  /** The lines of CAPA. */
  readonly capabilities: (offer: Offer) => readonly string[];
  readonly authMethods: readonly AuthMethod[];
  readonly limits: Pop3Limits;
  /** There is a certificate: STLS can be begun. */
  readonly canSecure: boolean;
}

/** What the session is told of its connection. */
export interface Protection {
  /** TLS is on from the first octet. */
  readonly secure: boolean;
  /** Passwords are taken without TLS, too. */
  readonly plaintextInClear: boolean;
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
  readonly #plaintextInClear: boolean;
  #secure: boolean;
  #phase: Phase = { kind: "authorization" };
  #maildrop = new Snapshot([]);
  #errors = 0;
  #authFailures = 0;
  #unauthenticated = 0;

  constructor(options: SessionOptions, { secure, plaintextInClear }: Protection) {
    this.#options = options;
    this.#secure = secure;
    this.#plaintextInClear = plaintextInClear;
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
    switch (this.#phase.kind) {
      case "authorization":
      case "securing":
      case "sasl":
      case "authenticating":
        return false;
      default:
        return true;
    }
  }

  /**
   * Bound of the next line, its end included. Before a login it may be an AUTH with a token, which
   * clients send in one line however long it is; other commands are held to theirs.
   */
  get lineOctetsMax(): number {
    const { commandOctetsMax, saslOctetsMax } = this.#options.limits;
    return this.loggedIn ? commandOctetsMax : Math.max(commandOctetsMax, saslOctetsMax);
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
        return this.#onRefused(input.refusal);
      case "challenge":
        this.#phase = { kind: "sasl" };
        return [reply(replies.challenge(input.data))];
      case "malformed":
        this.#phase = { kind: "authorization" };
        return this.#mistake(replies.saslMalformed);
      case "secured":
        // RFC 2595 §4: what was said before is forgotten, a USER too.
        this.#secure = true;
        this.#phase = { kind: "authorization" };
        return [];
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
      case "securing":
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
    const octets = text.length + 2;
    if (octets > this.#options.limits.commandOctetsMax && !/^AUTH /i.test(text)) {
      this.#phase = { kind: "authorization" };
      return this.#mistake(replies.lineTooLong);
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
      case "STLS":
        return this.#onStls();
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

  /** RFC 2595 §4: only before a login, and only once. */
  #onStls(): readonly Effect[] {
    if (this.#secure) return [reply(replies.tlsAlready)];
    if (!this.#options.canSecure) return [reply(replies.tlsNotOffered)];
    this.#phase = { kind: "securing" };
    return [reply(replies.beginTls), { kind: "startTls" }];
  }

  /** Undefined when the method can be used on this connection as it is. */
  #refusalOf(method: AuthMethod): string | undefined {
    const { authMethods, canSecure } = this.#options;
    if (!authMethods.includes(method)) return replies.methodNotOffered;
    if (this.#secure || this.#plaintextInClear || !isPlaintext(method)) return undefined;
    return canSecure ? replies.needsStls : replies.needsTls;
  }

  #onUser(name: string): readonly Effect[] {
    const refusal = this.#refusalOf("USER");
    if (refusal !== undefined) return [reply(refusal)];
    const userName = decodeUtf8(name);
    if (userName === undefined) return [reply(replies.badCharacter)];
    this.#phase = { kind: "authorization", userName };
    // Also for names that nobody has: who they are is none of a stranger's business.
    return [reply(replies.sendPassword)];
  }

  #onPass(username: string | undefined, latin1: string): readonly Effect[] {
    if (username === undefined) return [reply(this.#refusalOf("USER") ?? replies.needsUser)];
    const password = decodeUtf8(latin1);
    if (password === undefined) return this.#onRefused({ kind: "denied" });
    this.#phase = { kind: "authenticating" };
    return [{ kind: "authenticate", credentials: { method: "USER", username, password } }];
  }

  #onAuth(name: string, initial: string | undefined): readonly Effect[] {
    const mechanism = saslMechanisms.find((known) => known === name);
    if (mechanism === undefined) return [reply(replies.methodNotOffered)];
    const refusal = this.#refusalOf(mechanism);
    if (refusal !== undefined) return [reply(refusal)];
    const data = initial === undefined ? undefined : decodeInitial(initial);
    if (initial !== undefined && data === undefined) return this.#mistake(replies.saslMalformed);
    this.#phase = { kind: "authenticating" };
    return [{ kind: "saslBegin", mechanism, ...(data !== undefined && { data }) }];
  }

  #onSaslResponse(text: string): readonly Effect[] {
    this.#phase = { kind: "authorization" };
    if (text === "*") return [reply(replies.saslCancelled)];
    const data = decodeBase64(text);
    if (data === undefined) return this.#mistake(replies.saslMalformed);
    this.#phase = { kind: "authenticating" };
    return [{ kind: "saslRespond", data }];
  }

  #onAuthenticated(messages: readonly MaildropMessage[]): readonly Effect[] {
    this.#phase = { kind: "transaction" };
    this.#maildrop = new Snapshot(messages);
    return [reply(replies.loggedIn(messages.length))];
  }

  #onRefused(refusal: Refusal): readonly Effect[] {
    this.#phase = { kind: "authorization" };
    switch (refusal.kind) {
      case "inUse":
        return [reply(replies.inUse)];
      case "tempfail":
        return [reply(replies.authTempfail)];
      case "denied":
        return this.#onFailedLogin(replies.denied);
      case "throttled":
        return this.#onFailedLogin(replies.throttled(Math.ceil(refusal.retryAfterMs / 1_000)));
      default:
        return unreachable(refusal);
    }
  }

  #onFailedLogin(text: string): readonly Effect[] {
    const tooMany = ++this.#authFailures >= this.#options.limits.authFailuresMax;
    const effects = [reply(text)];
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

  /** What is offered in this state: RFC 2449 §5, RFC 2595 §4 (not under TLS, not logged in). */
  #capabilities(): Effect {
    const { authMethods, canSecure } = this.#options;
    const lines = this.#options.capabilities({
      methods: authMethods.filter((method) => this.#refusalOf(method) === undefined),
      stls: canSecure && !this.#secure && !this.loggedIn,
    });
    return reply(`+OK capabilities follow\r\n${lines.map((line) => `${line}\r\n`).join("")}.\r\n`);
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
