/** Mail to the ring that was not understood: kept for its operator, and not executed. */
import { ringLocalPart } from "../../mime/new-name.js";
import type { RingMail, RingReply } from "../../mailbox/ports.js";
import type { Mailboxes } from "../../mailbox/mailboxes.js";
import type { Quotas } from "../../mailbox/quotas.js";
import type { ReplicatedMaildrop } from "../../replication/maildrop.js";
import type { Replication } from "../../replication/replication.js";
import { AdminError, type KeptMailLine } from "../../shared/admin.js";
import type { MailboxName } from "../../shared/ids.js";
import { controlLimits } from "./limits.js";
import { refusalReply, refuse, undecided } from "./refusal.js";

interface KeptMailOptions {
  readonly mailboxes: Pick<Mailboxes, "deliver" | "settled">;
  readonly openMaildrop: Replication["openMaildrop"];
  readonly quotas: Pick<Quotas, "check">;
  /** The ring's first domain. */
  readonly domain: string;
}

const field = "Ringpost-Kept";
/** Shown of one mail. */
const shownOctetsMax = 64 * 1024;
const readDeadlineMs = 20_000;

export class KeptMail {
  private readonly mailbox: MailboxName;

  constructor(private readonly options: KeptMailOptions) {
    this.mailbox = `${ringLocalPart}@${options.domain}` as MailboxName;
  }

  async keep({ sender, body, traceFor }: RingMail, why: string): Promise<RingReply> {
    const { mailboxes, quotas } = this.options;
    const { keptMessagesMax: messages, keptOctetsMax: octets } = controlLimits;
    const size = body.kind === "bytes" ? body.bytes.length : body.octets;
    // Whether it fits is asked again when it is delivered; that there is a bound is known from here.
    await quotas.check(this.mailbox, { messages, octets }, size);
    const answer = await mailboxes.deliver({
      ...{ sender, body, mailboxes: [this.mailbox] },
      traceFor: (mailbox, id) => `${traceFor(mailbox, id)}${field}: ${why}\r\n`,
    });
    if (answer.kind === "overQuota") {
      return refusalReply(refuse("full", "not understood, and no more such mail is kept"));
    }
    if (answer.kind !== "stored") return refusalReply(undecided());
    mailboxes.settled(answer.ids, "confirmed");
    return { code: 250, status: "2.0.0", text: `ebm=kept ${why}` };
  }

  /** @throws AdminError, as all below */
  list(): Promise<KeptMailLine[]> {
    return this.opened(({ messages }) =>
      messages.map(({ id, receivedAtMs, bodyOctets, trace }) => ({
        ...{ id, receivedAtMs, octets: Buffer.byteLength(trace) + bodyOctets },
        why: /^Ringpost-Kept: (.*)\r$/m.exec(trace)?.[1] ?? "",
      })),
    );
  }

  read(id: string): Promise<{ text: string; isWhole: boolean }> {
    return this.opened(async (maildrop) => {
      const message = messageOf(maildrop, id);
      const octets = await maildrop.read(message, AbortSignal.timeout(readDeadlineMs));
      const head = Buffer.isBuffer(octets) ? octets : await headOf(octets);
      const isWhole = Buffer.byteLength(message.trace) + message.bodyOctets <= shownOctetsMax;
      return { text: head.subarray(0, shownOctetsMax).toString("utf8"), isWhole };
    });
  }

  remove(id: string): Promise<{ id: string }> {
    return this.opened(async (maildrop) => {
      if (await maildrop.remove([messageOf(maildrop, id)])) return { id };
      throw new AdminError("unavailable", "too few members answer to delete it; try again");
    });
  }

  private async opened<T>(work: (maildrop: ReplicatedMaildrop) => T | Promise<T>): Promise<T> {
    const opened = await this.options.openMaildrop(this.mailbox);
    if (opened.kind !== "open") {
      const why = opened.kind === "inUse" ? "somebody else looks at it" : opened.why;
      throw new AdminError("unavailable", `the kept mail can't be read now: ${why}; try again`);
    }
    try {
      return await work(opened.maildrop);
    } finally {
      opened.maildrop.release();
    }
  }
}

function messageOf({ messages }: ReplicatedMaildrop, id: string) {
  const found = messages.find((message) => message.id === id);
  if (found) return found;
  throw new AdminError("unknown", `no mail ${JSON.stringify(id)} is kept; see chord control list`);
}

/** The rest is read, too: a file behind it is removed at its end only. */
async function headOf(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const head: Buffer[] = [];
  let octets = 0;
  for await (const chunk of chunks) {
    if (octets < shownOctetsMax) head.push(Buffer.from(chunk));
    octets += chunk.length;
  }
  return Buffer.concat(head);
}
