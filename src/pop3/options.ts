import type { Log } from "../shared/log.js";
import type {
  AuthAnswer,
  ConnectAnswer,
  Credentials,
  SessionInfo,
  SessionSummary,
} from "./maildrop.js";

/** Capabilities that can be hidden from CAPA. */
export type Capability =
  | "TOP"
  | "UIDL"
  | "PIPELINING"
  | "RESP-CODES"
  | "AUTH-RESP-CODE"
  | "UTF8"
  | "EXPIRE"
  | "IMPLEMENTATION";

export type AuthMethod = "USER" | "PLAIN";

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
  /** From the connection to a login. */
  readonly loginDeadlineMs: number;
  /** Between commands. RFC 1939 §3: at least 10 minutes. */
  readonly idleDeadlineMs: number;
  /** A client that does not read must take something within this time. */
  readonly writeStallMs: number;
  /** For `onConnect` and `onAuth`. */
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
  /** Before the greeting; may refuse a client, for example one that guesses passwords. */
  readonly onConnect?: (session: SessionInfo) => Promise<ConnectAnswer> | ConnectAnswer;
  /** After the maildrop was released and the connection closed. */
  readonly onClose?: (session: SessionInfo, summary: SessionSummary) => void;
  /** Default: both. */
  readonly authMethods?: readonly AuthMethod[];
  /** Not announced; what they stand for still works. */
  readonly hideCapabilities?: readonly Capability[];
  readonly log?: Log;
  readonly limits?: Partial<Pop3Limits>;
}

const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

export interface Settings {
  readonly greeting: string;
  readonly capabilities: readonly string[];
  readonly authMethods: readonly AuthMethod[];
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
  return {
    greeting: `+OK ${banner}\r\n`,
    capabilities: capabilitiesOf(name, authMethods, new Set(options.hideCapabilities)),
    authMethods,
    limits,
    log: options.log ?? silent,
  };
}

/** RFC 2449 §6, RFC 3206 §6, RFC 5034 §3, RFC 6856 §2. LOGIN-DELAY: there is none. */
function capabilitiesOf(
  name: string,
  authMethods: readonly AuthMethod[],
  hidden: ReadonlySet<Capability>,
): readonly string[] {
  const lines: string[] = [];
  const offer = (capability: Capability, line: string = capability) => {
    if (!hidden.has(capability)) lines.push(line);
  };
  offer("TOP");
  offer("UIDL");
  if (authMethods.includes("USER")) lines.push("USER");
  if (authMethods.includes("PLAIN")) lines.push("SASL PLAIN");
  offer("PIPELINING");
  offer("RESP-CODES");
  offer("AUTH-RESP-CODE");
  offer("UTF8", "UTF8 USER");
  offer("EXPIRE", "EXPIRE NEVER");
  offer("IMPLEMENTATION", `IMPLEMENTATION ${name}`);
  return lines;
}
