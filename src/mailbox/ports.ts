/** What the listeners (`smtp/`, `pop3/`) ask of the mailbox domain. */
import type { Body } from "../shared/body.js";
import type { MailboxName, MessageId } from "../shared/ids.js";

export type RecipientAnswer =
  /** Distinct, at least one: an alias may lead to several. */
  | { readonly kind: "mailboxes"; readonly mailboxes: readonly MailboxName[] }
  /** The ring itself: `ring@…`, or `ring+data@…`. Such a recipient is alone in its mail. */
  | { readonly kind: "ring"; readonly part: RingPart }
  /** A majority of the key's group says that there is no such account or alias: 550 5.1.1. */
  | { readonly kind: "unknown" }
  /** The account takes no mail: 550 5.2.1. */
  | { readonly kind: "disabled" }
  /** An alias that leads back to itself, or too far: 550 5.4.6. */
  | { readonly kind: "loop" }
  /** There is no room for the mail in one of the mailboxes: 452 4.2.2. */
  | { readonly kind: "overQuota" }
  /** A domain that this ring does not serve: 550 5.7.1. */
  | { readonly kind: "relay" }
  /** Not an address: 501 5.1.3. */
  | { readonly kind: "invalid"; readonly why: string }
  /** The group can't tell now, neither of the name nor whether the domain is ours: 451 4.3.0. */
  | { readonly kind: "undecided" };

/** Its control address, which is asked for accounts and the like, or its broker. */
export type RingPart = "control" | "broker";

export interface Delivery {
  /** Envelope sender, "" for the null sender. */
  readonly sender: string;
  /** Distinct mailboxes. */
  readonly mailboxes: readonly MailboxName[];
  /** Recipients in other domains, distinct: each gets a copy of its own among what leaves the ring. */
  readonly elsewhere?: readonly string[];
  readonly body: Body;
  /**
   * What stands in front of each mailbox's copy: its trace and more, lines ending in CRLF. `elsewhere`: the recipient
   * for whom this one leaves the ring.
   */
  readonly traceFor: (mailbox: MailboxName, id: MessageId, elsewhere?: string) => string;
}

export type DeliveryAnswer =
  | {
      readonly kind: "stored";
      /** One id per mailbox, in the order asked, and then one per recipient elsewhere. */
      readonly ids: readonly MessageId[];
      /** Durable copies when the answer was given (the fewest of any mailbox), and copies wanted. */
      readonly copies: number;
      readonly copiesWanted: number;
    }
  /** Too few members could make it durable: 451 4.3.0. Nothing is promised. */
  | { readonly kind: "tempfail"; readonly why: string }
  /** This node's disk is full: 452 4.3.1. */
  | { readonly kind: "full" }
  /** One of the mailboxes has no room for this mail: 452 4.2.2. Nothing is kept of it. */
  | { readonly kind: "overQuota" };

export interface MailReceiver {
  /** `octets`: how large the client said that the mail is (RFC 1870), if it did. */
  resolve(
    address: string,
    options?: { readonly octets?: number | undefined },
  ): Promise<RecipientAnswer>;
  deliver(delivery: Delivery): Promise<DeliveryAnswer>;
  /** Where a body over `limits.inlineBodyOctetsMax` is spooled; `deliver` takes the file over. */
  spoolPath(): string;
  /**
   * What became of the reply to a `deliver`: `confirmed` when the client is known to have read
   * the 250 (its next command, or an orderly end, came after it), `doubtful` when it went away before. A doubtful
   * mail that comes again within a day is the same mail, and is stored once.
   */
  settled(ids: readonly MessageId[], outcome: "confirmed" | "doubtful"): void;
}

export type WayOutAnswer =
  | "open"
  /** This account has sent so much that it has to wait: 450 4.7.1. */
  | "throttled"
  /** Too much waits for the smart host: 452 4.3.1. */
  | "full"
  | "undecided";

/** What a listener for submission asks before it takes a recipient in a domain that is not ours. */
export interface WayOut {
  /** Asked, and counted, once for each recipient. `octets`: as the client says. Never rejects. */
  ask(user: MailboxName, octets: number): Promise<WayOutAnswer>;
  /** Mail for recipients elsewhere is durable. */
  added(): void;
}

/** A mail to the ring itself. */
export interface RingMail {
  readonly part: RingPart;
  /** Envelope sender, "" for the null sender. Anybody may have written it. */
  readonly sender: string;
  readonly body: Body;
  /** IP address of the client. */
  readonly clientAddress: string;
  /** Who has authenticated and hands it in. */
  readonly user: MailboxName | undefined;
  /** For when it is kept. */
  readonly traceFor: Delivery["traceFor"];
}

/** The reply to the data of a mail: RFC 5321 §4.2, RFC 3463. `text` is one line. */
export interface RingReply {
  readonly code: 250 | 451 | 452 | 550 | 552;
  readonly status: string;
  readonly text: string;
}

export interface RingReceiver {
  /** Works the mail off before it is answered, and takes its file over. Never rejects. */
  take(mail: RingMail): Promise<RingReply>;
}
