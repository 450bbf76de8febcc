/** The one mail server that takes what leaves the ring, as an SMTP client sees it. */
import type { Log } from "../shared/log.js";
import { SmtpLink, type SmtpFailure } from "./smtp-link.js";

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
  /** `from`: "" for the null sender. Never rejects. */
  send(mail: {
    readonly from: string;
    readonly to: string;
    readonly octets: Buffer;
  }): Promise<SendOutcome>;
  /** Breaks off what is under way. */
  close(): void;
}

const idleMs = 30_000;
const whyCharsMax = 300;

export function createSmartHost(options: SmartHostOptions): SmartHost {
  return new PooledSmartHost(options);
}

class PooledSmartHost implements SmartHost {
  private readonly links = new Set<SmtpLink>();
  /** Without a mail, the one used last at the end. */
  private readonly idle: SmtpLink[] = [];
  private isClosed = false;
  /**
   * The null sender, so that no answer of ours is ever answered by a machine (RFC 3834 §3.3, RFC 5321
   * §4.5.5); some submission services want a sender that they know.
   */
  private nullSender = "";

  constructor(private readonly options: SmartHostOptions) {}

  async send({ from, to, octets }: Parameters<SmartHost["send"]>[0]): Promise<SendOutcome> {
    const { bounces, log } = this.options;
    if (from !== "") return ofSender(await this.sendAs(from, to, octets));
    const { nullSender } = this;
    const outcome = await this.sendAs(nullSender, to, octets);
    if (outcome.ofSender !== "never" || nullSender !== "") return outcome;
    log.info({ from: bounces }, "the smart host takes no null sender; this is used instead");
    this.nullSender = bounces;
    return await this.sendAs(bounces, to, octets);
  }

  close(): void {
    this.isClosed = true;
    for (const link of this.links) link.close();
  }

  private async sendAs(from: string, to: string, octets: Buffer): Promise<Outcome> {
    if (this.isClosed) return { kind: "away", why: "closed" };
    let link: SmtpLink | undefined;
    try {
      link = this.idle.pop() ?? (await this.connect());
      const reply = await link.send({ from, to, octets });
      this.keep(link);
      return { kind: "taken", reply: oneLine(reply) };
    } catch (error) {
      // After a refusal nobody knows in which state the server is.
      link?.close();
      return outcomeOf(error as SmtpFailure);
    }
  }

  private async connect(): Promise<SmtpLink> {
    const link = new SmtpLink(this.options, () => this.forget(link));
    this.links.add(link);
    try {
      await link.connect();
      return link;
    } catch (error) {
      link.close();
      throw error;
    }
  }

  private keep(link: SmtpLink): void {
    if (this.isClosed || link.isBroken) return link.close();
    this.idle.push(link);
    link.quitAfter(idleMs);
  }

  private forget(link: SmtpLink): void {
    this.links.delete(link);
    const index = this.idle.indexOf(link);
    if (index >= 0) this.idle.splice(index, 1);
  }
}

/** `ofSender`: what the smart host said of the sender, whom all mails of the ring itself have in common. */
type Outcome = SendOutcome & { readonly ofSender?: "later" | "never" };

/** Of a user's mail: another one's may be taken. */
const ofSender = (outcome: Outcome): SendOutcome =>
  outcome.kind === "away" && outcome.ofSender ? { ...outcome, kind: outcome.ofSender } : outcome;

/** Whatever the command: it goes; it wants a login (RFC 4954 §6) or TLS (RFC 3207 §4) first. */
const ofSession: ReadonlySet<number> = new Set([421, 530]);

/** RFC 5321 §4.2.1; what was not said about this mail is about the smart host. */
function outcomeOf({ message, command, response, responseCode, code }: SmtpFailure): Outcome {
  const why = oneLine(response ?? message);
  // An address or a mail that can't be said in SMTP to this server at all.
  if (responseCode === undefined && (code === "EENVELOPE" || code === "EMESSAGE")) {
    return { kind: "never", why };
  }
  if (responseCode === undefined || ofSession.has(responseCode)) return { kind: "away", why };
  const isPermanent = responseCode >= 500 && responseCode !== 503;
  if (command === "RCPT TO" || command === "DATA") {
    return { kind: isPermanent ? "never" : "later", why };
  }
  if (command !== "MAIL FROM") return { kind: "away", why };
  // RFC 1870 §6.2: 452 and 552 are about the size that was announced.
  if (responseCode === 552) return { kind: "never", why };
  return { kind: "away", why, ofSender: isPermanent ? "never" : "later" };
}

const oneLine = (text: string): string => text.replace(/[\s\p{Cc}]+/gu, " ").slice(0, whyCharsMax);
