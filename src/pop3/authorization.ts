import { unreachable } from "../shared/unreachable.js";
import { type AuthMethod, isPlaintext, saslMechanisms } from "./authentication.js";
import type { Offer } from "./capabilities.js";
import { parseCommand } from "./commands.js";
import type { Effect, Input, Refusal } from "./dialogue.js";
import type { EndReason } from "./maildrop.js";
import type { Pop3Limits } from "./options.js";
import { replies } from "./replies.js";
import { decodeBase64, decodeInitial, decodeUtf8 } from "./sasl.js";

type Phase =
  | { readonly kind: "command"; readonly userName?: string }
  | { readonly kind: "sasl" }
  /** For the answer to an effect. */
  | { readonly kind: "waiting" };

export interface AuthorizationOptions {
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

/** What both states of a session have in common. */
interface SessionEnds {
  /** Answers a line that is no command; too many of them end the session. */
  mistake(text: string): readonly Effect[];
  end(effects: readonly Effect[], reason: EndReason): readonly Effect[];
}

/** What can happen before a login, besides lines. */
export type AuthorizationInput = Extract<
  Input,
  { readonly kind: "refused" | "challenge" | "malformed" | "secured" }
>;

const reply = (text: string): Effect => ({ kind: "reply", text });

/** The AUTHORIZATION state (RFC 1939 §4, RFC 2595 §4, RFC 5034 §4), up to a login. */
export class Authorization {
  readonly #options: AuthorizationOptions;
  readonly #session: SessionEnds;
  readonly #plaintextInClear: boolean;
  #secure: boolean;
  #phase: Phase = { kind: "command" };
  #authFailures = 0;
  #commands = 0;

  constructor(options: AuthorizationOptions, protection: Protection, session: SessionEnds) {
    this.#options = options;
    this.#session = session;
    this.#secure = protection.secure;
    this.#plaintextInClear = protection.plaintextInClear;
  }

  get wants(): "line" | "answer" {
    return this.#phase.kind === "waiting" ? "answer" : "line";
  }

  /**
   * Bound of the next line, its end included. It may be an AUTH with a token, which clients send in
   * one line however long it is; other commands are held to theirs.
   */
  get lineOctetsMax(): number {
    const { commandOctetsMax, saslOctetsMax } = this.#options.limits;
    return Math.max(commandOctetsMax, saslOctetsMax);
  }

  onLine(text: string): readonly Effect[] {
    const phase = this.#phase;
    switch (phase.kind) {
      case "sasl":
        return this.#onSaslResponse(text);
      case "command":
        return this.#onCommandLine(text, phase.userName);
      case "waiting":
        throw new Error("a line while a login is checked");
      default:
        return unreachable(phase);
    }
  }

  onLineTooLong(): readonly Effect[] {
    this.#phase = { kind: "command" };
    return this.#session.mistake(replies.lineTooLong);
  }

  step(input: AuthorizationInput): readonly Effect[] {
    this.#phase = { kind: "command" };
    switch (input.kind) {
      case "refused":
        return this.#onRefused(input.refusal);
      case "challenge":
        this.#phase = { kind: "sasl" };
        return [reply(replies.challenge(input.data))];
      case "malformed":
        return this.#session.mistake(replies.saslMalformed);
      case "secured":
        // RFC 2595 §4: what was said before is forgotten, a USER too.
        this.#secure = true;
        return [];
      default:
        return unreachable(input);
    }
  }

  /** What is offered: RFC 2449 §5, RFC 2595 §4 (no STLS under TLS, none behind a login). */
  capabilities(beforeLogin: boolean): Effect {
    const { authMethods, canSecure } = this.#options;
    const lines = this.#options.capabilities({
      methods: authMethods.filter((method) => this.#refusalOf(method) === undefined),
      stls: canSecure && !this.#secure && beforeLogin,
    });
    return reply(`+OK capabilities follow\r\n${lines.map((line) => `${line}\r\n`).join("")}.\r\n`);
  }

  #onCommandLine(text: string, userName: string | undefined): readonly Effect[] {
    if (++this.#commands > this.#options.limits.unauthenticatedCommandsMax) {
      return this.#session.end([reply(replies.needsLogin)], "misbehaved");
    }
    const octets = text.length + 2;
    if (octets > this.#options.limits.commandOctetsMax && !/^AUTH /i.test(text)) {
      return this.onLineTooLong();
    }
    const command = parseCommand(text);
    if (command.verb === "invalid") return this.#session.mistake(command.reply);
    // RFC 1939 §7: PASS is only good "immediately after a successful USER".
    this.#phase = { kind: "command" };
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
        return [this.capabilities(true)];
      case "QUIT":
        return this.#session.end([reply(replies.goodbye)], "quit");
      default:
        return [reply(replies.needsLogin)];
    }
  }

  /** RFC 2595 §4: only before a login, and only once. */
  #onStls(): readonly Effect[] {
    if (this.#secure) return [reply(replies.tlsAlready)];
    if (!this.#options.canSecure) return [reply(replies.tlsNotOffered)];
    this.#phase = { kind: "waiting" };
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
    this.#phase = { kind: "command", userName };
    // Also for names that nobody has: who they are is none of a stranger's business.
    return [reply(replies.sendPassword)];
  }

  #onPass(username: string | undefined, latin1: string): readonly Effect[] {
    if (username === undefined) return [reply(this.#refusalOf("USER") ?? replies.needsUser)];
    const password = decodeUtf8(latin1);
    if (password === undefined) return this.#onRefused({ kind: "denied" });
    this.#phase = { kind: "waiting" };
    return [{ kind: "authenticate", credentials: { method: "USER", username, password } }];
  }

  #onAuth(name: string, initial: string | undefined): readonly Effect[] {
    const mechanism = saslMechanisms.find((known) => known === name);
    if (mechanism === undefined) return [reply(replies.methodNotOffered)];
    const refusal = this.#refusalOf(mechanism);
    if (refusal !== undefined) return [reply(refusal)];
    const data = initial === undefined ? undefined : decodeInitial(initial);
    if (initial !== undefined && data === undefined)
      return this.#session.mistake(replies.saslMalformed);
    this.#phase = { kind: "waiting" };
    return [{ kind: "saslBegin", mechanism, ...(data !== undefined && { data }) }];
  }

  #onSaslResponse(text: string): readonly Effect[] {
    this.#phase = { kind: "command" };
    if (text === "*") return [reply(replies.saslCancelled)];
    const data = decodeBase64(text);
    if (data === undefined) return this.#session.mistake(replies.saslMalformed);
    this.#phase = { kind: "waiting" };
    return [{ kind: "saslRespond", data }];
  }

  #onRefused(refusal: Refusal): readonly Effect[] {
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
    return tooMany ? this.#session.end(effects, "misbehaved") : effects;
  }
}
