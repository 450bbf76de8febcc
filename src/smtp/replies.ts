import { unreachable } from "../shared/unreachable.js";
import type { BodyRefusal } from "./incoming-body.js";
import type { SmtpLimits } from "./limits.js";

/** Replies: RFC 5321 §4.2, with the enhanced status codes of RFC 3463 and RFC 2034. */
export interface Reply {
  readonly code: number;
  /** Enhanced status code; absent where RFC 2034 §3 wants none (220, 354, EHLO's 250). */
  readonly status?: string;
  readonly text: string;
}

function reply(code: number, status: string, text: string): Reply {
  return { code, status, text };
}

export const replies = {
  senderOk: reply(250, "2.1.0", "sender ok"),
  recipientOk: reply(250, "2.1.5", "recipient ok"),
  noop: reply(250, "2.0.0", "ok"),
  reset: reply(250, "2.0.0", "ok, nothing pending"),
  bye: reply(221, "2.0.0", "bye"),
  help: reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT"),
  verify: reply(252, "2.5.0", "can't verify, but will try to deliver"),
  startMail: { code: 354, text: "end data with <CR><LF>.<CR><LF>" } satisfies Reply,

  senderSyntax: (why: string) => reply(501, "5.1.7", `sender: ${why}`),
  recipientSyntax: (why: string) => reply(501, "5.1.3", `recipient: ${why}`),
  parameterSyntax: (why: string) => reply(501, "5.5.4", why),
  parameterUnknown: (keyword: string) => reply(555, "5.5.4", `unknown parameter ${keyword}`),
  needsUtf8: reply(553, "5.6.7", "address needs SMTPUTF8"),
  sequence: (why: string) => reply(503, "5.5.1", why),
  unknownCommand: reply(500, "5.5.2", "command not recognized"),
  notImplemented: reply(502, "5.5.1", "command not implemented"),
  notAllowed: reply(550, "5.7.1", "not allowed"),
  lineTooLong: reply(500, "5.5.2", "line too long"),

  unknownUser: reply(550, "5.1.1", "no such user here"),
  disabled: reply(550, "5.2.1", "mailbox disabled"),
  aliasLoop: reply(550, "5.4.6", "this address leads back to itself, or too far"),
  overQuota: reply(452, "4.2.2", "mailbox full, try again later"),
  relay: reply(550, "5.7.1", "relaying denied"),
  wayOutClosed: reply(
    550,
    "5.7.1",
    "no mail to other domains from here; its operator can allow it with --relay and --relay-rate",
  ),
  addressLiteral: reply(550, "5.7.1", "no mail to address literals from here"),
  tooMuchSent: reply(450, "4.7.1", "you have sent too much to other domains, try again later"),
  outgoingFull: reply(452, "4.3.1", "too much mail waits to leave, try again later"),
  undecided: reply(451, "4.3.0", "can't tell now, try again later"),
  senderNotYours: reply(553, "5.7.1", "not an address of yours"),
  tooManyRecipients: reply(452, "4.5.3", "too many recipients"),
  ringAlone: reply(452, "4.5.3", "the ring is the only recipient of its mail; send others another"),

  stored: (id: string, copies: number, copiesWanted: number) =>
    reply(250, "2.0.0", `${id} stored=${copies}/${copiesWanted}`),
  tempfail: (why: string) => reply(451, "4.3.0", why),
  full: reply(452, "4.3.1", "no space left, try again later"),
  tooLarge: (octetsMax: number) => reply(552, "5.3.4", `a mail has at most ${octetsMax} octets`),
  headerTooLarge: (octetsMax: number) =>
    reply(552, "5.3.4", `a header has at most ${octetsMax} octets`),
  tooManyHops: reply(554, "5.4.6", "this mail has come through too many servers: a loop?"),
  bareLineEnd: reply(550, "5.5.2", "bare CR or LF in data"),

  startTls: reply(220, "2.0.0", "ready to start TLS"),
  tlsActive: reply(503, "5.5.1", "TLS is active"),

  // RFC 4954 §4 and §6.
  challenge: (data: Buffer): Reply => ({ code: 334, text: data.toString("base64") }),
  authenticated: reply(235, "2.7.0", "authenticated"),
  authenticationRequired: reply(530, "5.7.0", "authentication required"),
  authenticatedAlready: reply(503, "5.5.1", "authenticated already"),
  encryptionRequired: reply(538, "5.7.11", "encryption required for this mechanism"),
  mechanismUnknown: reply(504, "5.5.4", "mechanism not offered"),
  authenticationCancelled: reply(501, "5.7.0", "authentication cancelled"),
  authenticationSyntax: (why: string) => reply(501, "5.5.2", why),
  authenticationLineTooLong: reply(500, "5.5.6", "line of the exchange is too long"),
  denied: reply(535, "5.7.8", "authentication failed"),
  authenticationLater: reply(454, "4.7.0", "can't tell now, try again later"),
  throttled: (retryAfterMs: number) =>
    reply(421, "4.7.0", `too many tries, come again in ${Math.ceil(retryAfterMs / 1_000)} s`),
  tooManyDenials: reply(421, "4.7.0", "authentication failed too often"),
  tooManyCommandsBeforeAuth: reply(421, "4.7.0", "too many commands before AUTH"),
  tooManyCommands: reply(421, "4.7.0", "too many commands without a mail"),
  tooManyErrors: reply(421, "4.7.0", "too many errors"),

  // RFC 5321 §3.1: 554 instead of the greeting.
  talkedFirst: reply(554, "5.5.1", "you talked before the greeting"),
  tooManyConnections: reply(421, "4.7.0", "too many connections, try again later"),
  timeout: reply(421, "4.4.2", "timeout, closing connection"),
  closing: reply(421, "4.3.2", "server is shutting down"),
} as const;

/** Why the data of a mail was not taken. */
export function bodyRefused(
  refusal: BodyRefusal | "bareLineEnd" | "tooManyHops",
  limits: Pick<SmtpLimits, "messageOctetsMax" | "headerOctetsMax">,
): Reply {
  switch (refusal) {
    case "bareLineEnd":
      return replies.bareLineEnd;
    case "tooManyHops":
      return replies.tooManyHops;
    case "tooLarge":
      return replies.tooLarge(limits.messageOctetsMax);
    case "headerTooLarge":
      return replies.headerTooLarge(limits.headerOctetsMax);
    case "full":
      return replies.full;
    case "failed":
      return replies.tempfail("can't store it now, try again later");
    default:
      return unreachable(refusal);
  }
}

/** A reply as it goes out. Several lines make a multi-line reply (RFC 5321 §4.2.1). */
export function formatReply(code: number, status: string, lines: readonly string[]): string {
  const last = lines.length - 1;
  return lines
    .map((text, index) => {
      // Texts may quote the client or another node; neither may begin a line of its own.
      // A challenge is base64 and whole, or it is nothing.
      const safe = code === 334 ? text : oneLine(text).slice(0, 400);
      return `${code}${index < last ? "-" : " "}${status === "" ? "" : `${status} `}${safe}\r\n`;
    })
    .join("");
}

function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\u2028\u2029]/gu, " ");
}
