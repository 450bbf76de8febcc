/** What the server asks of the application: a login answers with a maildrop, an object. */

/** One message of a maildrop's snapshot. */
export interface MaildropMessage {
  /** Unique-id, RFC 1939 §7: 1 to 70 octets in the range 0x21 to 0x7E, never used again. */
  readonly uid: string;
  /** Exact octets of the message, before dot-stuffing. */
  readonly octets: number;
}

/** A message's octets: in memory, or in pieces as they are read. */
export type MessageBody = Buffer | AsyncIterable<Buffer>;

export type CommitAnswer =
  /** Every deletion asked for is durable. */
  | { readonly kind: "removed" }
  /** Nothing was removed. `why` is one line, shown to the client. */
  | { readonly kind: "tempfail"; readonly why: string };

/** An open, locked maildrop (RFC 1939 §4 and §5). Indexes are 0-based: message number minus 1. */
export interface Maildrop {
  /** Frozen at login; message number n is `messages[n - 1]`. */
  readonly messages: readonly MaildropMessage[];
  /** Aborted when the lock was lost: RETR goes on, a QUIT with deletions removes nothing. */
  readonly lost?: AbortSignal;
  /**
   * The message's octets, exactly `messages[index].octets` of them; a body that is longer or
   * shorter counts as a failed read. An iterator's `return()` is called when TOP has enough or the
   * client goes away. A piece's memory may be used again once the next one is asked for, and should
   * be: fresh buffers pile up until the collector runs. `signal` is aborted when nobody waits for
   * the body any more.
   * @throws when it can't be read now; the client is told `-ERR [SYS/TEMP]`.
   */
  retrieve(index: number, signal: AbortSignal): Promise<MessageBody> | MessageBody;
  /**
   * Makes deletions durable: once, at QUIT (RFC 1939 §6), and only when there is something to
   * remove. `removed` ascends. `signal` is aborted at the deadline, not when the client goes away.
   */
  commit(removed: readonly number[], signal: AbortSignal): Promise<CommitAnswer>;
  /** Gives the lock up. Called exactly once, however the session ends. */
  release(): Promise<void> | void;
}

export interface Credentials {
  readonly method: "USER" | "PLAIN";
  /** As the client sent it, UTF-8 decoded (RFC 6856 §2.2); not normalized. */
  readonly username: string;
  readonly password: string;
}

export type AuthAnswer =
  /** `username`: who it is, for the log; needed where SASL tells it, default: as in USER. */
  | { readonly kind: "open"; readonly maildrop: Maildrop; readonly username?: string }
  /** Wrong password or unknown user, indistinguishable: `-ERR [AUTH]`, RFC 3206 §5. */
  | { readonly kind: "denied" }
  /** Another session has the maildrop: `-ERR [IN-USE]`, RFC 2449 §8.1.2. */
  | { readonly kind: "inUse" }
  /**
   * Too many tries, nothing was checked: `-ERR [SYS/TEMP]`. Not `[AUTH]`, by which a client drops a
   * password that may be right and asks its user for another (RFC 3206 §5); this one goes away by
   * itself. It counts as a failed login of the connection.
   */
  | { readonly kind: "throttled"; readonly retryAfterMs: number }
  /** Can't tell now: `-ERR [SYS/TEMP]`, RFC 3206 §4. */
  | { readonly kind: "tempfail" };

/** How a session is protected. */
export interface TlsInfo {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly version: string;
  /** As the TLS library names it, for example `TLS_AES_256_GCM_SHA384`. */
  readonly cipher: string;
}

export type ConnectAnswer =
  | { readonly kind: "accept" }
  /** `why` is one line, shown to the client behind `-ERR [SYS/TEMP]`. */
  | { readonly kind: "refuse"; readonly why: string };

/** What is known of a client's session; the same object for its whole life, STLS changes it. */
export interface SessionInfo {
  readonly id: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** TLS is on: from the first octet, or since STLS. */
  readonly secure: boolean;
  /** Set when `secure`. */
  readonly tls: TlsInfo | undefined;
  /** Aborted when the session is over: the client is gone or was sent away. */
  readonly signal: AbortSignal;
}

/** The same, as the server sees it. */
export type OwnSessionInfo = { -readonly [K in keyof SessionInfo]: SessionInfo[K] };

export type EndReason =
  | "quit"
  | "disconnected"
  /** No command for `idleDeadlineMs`, no login within `loginDeadlineMs`, or `sessionDeadlineMs`. */
  | "autologout"
  /** The client did not read for `writeStallMs`. */
  | "stalled"
  /** A body failed in the middle; the connection was cut so that it can't be taken for whole. */
  | "bodyFailed"
  /** The TLS handshake failed or was not done in time. */
  | "tlsFailed"
  /** Too many errors, failed logins or commands without a login. */
  | "misbehaved"
  | "refused"
  | "shutdown"
  | "failed";

export interface SessionSummary {
  readonly reason: EndReason;
  /** The name that logged in, if one did. */
  readonly username?: string;
  /** Messages sent whole by RETR. */
  readonly retrieved: number;
  /** Messages whose removal was committed. */
  readonly removed: number;
}
