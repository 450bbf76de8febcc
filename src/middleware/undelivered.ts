/** Mail of users that could not be sent: its sender is told, in the inbox it was sent from. */
import { createHash } from "node:crypto";
import type { MailReceiver } from "../mailbox/ports.js";
import type { Clock } from "../replication/ports.js";
import type { BodyDigest } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import { deliveryReport } from "./delivery-report.js";
import type { GivenUpMail } from "./outgoing-worker.js";

interface UndeliveredOptions {
  /** The ring's first domain. */
  readonly domain: string;
  readonly hostName: string;
  readonly smartHost: string;
  readonly receiver: Pick<MailReceiver, "resolve" | "deliver" | "settled">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly log: Log;
}

/** Since the mail came: a report that there was no room for until then is not kept any longer. */
const reportedWithinMs = 4 * 24 * 3_600_000;

/** The report could not be made durable now. */
class NotReportedError extends Error {
  override readonly name = "NotReportedError";
}

/** For `onGivenUp`. Rejects where a later try may help. */
export function createReports(options: UndeliveredOptions): (mail: GivenUpMail) => Promise<void> {
  const { receiver, log, clock } = options;
  return async (mail) => {
    // RFC 5321 §4.5.5: nothing is answered to the null sender.
    if (mail.from === "") return;
    const answer = await receiver.resolve(mail.from);
    switch (answer.kind) {
      case "mailboxes":
        break;
      case "overQuota":
        if (clock.wallMs() - mail.receivedAtMs < reportedWithinMs) {
          throw new NotReportedError("the sender's mailbox is full");
        }
        log.error({ id: mail.id }, "the sender's mailbox is full: nobody was told of a lost mail");
        return;
      case "undecided":
        throw new NotReportedError("too few members answer");
      default:
        log.info({ id: mail.id, sender: answer.kind }, "the sender of a lost mail is gone");
        return;
    }
    await report(options, mail, answer.mailboxes);
  };
}

async function report(
  { domain, hostName, smartHost, receiver, clock }: UndeliveredOptions,
  mail: GivenUpMail,
  mailboxes: Parameters<MailReceiver["deliver"]>[0]["mailboxes"],
): Promise<void> {
  const bytes = deliveryReport(mail, {
    ...{ postmaster: `postmaster@${domain}`, reporter: hostName, smartHost },
    // The same each time, so that a reader can tell a report that was made twice.
    messageId: `${mail.id}.undelivered@${domain}`,
    date: new Date(clock.wallMs()),
  });
  const digest = createHash("sha256").update(bytes).digest("hex") as BodyDigest;
  const answer = await receiver.deliver({
    ...{ sender: "", mailboxes },
    body: { kind: "bytes", digest, bytes, hasMessageId: true },
    traceFor: () => "Return-Path: <>\r\n",
  });
  if (answer.kind !== "stored") throw new NotReportedError(answer.kind);
  // No client is told of this mail and sends it again.
  receiver.settled(answer.ids, "confirmed");
}
