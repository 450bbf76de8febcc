/** Commands about mail that leaves the ring. */
import type { Replication } from "../replication/replication.js";
import { AdminError } from "../shared/admin.js";
import type { MailboxName } from "../shared/ids.js";

/** What the commands need of the middleware. */
export interface OutgoingMail {
  /** Where it waits, the ring's and its users'. */
  readonly mailboxes: readonly MailboxName[];
  send(mail: { readonly to: string; readonly octets: Buffer }): Promise<void>;
}

interface RelayCommandsOptions {
  readonly outgoing: OutgoingMail;
  readonly replication: Replication;
  readonly domain: string;
}

export class RelayCommands {
  constructor(private readonly options: RelayCommandsOptions) {}

  async status(): Promise<{ waiting: number | null }> {
    const { replication, outgoing } = this.options;
    const counts = await Promise.all(
      outgoing.mailboxes.map(async (mailbox) => (await replication.usageOf(mailbox))?.messages),
    );
    const isKnown = counts.every((count) => count !== undefined);
    return { waiting: isKnown ? counts.reduce((sum, count) => sum + count, 0) : null };
  }

  /** @throws AdminError */
  async test(to: string): Promise<{ to: string; messageId: string }> {
    const { replication, outgoing, domain } = this.options;
    const messageId = `${replication.newMessageId()}@${domain}`;
    const lines = [
      `Date: ${new Date().toUTCString().replace("GMT", "+0000")}`,
      `From: <ring@${domain}>`,
      `To: <${to}>`,
      `Message-ID: <${messageId}>`,
      "Subject: A test of the ring's relay",
      "Auto-Submitted: auto-generated",
      "",
      "An operator of this ring has asked for this mail, to see whether mail can leave it.",
      "",
    ];
    try {
      await outgoing.send({ to, octets: Buffer.from(lines.join("\r\n")) });
      return { to, messageId };
    } catch (error) {
      throw refusal(error);
    }
  }
}

const codes = { off: "refused", invalid: "invalid", full: "refused", undecided: "unavailable" };

function refusal(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message: string };
  const known = Object.entries(codes).find(([each]) => each === code)?.[1];
  return known === undefined ? error : new AdminError(known as AdminError["code"], message);
}
