/** A mail system that loses, doubles, reorders, delays, rewrites, bounces and refuses. */
import type { Outgoing, Submission } from "../../src/sdk/link/ports.js";
import type { SimulatedTime } from "./link-clock.js";
import { gateways } from "./link-gateways.js";

export interface StoredMail {
  readonly id: string;
  readonly octets: Buffer;
}

export interface PostFaults {
  readonly drop: number;
  readonly double: number;
  readonly delayMaxMs: number;
  readonly rewrite: number;
  readonly later: number;
  readonly noReply: number;
  readonly bounce: number;
  /** A bounce for good, of one that was delivered nevertheless. */
  readonly kill: number;
  /** Of a whole mail. */
  readonly sizeMax: number;
  /** Refused for its size by a bounce, not by a reply. */
  readonly sizeBounce: boolean;
}

export const noFaults: PostFaults = {
  ...{ drop: 0, double: 0, delayMaxMs: 500, rewrite: 0, later: 0, noReply: 0, bounce: 0, kill: 0 },
  ...{ sizeMax: Infinity, sizeBounce: false },
};

const taken: Submission = { kind: "reply", code: 250, text: "2.0.0 OK" };

export class PostOffice {
  readonly maildrops = new Map<string, Map<string, StoredMail>>();
  faults: PostFaults;
  mails = 0;
  octets = 0;
  /** A mail for an address that is nobody's maildrop, e.g. the broker's. */
  handlers = new Map<string, (mail: Buffer) => Promise<Submission>>();
  #number = 0;
  readonly #names = Object.keys(gateways);

  constructor(
    private readonly time: SimulatedTime,
    private readonly random: () => number,
    faults: PostFaults,
  ) {
    this.faults = faults;
  }

  async submit(from: string, outgoing: Outgoing): Promise<Submission> {
    const { faults } = this;
    const mail = outgoing.mail({ from: `${from}.mail`, to: `${outgoing.to}.mail` });
    await this.#wait(1 + this.random() * 50);
    const chance = (share: number): boolean => share > 0 && this.random() < share;
    if (chance(faults.later)) return { kind: "reply", code: 451, text: "4.7.1 greylisted" };
    const hasReply = !chance(faults.noReply);
    const none: Submission = { kind: "none", why: "the connection broke" };
    if (!hasReply && this.random() < 0.5) return none;
    if (mail.length > faults.sizeMax) {
      if (!faults.sizeBounce) return { kind: "reply", code: 552, text: "5.3.4 too large" };
      this.#deliver(from, bounceOf(outgoing.messageId, "failed", "5.3.4"));
      return hasReply ? taken : none;
    }
    this.mails += 1;
    this.octets += mail.length;
    const handler = this.handlers.get(outgoing.to);
    if (handler) {
      const reply = await handler(mail);
      return hasReply ? reply : none;
    }
    if (chance(faults.kill)) this.#deliver(from, bounceOf(outgoing.messageId, "failed", "5.1.1"));
    else if (chance(faults.bounce))
      this.#deliver(from, bounceOf(outgoing.messageId, "delayed", "4.4.1"));
    if (!chance(faults.drop)) {
      const copies = chance(faults.double) ? 2 + Math.floor(this.random() * 2) : 1;
      for (let copy = 0; copy < copies; copy += 1)
        this.#deliver(outgoing.to, this.#rewritten(mail));
    }
    return hasReply ? taken : none;
  }

  /** From a third party, e.g. the ring. */
  post(to: string, mail: Buffer): void {
    this.#deliver(to, this.#rewritten(mail));
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.time.after(ms, resolve));
  }

  #rewritten(mail: Buffer): Buffer {
    if (this.random() >= this.faults.rewrite) return mail;
    let text = mail.toString("latin1");
    const used = new Set<string>();
    for (let count = 1 + Math.floor(this.random() * 2); count > 0; count -= 1) {
      used.add(this.#names[Math.floor(this.random() * this.#names.length)] ?? "prefix");
    }
    // Those that look for the part as we wrote it come first.
    for (const name of this.#names)
      if (used.has(name)) text = gateways[name]?.(text, this.random) ?? text;
    return Buffer.from(text, "latin1");
  }

  #deliver(to: string, octets: Buffer): void {
    const id = `m${(this.#number += 1)}`;
    const isLate = this.random() < 0.2;
    const ms =
      this.random() * (isLate ? this.faults.delayMaxMs : Math.min(2_000, this.faults.delayMaxMs));
    this.time.after(ms, () => this.dropOf(to).set(id, { id, octets }));
  }

  dropOf(user: string): Map<string, StoredMail> {
    const drop = this.maildrops.get(user) ?? new Map<string, StoredMail>();
    this.maildrops.set(user, drop);
    return drop;
  }
}

/** RFC 3464, with the headers of what did not arrive. */
export function bounceOf(messageId: string, action: string, status: string): Buffer {
  return Buffer.from(
    [
      "From: MAILER-DAEMON@mail.test",
      "Subject: Undelivered Mail Returned to Sender",
      'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
      ...["", "--b", "Content-Type: message/delivery-status", ""],
      ...["Reporting-MTA: dns; mail.test", "", `Action: ${action}`, `Status: ${status}`, ""],
      ...[
        "--b",
        "Content-Type: text/rfc822-headers",
        "",
        `Message-ID: <${messageId}>`,
        "--b--",
        "",
      ],
    ].join("\r\n"),
  );
}
