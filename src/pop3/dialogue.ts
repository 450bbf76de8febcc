/** What goes into the session and what comes out of it. */
import type { Line } from "./lines.js";
import type { SaslMechanism } from "./authentication.js";
import type {
  AuthAnswer,
  CommitAnswer,
  Credentials,
  EndReason,
  MaildropMessage,
} from "./maildrop.js";

/** A login that was not. */
export type Refusal = Exclude<AuthAnswer, { readonly kind: "open" }>;

/** What happens to a session, one at a time. Lines only while `wants` is "line". */
export type Input =
  | Line
  /** Answers to the effects of the same name. */
  | { readonly kind: "authenticated"; readonly messages: readonly MaildropMessage[] }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "challenge"; readonly data: Buffer }
  | { readonly kind: "malformed" }
  | { readonly kind: "secured" }
  | { readonly kind: "opened"; readonly octets: number }
  | { readonly kind: "openFailed" }
  | { readonly kind: "transmitted" }
  | { readonly kind: "committed"; readonly answer: CommitAnswer }
  /** Instead of a line. */
  | { readonly kind: "deadline" }
  | { readonly kind: "shutdown" };

/** What the server has to do, in order. */
export type Effect =
  | { readonly kind: "reply"; readonly text: string }
  /** A reply made while it is sent: pieces of lines, its end included. */
  | { readonly kind: "listing"; readonly pieces: Iterable<string> }
  /** USER and PASS. Answer `authenticated` or `refused`. */
  | { readonly kind: "authenticate"; readonly credentials: Credentials }
  /** Begin a SASL exchange, and go on with it: answer also `challenge` or `malformed`. */
  | { readonly kind: "saslBegin"; readonly mechanism: SaslMechanism; readonly data?: Buffer }
  | { readonly kind: "saslRespond"; readonly data: Buffer }
  /** Begin TLS when all replies are out and whatever came before is forgotten. `secured`. */
  | { readonly kind: "startTls" }
  /** Read the message's first octets: answer `opened` or `openFailed`. */
  | { readonly kind: "open"; readonly index: number }
  /** Send what was opened, stuffed and terminated; `lines`: TOP's. Answer `transmitted`. */
  | { readonly kind: "transmit"; readonly lines: number | undefined }
  | { readonly kind: "commit"; readonly removed: readonly number[] }
  /** Give the maildrop up before going on. */
  | { readonly kind: "release" }
  | { readonly kind: "close"; readonly reason: EndReason };
