/** Who a mail is from and for, as it is gathered from MAIL and RCPT. */
import type { Identity } from "../mailbox/authentication.js";
import type { RingPart } from "../mailbox/ports.js";
import type { MailboxName } from "../shared/ids.js";
import type { SmtpLimits } from "./limits.js";
import { replies, type Reply } from "./replies.js";

export interface Envelope {
  readonly sender: string;
  readonly utf8: boolean;
  /** Who hands the mail in, when that is known. */
  readonly user: Identity | undefined;
  /** Of the mail, as MAIL said (RFC 1870). */
  readonly octets: number | undefined;
  /** As given. Several may mean one mailbox, one may mean several. */
  readonly recipients: Set<string>;
  /** One copy each, however often it was named; the copy says the recipient that came first. */
  readonly mailboxes: Map<MailboxName, string>;
  /** In other domains; as given, and each once. */
  readonly elsewhere: Set<string>;
  /** The ring is the recipient, and the only one. */
  ring: { readonly part: RingPart; readonly address: string } | undefined;
}

/** What MAIL says; RCPT fills in the rest. */
export function emptyEnvelope(
  mail: Pick<Envelope, "sender" | "utf8" | "user" | "octets">,
): Envelope {
  return {
    ...mail,
    recipients: new Set(),
    mailboxes: new Map(),
    elsewhere: new Set(),
    ring: undefined,
  };
}

export function addRing(envelope: Envelope, address: string, part: RingPart): Reply {
  if (envelope.recipients.size > 0) return replies.ringAlone;
  envelope.recipients.add(address);
  envelope.ring = { part, address };
  return replies.recipientOk;
}

export function addMailboxes(
  { recipients, mailboxes }: Envelope,
  address: string,
  named: readonly MailboxName[],
  { recipientsMax }: Pick<SmtpLimits, "recipientsMax">,
): Reply {
  const more = named.filter((mailbox) => !mailboxes.has(mailbox));
  // The bound is for copies; an alias alone is taken in any case, it has its own.
  if (mailboxes.size > 0 && mailboxes.size + more.length > recipientsMax) {
    return replies.tooManyRecipients;
  }
  recipients.add(address);
  for (const mailbox of more) mailboxes.set(mailbox, address);
  return replies.recipientOk;
}
