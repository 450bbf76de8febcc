/**
 * AUTH (RFC 4954) on one connection: base64, the order of things, and who the client is in the
 * end. What is said within a mechanism is the authenticator's. Knows no sockets.
 */
import {
  type AuthenticationResult,
  type Authenticator,
  type ClientOrigin,
  type Identity,
  isPlaintext,
  type SaslExchange,
  type SaslMechanism,
  saslMechanisms,
} from "../mailbox/authentication.js";
import type { Log } from "../shared/log.js";
import { unreachable } from "../shared/unreachable.js";
import { isLoopback } from "./early-talkers.js";
import type { SmtpLimits } from "./limits.js";
import { replies, type Reply } from "./replies.js";

/** Where passwords may be sent without TLS. */
export type PlainAuth = "loopback" | "always" | "never";

/** Is nobody on the way who could read along, or does the operator not mind? */
export function passwordsMayCome(
  plainAuth: PlainAuth,
  connection: {
    readonly secure: boolean;
    readonly remoteAddress: string;
    readonly localAddress: string;
  },
): boolean {
  const { secure, remoteAddress, localAddress } = connection;
  if (secure || plainAuth === "always") return true;
  return plainAuth === "loopback" && isLoopback(remoteAddress) && isLoopback(localAddress);
}

interface AuthenticationOptions {
  readonly authenticator: Authenticator;
  readonly origin: ClientOrigin;
  readonly limits: Pick<SmtpLimits, "authLineOctetsMax" | "authFailuresMax">;
  readonly log: Log;
  /** May passwords be shown on this connection as it is now? */
  readonly plaintextAllowed: () => boolean;
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export class Authentication {
  readonly #options: AuthenticationOptions;
  #identity: Identity | undefined;
  /** The exchange whose next line is the client's. */
  #exchange: SaslExchange | undefined;
  #failures = 0;

  constructor(options: AuthenticationOptions) {
    this.#options = options;
  }

  get identity(): Identity | undefined {
    return this.#identity;
  }

  /** True while the client's next line is not a command, but belongs to a mechanism. */
  get inExchange(): boolean {
    return this.#exchange !== undefined;
  }

  /** To be offered now: none once the client has said who it is (RFC 4954 §4). */
  get offered(): SaslMechanism[] {
    if (this.#identity !== undefined) return [];
    return saslMechanisms.filter((each) => this.#isAllowed(each));
  }

  /** RFC 3207 §4.2: what was known before TLS is forgotten. The failures are not. */
  forget(): void {
    this.#identity = undefined;
    this.#exchange = undefined;
  }

  /** Ends an exchange whose answer nobody waits for any more. */
  abandon(): void {
    this.#exchange = undefined;
  }

  /** `AUTH mechanism [initial-response]`. A reply at once, or a promise that never rejects. */
  begin(line: Buffer): Reply | Promise<Reply> {
    if (this.#identity !== undefined) return replies.authenticatedAlready;
    if (this.#failures >= this.#options.limits.authFailuresMax) return replies.tooManyDenials;
    const [, name, initial, ...rest] = line
      .toString("latin1")
      .trim()
      .split(/[ \t]+/);
    if (name === undefined || rest.length > 0) {
      return replies.parameterSyntax("syntax is AUTH mechanism [initial-response]");
    }
    const mechanism = saslMechanisms.find((each) => each === name.toUpperCase());
    if (mechanism === undefined) return replies.mechanismUnknown;
    if (!this.#isAllowed(mechanism)) return replies.encryptionRequired;
    if (initial === undefined) return this.#start(mechanism, undefined);
    const data = this.#decode(initial === "=" ? "" : initial);
    return Buffer.isBuffer(data) ? this.#start(mechanism, data) : data;
  }

  /** The client's next line within an exchange. */
  respond(line: Buffer): Reply | Promise<Reply> {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (exchange === undefined) return replies.unknownCommand;
    const text = line.toString("latin1");
    if (text === "*") return replies.authenticationCancelled;
    const data = this.#decode(text);
    return Buffer.isBuffer(data) ? this.#proceed(exchange, data) : data;
  }

  /** A line of an exchange that is over the limit ends it. */
  lineTooLong(): Reply {
    this.#exchange = undefined;
    return replies.authenticationLineTooLong;
  }

  #isAllowed(mechanism: SaslMechanism): boolean {
    return !isPlaintext(mechanism) || this.#options.plaintextAllowed();
  }

  #decode(text: string): Buffer | Reply {
    if (text.length > this.#options.limits.authLineOctetsMax) return this.lineTooLong();
    if (!base64.test(text)) return replies.authenticationSyntax("not base64");
    return Buffer.from(text, "base64");
  }

  #start(mechanism: SaslMechanism, initial: Buffer | undefined): Promise<Reply> {
    const { authenticator, origin } = this.#options;
    return this.#proceed(authenticator.begin(mechanism, origin), initial);
  }

  async #proceed(exchange: SaslExchange, data: Buffer | undefined): Promise<Reply> {
    this.#exchange = exchange;
    const answer = await exchange.respond(data);
    // Given up meanwhile: the client has its reply, and is nobody.
    if (this.#exchange !== exchange) return replies.authenticationLater;
    if (answer.kind === "challenge") return replies.challenge(answer.data);
    this.#exchange = undefined;
    if (answer.kind === "malformed") return replies.authenticationSyntax("not what was asked for");
    return this.#conclude(answer.result);
  }

  #conclude(result: AuthenticationResult): Reply {
    const { log, origin } = this.#options;
    const client = origin.address;
    switch (result.kind) {
      case "granted":
        this.#identity = result.identity;
        log.info({ client, mailbox: result.identity.mailbox }, "client authenticated");
        return replies.authenticated;
      case "denied":
        this.#failures += 1;
        log.info({ client, failures: this.#failures }, "authentication failed");
        return replies.denied;
      case "throttled":
        log.info({ client }, "authentication throttled");
        return replies.throttled(result.retryAfterMs);
      case "tempfail":
        return replies.authenticationLater;
      default:
        return unreachable(result);
    }
  }
}
