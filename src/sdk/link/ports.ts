/**
 * The link: messages made reliable over a carrier that loses, doubles, reorders, delays, rewrites
 * and bounces mails. It knows neither sockets nor clocks: what it needs comes in through `LinkPorts`, what
 * the client calls is `Link`.
 *
 *   send ──▶ journal ──▶ packets ──▶ Carrier.submit        (the client: address, token, SMTP)
 *   POP3 ──▶ receive(mail) ──▶ journal ──▶ DELE ──▶ polled()   (acknowledgements leave here)
 *                                     └──▶ ready() ──▶ take() ──▶ consume | giveBack | reject
 */
import type {
  ConfigurationFrame,
  MessageProperties,
  Origin,
  PacketHeader,
  PacketIndex,
  UserId,
} from "../../ebm/index.js";

export interface LinkClock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** Runs once; the answer cancels it. */
  after(ms: number, run: () => void): () => void;
}

/** Octets that nobody can guess: node's `randomBytes`, or seeded ones in a simulation. */
export type Dice = (octets: number) => Buffer;

/** A packet that is to leave as a mail. Made at the moment it is submitted. */
export interface Outgoing {
  /** Whom it is for: a user's id, or the ring's (`ring@<first domain>`). */
  readonly to: UserId;
  readonly index: PacketIndex;
  /** Without angle brackets. */
  readonly messageId: string;
  /**
   * Seals and composes the mail. `from` and `to` are mail addresses; `token` goes into the header
   * of what is for the ring.
   */
  mail(envelope: { readonly from: string; readonly to: string; readonly token?: string }): Buffer;
}

export type Submission =
  /** The reply to the end of DATA, or the one that ended the dialogue before. `text` with enhanced code. */
  | { readonly kind: "reply"; readonly code: number; readonly text: string }
  /** No reply was read: nobody was reached, or it may have been taken. The link tries again later. */
  | { readonly kind: "none"; readonly why: string };

export interface Carrier {
  /**
   * Hands one mail to a mail server. Never rejects; has a deadline of its own. The link has at most four
   * of a receiver under way, and of the broker one. A mail larger than the server's SIZE is answered with
   * code 552 without being sent; a user whom the ring does not know with 550; one whose address
   * can't be found out now with `none`.
   */
  submit(outgoing: Outgoing): Promise<Submission>;
}

/** Whether `header.key` is a key of `header.from`: by the ring's directory, or the ring's own keys. */
export type KeyVerdict = "theirs" | "not theirs" | "unknown";

export interface LinkPorts {
  readonly clock: LinkClock;
  readonly dice: Dice;
  readonly carrier: Carrier;
  /** Never rejects; "unknown" when it can't be found out now: the mail is left in the maildrop. */
  keyVerdict(header: PacketHeader): Promise<KeyVerdict>;
  /** Something can be taken. May be called more often than that. */
  ready(): void;
  receipt(event: ReceiptEvent): void;
  deadLetter(letter: DeadLetter): void;
  /** The journal can't be written any more; nothing is acknowledged from now on. */
  failed(error: Error): void;
}

export interface LinkOptions {
  readonly user: UserId;
  /** The ring's id; a send to it is in order, one packet at a time (the broker). */
  readonly ring: UserId;
  /** How often the client looks for mail now, milliseconds; told to senders. */
  readonly pollMs: () => number;
  /** Octets that each sender may have on its way to us. Default 8 MiB. */
  readonly windowOctets?: number;
  /** Octets of a packet's frames, at most. Default 4 MiB. */
  readonly blockOctets?: number;
  /** How long small messages wait for company. Default 5 ms. */
  readonly lingerMs?: number;
  /** Journaled and not consumed, per sender, in octets. Default 512 MiB. */
  readonly inboxOctetsMax?: number;
  /** Not consumed by their receivers, in octets. Default 1 GiB. */
  readonly outboxOctetsMax?: number;
  /** Handed out and not acknowledged so often, a message is a dead letter. Default 20. */
  readonly deliveriesMax?: number;
  /**
   * Whether somebody here consumes such messages; undefined: of a part whose beginning is not here. A mail with nothing
   * but others is left where it is, and not acknowledged. Default: all are taken, which is for a journal that outlives the process.
   */
  readonly isConsumed?: (properties: MessageProperties | undefined) => boolean;
}

export interface NewMessage {
  /** A user's id, or the ring's for what goes to an exchange or queue (named in `properties`). */
  readonly to: UserId;
  readonly stream: string;
  /** `sentAtMs` and `expiresAtMs` are filled in when absent (now, and 5 days later). */
  readonly properties: Omit<MessageProperties, "sentAtMs"> & { readonly sentAtMs?: number };
  readonly body: Buffer;
}

export interface LinkReceipt {
  /** UUIDv7. */
  readonly id: string;
  readonly stream: string;
  readonly sequence: number;
  /** A mail server has taken all of it. */
  readonly accepted: Promise<void>;
  /** In the journal of its receiver, or in every queue it belongs to. */
  readonly delivered: Promise<void>;
  /** Acknowledged by the receiver's application. For the ring: as `delivered`. */
  readonly consumed: Promise<void>;
}

