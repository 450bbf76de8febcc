import type { Log } from "../shared/log.js";
import type { TlsContexts } from "../shared/tls.js";
import type { AuthMethod, PlainAuth, SaslExchange, SaslMechanism } from "./authentication.js";
import { type Capability, capabilityLines, type Offer } from "./capabilities.js";
import type {
  AuthAnswer,
  ConnectAnswer,
  Credentials,
  SessionInfo,
  SessionSummary,
} from "./maildrop.js";

/** Bounds of one server. */
export interface Pop3Limits {
  /** Connections at a time, in all and from one address; more are told `-ERR [SYS/TEMP]`. */
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** A command line with its CRLF. RFC 2449 §4 asks for 255. */
  readonly commandOctetsMax: number;
  /** A line of a SASL exchange; RFC 5034 §4 leaves the bound to the mechanism. */
  readonly saslOctetsMax: number;
  /** Unknown or malformed commands, failed logins, commands without a login: then it closes. */
  readonly errorsMax: number;
  readonly authFailuresMax: number;
  readonly unauthenticatedCommandsMax: number;
  /** From the connection to a login, TLS handshakes included. */
  readonly loginDeadlineMs: number;
  /** For a TLS handshake. */
  readonly handshakeDeadlineMs: number;
  /** From the connection to its end: who stays longer is logged out between two commands. */
  readonly sessionDeadlineMs: number;
  /** Between commands. RFC 1939 §3: at least 10 minutes. */
  readonly idleDeadlineMs: number;
  /** A client that does not read must take something within this time. */
  readonly writeStallMs: number;
  /** For `onConnect`, `onAuth`, and each step of `onSasl`'s exchange. */
  readonly authDeadlineMs: number;
  /** For `retrieve`, and for each piece of a body. */
  readonly readDeadlineMs: number;
  readonly commitDeadlineMs: number;
  readonly releaseDeadlineMs: number;
  /** How long a connection waits for the client's end after the last reply. */
  readonly lingerMs: number;
}

export const defaultLimits: Pop3Limits = {
  connectionsMax: 1_000,
  connectionsPerAddressMax: 100,
  commandOctetsMax: 512,
  saslOctetsMax: 12_288,
  errorsMax: 50,
  authFailuresMax: 10,
  unauthenticatedCommandsMax: 50,
  loginDeadlineMs: 60_000,
  handshakeDeadlineMs: 30_000,
  sessionDeadlineMs: 86_400_000,
  idleDeadlineMs: 600_000,
  writeStallMs: 120_000,
  authDeadlineMs: 30_000,
  readDeadlineMs: 30_000,
  commitDeadlineMs: 30_000,
  releaseDeadlineMs: 5_000,
  lingerMs: 2_000,
};

/** Options of `createPop3Server`, in the manner of the package `smtp-server`. */
export interface Pop3ServerOptions {
  /** Shown in the greeting and by CAPA's IMPLEMENTATION: printable ASCII without spaces. */
  readonly name?: string;
  /** Replaces the greeting's text. One line of printable ASCII; no `<`, that would offer APOP. */
  readonly banner?: string;
  /**
   * Checks credentials and opens the maildrop. A throw or a missed deadline is `tempfail`. An open
   * maildrop that nobody waits for any more is released by the server.
   */
  readonly onAuth: (credentials: Credentials, session: SessionInfo) => Promise<AuthAnswer>;
  /**
   * Begins a SASL exchange, of one of `authMethods`. Without it, PLAIN is checked by `onAuth`; the
   * other mechanisms need it.
   */
  readonly onSasl?: (mechanism: SaslMechanism, session: SessionInfo) => SaslExchange;
  /** Certificates, asked for at each handshake. Without them there is no STLS. */
  readonly tls?: TlsContexts;
  /** TLS from the first octet (RFC 8314 §3.3, port 995) instead of STLS. */
  readonly implicitTls?: boolean;
  /**
   * Where passwords and tokens are taken without TLS; RFC 2595 §2.3 asks for the choice. Default:
   * `loopback`, on connections within this machine.
   */
  readonly plainAuth?: PlainAuth;
  /** Before the greeting; may refuse a client, for example one that guesses passwords. */
  readonly onConnect?: (session: SessionInfo) => Promise<ConnectAnswer> | ConnectAnswer;
  /** After the maildrop was released and the connection closed. */
  readonly onClose?: (session: SessionInfo, summary: SessionSummary) => void;
  /** Default: USER and PLAIN. What shows a password is offered where `plainAuth` allows. */
  readonly authMethods?: readonly AuthMethod[];
  /** Not announced; what they stand for still works. */
  readonly hideCapabilities?: readonly Capability[];
  readonly log?: Log;
  readonly limits?: Partial<Pop3Limits>;
}

const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

export interface Settings {
  readonly greeting: string;
  readonly capabilities: (offer: Offer) => readonly string[];
  readonly authMethods: readonly AuthMethod[];
  readonly plainAuth: PlainAuth;
  readonly canSecure: boolean;
  readonly implicitTls: boolean;
  readonly limits: Pop3Limits;
  readonly log: Log;
}

/**
 * Fills in defaults.
 * @throws RangeError for a name, banner or limit that can't be.
 */
export function settingsOf(options: Pop3ServerOptions): Settings {
  const name = options.name ?? "ringpost";
  const banner = options.banner ?? `${name} POP3 server ready`;
  if (!/^[!-~]{1,64}$/.test(name)) throw new RangeError(`name: not printable: ${name}`);
  // RFC 1939 §7: an angle bracket would be taken for the timestamp that offers APOP.
  if (!/^[ -;=-~]{1,400}$/.test(banner)) throw new RangeError(`banner: not printable: ${banner}`);
  const limits = { ...defaultLimits, ...options.limits };
  for (const [key, value] of Object.entries(limits)) {
    if (!(value > 0)) throw new RangeError(`limits.${key}: not positive: ${value}`);
  }
  if (limits.commandOctetsMax < 255) throw new RangeError("limits.commandOctetsMax: under 255");
  const authMethods = options.authMethods ?? ["USER", "PLAIN"];
  if (authMethods.length === 0) throw new RangeError("authMethods: none");
  const unchecked = authMethods.find((method) => method !== "USER" && method !== "PLAIN");
  if (options.onSasl === undefined && unchecked !== undefined) {
    throw new RangeError(`authMethods: ${unchecked} needs onSasl`);
  }
  const implicitTls = options.implicitTls ?? false;
  if (implicitTls && options.tls === undefined) throw new RangeError("implicitTls: needs tls");
  const hidden = new Set(options.hideCapabilities);
  return {
    greeting: `+OK ${banner}\r\n`,
    capabilities: (offer) => capabilityLines(name, hidden, offer),
    authMethods,
    plainAuth: options.plainAuth ?? "loopback",
    canSecure: options.tls !== undefined,
    implicitTls,
    limits,
    log: options.log ?? silent,
  };
}
