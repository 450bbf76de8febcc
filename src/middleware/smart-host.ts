/** The one mail server that takes what leaves the ring, as an SMTP client sees it. */
import nodemailer from "nodemailer";
import type { Log } from "../shared/log.js";

export interface SmartHostOptions {
  readonly host: string;
  readonly port: number;
  /** In EHLO. */
  readonly hostName: string;
  readonly credentials?: { readonly user: string; readonly password: string };
  /**
   * `opportunistic`: encrypted where it is offered, whoever it may be (RFC 7435). `required`: with a
   * certificate that is checked, or not at all. Port 465 is TLS from the first octet (RFC 8314 §3.3).
   */
  readonly tls: "opportunistic" | "required";
  readonly connectionsMax: number;
  /** Envelope sender where the null sender is refused. */
  readonly bounces: string;
  readonly log: Log;
}

export type SendOutcome =
  /** It has said 250 to all of the mail: it is its mail now. */
  | { readonly kind: "taken"; readonly reply: string }
  /** 4yz about this mail or its recipient. */
  | { readonly kind: "later"; readonly why: string }
  /** 5yz about this mail or its recipient: no other try will help. */
  | { readonly kind: "never"; readonly why: string }
  /** Not to be reached, or it takes nothing of ours now: it was not about this mail. */
  | { readonly kind: "away"; readonly why: string };

export interface SmartHost {
  /** Never rejects. */
  send(mail: { readonly to: string; readonly octets: Buffer }): Promise<SendOutcome>;
  /** Breaks off what is under way. */
  close(): void;
}

/** RFC 5321 §4.5.3.2: a client that gives up sooner on the last reply makes doubles (RFC 1047). */
const lastReplyMs = 10 * 60 * 1_000;
const connectMs = 30_000;
const greetingMs = 5 * 60 * 1_000;
const idleMs = 30_000;
const mailsPerConnection = 1_000;
const whyCharsMax = 300;

export function createSmartHost(options: SmartHostOptions): SmartHost {
  const { host, port, hostName, credentials, tls, connectionsMax, bounces, log } = options;
  const transport = nodemailer.createTransport({
    ...{ pool: true, host, port, name: hostName, secure: port === 465 },
    ...{ maxConnections: connectionsMax, maxMessages: mailsPerConnection, idleTimeout: idleMs },
    // What is tried again, and when, is decided in one place, and not here.
    maxRequeues: 0,
    ...(tls === "required"
      ? { requireTLS: port !== 465 }
      : { opportunisticTLS: true, tls: { rejectUnauthorized: false } }),
    ...(credentials && { auth: { user: credentials.user, pass: credentials.password } }),
    ...{ connectionTimeout: connectMs, greetingTimeout: greetingMs, socketTimeout: lastReplyMs },
    ...{ disableFileAccess: true, disableUrlAccess: true },
  });
  // Each of them is the outcome of some mail as well.
  transport.on("error", (error) => log.debug({ error: String(error) }, "smart host"));
  /**
   * The null sender, so that no answer of ours is ever answered by a machine (RFC 3834 §3.3, RFC 5321
   * §4.5.5); some submission services want a sender that they know.
   */
  let from: string | false = false;
  const sendOnce = async (to: string, octets: Buffer): Promise<SendOutcome> => {
    try {
      const { response } = await transport.sendMail({ envelope: { from, to }, raw: octets });
      return { kind: "taken", reply: oneLine(response) };
    } catch (error) {
      return outcomeOf(error as SmtpFailure);
    }
  };
  return {
    async send({ to, octets }) {
      const outcome = await sendOnce(to, octets);
      if (outcome.kind !== "away" || !("senderRefused" in outcome) || from !== false) {
        return outcome;
      }
      log.info({ from: bounces }, "the smart host takes no null sender; this is used instead");
      from = bounces;
      return await sendOnce(to, octets);
    },
    close: () => transport.close(),
  };
}

/** What nodemailer says of a failed try. */
interface SmtpFailure {
  readonly message: string;
  readonly code?: string;
  readonly command?: string;
  readonly response?: string;
  readonly responseCode?: number;
}

type Outcome = SendOutcome | { readonly kind: "away"; why: string; readonly senderRefused: true };

/** RFC 5321 §4.2.1; what was not said about this mail is about the smart host. */
function outcomeOf({ message, command, response, responseCode, code }: SmtpFailure): Outcome {
  const why = oneLine(response ?? message);
  // An address or a mail that can't be said in SMTP to this server at all.
  if (responseCode === undefined && (code === "EENVELOPE" || code === "EMESSAGE")) {
    return { kind: "never", why };
  }
  if (responseCode === undefined || responseCode === 421) return { kind: "away", why };
  const isPermanent = responseCode >= 500 && responseCode !== 503;
  if (command === "RCPT TO" || command === "DATA") {
    return { kind: isPermanent ? "never" : "later", why };
  }
  if (command !== "MAIL FROM") return { kind: "away", why };
  // RFC 1870 §6.2: 452 and 552 are about the size that was announced.
  if (responseCode === 552) return { kind: "never", why };
  if (isPermanent) return { kind: "away", why, senderRefused: true };
  return { kind: "away", why };
}

const oneLine = (text: string): string => text.replace(/[\s\p{Cc}]+/gu, " ").slice(0, whyCharsMax);