/** Also for messages of an earlier process, whose receipts are gone. */
export interface ReceiptEvent {
  readonly id: string;
  readonly to: UserId;
  readonly state: "accepted" | "delivered" | "consumed" | "dead";
  /** Of what is dead. `code`: absent for what was given up, bounced or refused otherwise. */
  readonly why?: string;
  readonly code?: "tooLarge";
}

export interface InboundMessage {
  readonly origin: Origin;
  readonly stream: string;
  readonly sequence: number;
  readonly id: string;
  readonly properties: MessageProperties;
  readonly octets: number;
  /** How often it was handed out before. */
  readonly redelivered: number;
  /** Of an entry of a queue. */
  readonly queue?: string;
  /** All of it. Rejects with `store` when it can't be read. */
  body(): Promise<Buffer>;
}

export interface DeadLetter {
  readonly id: string;
  readonly direction: "out" | "in";
  readonly why: string;
  readonly atMs: number;
  /** Sent to, or received from. */
  readonly user: UserId;
  /** Absent when it could not be parsed. */
  readonly stream?: string;
  readonly sequence?: number;
  readonly properties?: MessageProperties;
  /** Of the message, or the mail that could not be parsed. */
  body(): Promise<Buffer>;
}

/** What of an entry was not consumed before. */
export interface Shown {
  readonly messages: readonly InboundMessage[];
  /** Of which it has a block, and others are missing: the entry is settled when they are consumed, too. */
  readonly waiting: readonly InboundMessage[];
  /** Given up by their senders: what has blocks of them need not wait, and none of them comes any more. */
  readonly over?: readonly InboundMessage[];
}

export interface PushedEntry extends Shown {
  readonly entry: string;
}

/** What became of a mail of the maildrop. */
export type Received =
  /** Durable, or known already: DELE. */
  | { readonly kind: "done" }
  /** Not now (who sent it can't be found out, no room, not well-formed yet): left for a later poll. */
  | { readonly kind: "keep"; readonly why: string }
  /** No mail of ours: an ordinary one. */
  | { readonly kind: "foreign" }
  /** Answers of the ring: to be matched by `frame.id`, then DELE. */
  | {
      readonly kind: "configuration";
      readonly header: PacketHeader;
      readonly frames: readonly ConfigurationFrame[];
    }
  /**
   * An entry of a broker's queue: what of it was not consumed before, in order. None: it is to be
   * settled as acknowledged. The queue keeps it until then, the link does not.
   */
  | (Shown & {
      readonly kind: "entry";
      readonly queue: string;
      /** Of a mail that was pushed: the entries in it, by what settles them. They share out all of the above. */
      readonly pushed?: readonly PushedEntry[];
    })
  /** Never to be understood; kept among the dead letters, DELE. */
  | { readonly kind: "dead"; readonly why: string };

export type IsWanted = (properties: MessageProperties) => boolean;

export interface Link {
  /**
   * Resolves when the message is in the journal; from then on it survives the process.
   * The promises of the receipt reject with `dead`, and with `closed` when the link is closed before; nobody
   * has to handle that.
   * @throws RingpostError `full` (outbox, streams, size), `store`, `closed`
   */
  send(message: NewMessage): Promise<LinkReceipt>;

  /**
   * One mail of a maildrop, whole. Resolves when what follows from it is durable. `id` is its unique-id:
   * what can't be parsed is given up the third time. `from`: the queue whose maildrop it was in.
   */
  receive(mail: Buffer, id: string, from?: string): Promise<Received>;
  /** After each poll, also when there was no mail: acknowledgements leave now, at most one mail per sender. */
  polled(): void;

  /**
   * Of the inbox: the next ones in order per (origin, stream), at most `max`; to be settled one by one. `isWanted`: the
   * stream of one that is not wanted waits.
   */
  take(max: number, isWanted?: IsWanted): readonly InboundMessage[];
  /**
   * Durable when it resolves: never handed out again. Idempotent. Also for entries of queues, and for what is `over` or
   * has been waited for too long.
   */
  consume(message: InboundMessage): Promise<void>;
  /** Handed out again, after `delayMs`; its stream waits. Not for entries of queues. */
  giveBack(message: InboundMessage, delayMs?: number): void;
  /** To the dead letters; durable when it resolves. Not for entries of queues. */
  reject(message: InboundMessage, why: string): Promise<void>;

  deadLetters(): readonly DeadLetter[];
  /** Forgets one. */
  dropDeadLetter(id: string): Promise<void>;

  /** The mail server or the address is another now, or works again: what waits is tried at once. */
  retry(to?: UserId): void;
  /** Messages of the outbox that are neither delivered nor dead. */
  readonly undelivered: number;
  /** Resolves when `undelivered` is 0. */
  delivered(): Promise<void>;
  /** Stops timers and submissions; what is not durable is lost, the journal stays open. */
  close(): void;
}
