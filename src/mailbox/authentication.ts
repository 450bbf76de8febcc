/** What the listeners ask when a client says who it is. */
import type { MailboxName } from "../shared/ids.js";
import type { Folder } from "./folders.js";

/** Who a client has proved to be. */
export interface Identity {
  readonly mailbox: MailboxName;
  /** Which maildrop a POP3 session opens: `alice`, `alice/outbox` …, or `alice/queue/orders`. */
  readonly folder: Folder | "queue";
  /** The queue's name, where `folder` is "queue"; or `?` and several. */
  readonly queue?: string;
}

/** Where a client comes from, for counting tries. */
export interface ClientOrigin {
  /** IP address, without a port. */
  readonly address: string;
  /** `command`: of a member's operator; has no address. */
  readonly protocol: "smtp" | "pop3" | "command";
  /** Aborted when nobody waits for the answer any more: it ends the delay of a refusal. */
  readonly signal?: AbortSignal;
}

export type AuthenticationResult =
  | { readonly kind: "granted"; readonly identity: Identity }
  /** Wrong password, unknown user, disabled account, bad token: indistinguishable, also in time. */
  | { readonly kind: "denied" }
  /** Too many tries of this account or from this address; nothing was checked. */
  | { readonly kind: "throttled"; readonly retryAfterMs: number }
  | { readonly kind: "tempfail" };

/** In order of preference; what is offered depends on the connection (see `plain`). */
export const saslMechanisms = [
  "SCRAM-SHA-256",
  "OAUTHBEARER",
  "XOAUTH2",
  "PLAIN",
  "LOGIN",
] as const;
export type SaslMechanism = (typeof saslMechanisms)[number];

export type SaslReply =
  /** To be sent to the client (in base64); its next line goes to `respond`. */
  | { readonly kind: "challenge"; readonly data: Buffer }
  | { readonly kind: "done"; readonly result: AuthenticationResult }
  /** Not what the mechanism says: a syntax error, no try. Ends the exchange. */
  | { readonly kind: "malformed" };

/** One SASL exchange (RFC 4422). The listener decodes base64 and knows `*`; nothing else. */
export interface SaslExchange {
  /** `undefined`: no initial response was given. Never rejects. */
  respond(data: Buffer | undefined): Promise<SaslReply>;
}

export interface Authenticator {
  /** USER and PASS. Never rejects. */
  password(username: string, password: string, from: ClientOrigin): Promise<AuthenticationResult>;
  begin(mechanism: SaslMechanism, from: ClientOrigin): SaslExchange;
}

/** True for mechanisms that show the password or token to whoever reads the line. */
export function isPlaintext(mechanism: SaslMechanism): boolean {
  return mechanism !== "SCRAM-SHA-256";
}

export type SenderAnswer = "allowed" | "refused" | "undecided";

/** Whether an account may send as an address: its own, a subaddress of it, or an alias to it. */
export interface Senders {
  maySend(identity: Identity, address: string): Promise<SenderAnswer>;
}
