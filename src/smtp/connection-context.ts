/** What all connections of an SMTP server share. */
import type net from "node:net";
import type { TLSSocket } from "node:tls";
import type { Authenticator } from "../mailbox/authentication.js";
import type { Log } from "../shared/log.js";
import type { TlsContexts } from "../shared/tls.js";
import type { PlainAuth } from "./authentication.js";
import type { EarlyTalkers } from "./early-talkers.js";
import type { BodyContext } from "./incoming-body.js";
import type { SmtpLimits } from "./limits.js";
import type { TransactionContext } from "./transaction.js";

export interface ConnectionContext extends TransactionContext, BodyContext {
  readonly limits: SmtpLimits;
  readonly log: Log;
  readonly nodeText: string | undefined;
  readonly earlyTalkers: EarlyTalkers;
  readonly tls: TlsContexts | undefined;
  /** TLS is spoken from the first octet. */
  readonly implicitTls: boolean;
  /** Present where users hand in their mail; `senders` is then, too. */
  readonly authenticator: Authenticator | undefined;
  readonly plainAuth: PlainAuth;
  /** A socket has another one on top of it from now on. */
  readonly wrapped: (plain: net.Socket, secure: TLSSocket) => void;
  /** True from the moment the server closes: what runs may end, nothing new begins. */
  readonly isClosing: () => boolean;
  /** Milliseconds that never go back. */
  readonly nowMs: () => number;
  /** Work that has to end before the server is closed: spool files being removed. */
  readonly track: (work: Promise<void>) => void;
}
