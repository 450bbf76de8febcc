import type { Floor } from "./floor.js";
import type { BodyDigest, MailboxName, MemberUuid, MessageId } from "./ids.js";

/**
 * What is known about one message in one mailbox. Immutable: a message id stands for the same
 * value on every member, so merging two sets never has to choose.
 */
export interface StoredMessage {
  readonly id: MessageId;
  readonly digest: BodyDigest;
  /** Octets of the body as it came over SMTP, dots undone, without the trace. */
  readonly bodyOctets: number;
  /**
   * Header lines put in front when it is read, each ending in CRLF: `Return-Path:`, `Received:`, and
   * of a submission the `Message-ID:` and `Date:` that it lacked.
   */
  readonly trace: string;
  /** When the front node took responsibility, milliseconds since 1970. */
  readonly receivedAtMs: number;
  /** Identifies a retry of the same mail: sender, mailbox and body (see `replication/retries`). */
  readonly fingerprint: string;
  /** The node that took the mail. */
  readonly coordinator: MemberUuid;
  /** Its header has a Message-ID: equal octets are the same mail, not one that looks like it. */
  readonly hasMessageId?: true;
}

/** A deletion. It wins over the message, whatever comes first, for ever. */
export interface Tombstone {
  readonly id: MessageId;
  readonly removedAtMs: number;
  /**
   * Of the message, when its reader deleted it: an earlier copy of the same mail, and a later try
   * of a client that did not read its 250, are deleted as well. Absent when a copy was only given up.
   */
  readonly fingerprint?: string;
}

/** Totally ordered proposal number of a register: counter first, then the proposer's uuid. */
export interface Ballot {
  readonly counter: number;
  readonly proposer: string;
}

/** What one acceptor of a register remembers (Paxos: promised and accepted). */
export interface RegisterState {
  readonly promised: Ballot;
  readonly accepted: Ballot;
  /** JSON value accepted last; null when nothing was or when it was deleted. */
  readonly value: unknown;
}

/**
 * A change of a node's state, as it is journaled. All but the local ones (which never leave the
 * node) are idempotent and commutative: the same set in any order gives the same state.
 */
export type Operation =
  | { readonly kind: "AddMessage"; readonly mailbox: MailboxName; readonly message: StoredMessage }
  | { readonly kind: "RemoveMessage"; readonly mailbox: MailboxName; readonly tombstone: Tombstone }
  /** What is below it and not spared is over, its tombstones too. Of several the highest counts. */
  | { readonly kind: "RaiseFloor"; readonly mailbox: MailboxName; readonly floor: Floor }
  /** Replaces the acceptor state of `register`; the caller has compared ballots. */
  | { readonly kind: "PutRegister"; readonly register: string; readonly state: RegisterState }
  /** This node no longer keeps the mailbox: its group has confirmed every message. Local. */
  | { readonly kind: "DropMailbox"; readonly mailbox: MailboxName }
  /** The clients of these mails have read their 250. Local; matters until the mails are old. */
  | { readonly kind: "ConfirmMessages"; readonly ids: readonly MessageId[] }
  /** A small node-local value: identity, roster. Local. */
  | { readonly kind: "PutLocal"; readonly key: string; readonly value: unknown };
