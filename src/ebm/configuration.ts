/**
 * What is asked of the ring at its control address (`ring@<domain>`), and what it answers. A
 * question is a CONFIG frame in a signed packet; so is the answer, signed with a key of the ring, in the maildrop
 * `<user>/config` or, for a user whose mail account is elsewhere, at the address they answer at.
 *
 * `register` and `login` prove who asks by a password; all others by the session token in the
 * packet's header, and a device key that the ring has on record.
 */
import type { DeviceKey, DirectoryRecord } from "./record.js";

/** Where a member is reached, `host:port`; absent where it does not listen. */
export interface ServerEndpoints {
  readonly smtp: string;
  readonly submission?: string;
  readonly submissions?: string;
  readonly pop3: string;
  readonly pop3s?: string;
}

export interface SessionAnswer {
  /** The user's id: `alice@ring.test`. */
  readonly user: string;
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
  /** Keys that answers and queues are signed with: by id, 32 octets in base64url. */
  readonly ringKeys: Readonly<Record<string, string>>;
  /** The control address, and where data for the broker goes. */
  readonly ring: string;
  readonly broker: string;
  /** All members, for when this one fails. */
  readonly servers: readonly ServerEndpoints[];
  /** That the ring believes to be the user's: for a record that names all of them. */
  readonly devices?: readonly DeviceKey[];
}

export type ExchangeType = "direct" | "fanout" | "topic" | "headers";

/** Who besides the owner: nobody, these users, or every user of the ring. */
export type Permitted = "owner" | "everyone" | readonly string[];

export interface ExchangeOptions {
  readonly type: ExchangeType;
  /** Default: "owner". */
  readonly publishers?: Permitted;
  /** Who may bind queues to it. Default: "owner". */
  readonly subscribers?: Permitted;
}

export interface QueueOptions {
  /** One consumer takes all in order, many messages at a time; else consumers compete for single ones. */
  readonly exclusive?: boolean;
  /** Default: "owner". */
  readonly consumers?: Permitted;
  /** Who may send to it by its name, without an exchange. Default: "owner". */
  readonly publishers?: Permitted;
  /** A message that is neither acknowledged nor extended for so long is handed out again. Default 30 s. */
  readonly leaseMs?: number;
  /** Then it is a dead letter. Default 20. */
  readonly deliveriesMax?: number;
  /** Queue for dead letters. Default: `<name>.dead`, made when it is first needed. */
  readonly deadLetters?: string;
  /** Entries, acknowledged ones not counted. Default 100,000. */
  readonly messagesMax?: number;
  /** Default 1 GiB. */
  readonly octetsMax?: number;
  /**
   * When it holds that much: "reject" refuses what is published to it, also through an exchange and
   * then for all queues that are bound; "drop-oldest" takes it, and moves its oldest messages to the dead
   * letters (of a queue of dead letters: deletes them). Default "reject".
   */
  readonly overflow?: "reject" | "drop-oldest";
  /**
   * Sent to the address that the owner answers at: for owners whose mail account is elsewhere, who can't come for it. The
   * owner may declare it again with another `push`. A lease is doubled with each delivery, up to 6 h.
   */
  readonly push?: boolean;
}

export interface Binding {
  readonly exchange: string;
  readonly queue: string;
  /** Direct: equal; topic: words with `*` and `#`. Default "". */
  readonly key?: string;
  /** Of a headers exchange. */
  readonly headers?: Readonly<Record<string, string | number | boolean>>;
  /**
   * Of a headers exchange, default "all". As in RabbitMQ, headers whose names begin with `x-` count only with
   * "all-with-x" and "any-with-x".
   */
  readonly match?: HeadersMatch;
  /**
   * The exchange need not be there yet: the queue waits for whoever declares it, and is bound if they let its owner
   * subscribe. If not, the binding ends; asked for again, with or without `early`, it is refused as `forbidden`, while
   * one without `early` is `unknown` for as long as nobody has declared it. Ignored by `unbind`.
   */
  readonly early?: boolean;
}

export type HeadersMatch = "all" | "any" | "all-with-x" | "any-with-x";

/**
 * Refused as `malformed`, nothing of it is done: whose fault it is, halves tell. Refused as `undecided`, part of it may be
 * done: all of it may be asked again, rejections for as long as there is no place for the dead letter.
 */
export interface Settlement {
  readonly queue: string;
  /** Entries, by the unique-id that POP3 gives them, or by `entry` of pushed frames. Idempotent. */
  readonly ack?: readonly string[];
  readonly nack?: readonly { readonly entry: string; readonly delayMs: number }[];
  /** To the dead letters. */
  readonly reject?: readonly string[];
  /** Still at work: `ms` more from now. */
  readonly extend?: readonly { readonly entry: string; readonly ms: number }[];
}

/**
 * Of several queues, at most 128, in one question; none of them waits for another, and each has its own outcome. Refused as
 * `malformed`, also by members that know only the form with one queue: nothing of it is done.
 */
export interface Settlements {
  readonly settlements: readonly Settlement[];
}

export interface Settled {
  /**
   * Of each of `settlements`: done, durably. One that is not may be refused or late, part of it may be done; asked for
   * by itself it is told why. Absent: all.
   */
  readonly done?: readonly boolean[];
}

export interface QueueStatus {
  readonly ready: number;
  readonly delayed: number;
  readonly leased: number;
  readonly octets: number;
}

interface Login {
  readonly password: string;
  /** Self-signed; its first address is where answers go. */
  readonly record: DirectoryRecord;
}

/** Every operation: what is asked, and what a success answers. */
export interface ConfigurationOperations {
  readonly register: { ask: Login & { readonly invitation?: string }; answer: SessionAnswer };
  readonly login: { ask: Login; answer: SessionAnswer };
  readonly refresh: { ask: object; answer: SessionAnswer };
  /** Voids every token of the user, and takes the device off the record. */
  readonly logout: { ask: object; answer: object };
  readonly resolve: { ask: { readonly user: string }; answer: ResolvedRecord };
  readonly announce: { ask: { readonly record: DirectoryRecord }; answer: object };
  readonly servers: { ask: object; answer: { readonly servers: readonly ServerEndpoints[] } };
  /** Idempotent; `exists` with other options is refused. */
  readonly declareExchange: { ask: { readonly name: string } & ExchangeOptions; answer: object };
  readonly removeExchange: { ask: { readonly name: string }; answer: object };
  readonly declareQueue: { ask: { readonly name: string } & QueueOptions; answer: object };
  readonly removeQueue: { ask: { readonly name: string }; answer: object };
  readonly queueStatus: { ask: { readonly name: string }; answer: QueueStatus };
  readonly bind: { ask: Binding; answer: object };
  readonly unbind: { ask: Binding; answer: object };
  readonly settle: { ask: Settlement | Settlements; answer: Settled };
  /** Dead letters back to their queue; `moved` of them. */
  readonly redrive: {
    ask: { readonly queue: string; readonly max?: number };
    answer: { readonly moved: number };
  };
  readonly listContacts: { ask: object; answer: { readonly contacts: readonly Contact[] } };
  readonly addContact: { ask: Contact; answer: object };
  readonly removeContact: { ask: { readonly user: string }; answer: object };
  /** Unique-ids of the inbox or outbox that were read. The last 10,000 are kept. */
  readonly markRead: { ask: { readonly ids: readonly string[] }; answer: object };
  readonly listRead: { ask: object; answer: { readonly ids: readonly string[] } };
  readonly quota: { ask: object; answer: QuotaAnswer };
}

/** The record as its user signed it, and what has become of its devices since. */
export interface ResolvedRecord extends DirectoryRecord {
  /** Devices of the record that have logged out: what they sign counts for nothing any more. */
  readonly loggedOut?: readonly string[];
}

export interface Contact {
  readonly user: string;
  /** What the owner of the list calls them. */
  readonly name?: string;
}

export interface QuotaAnswer {
  readonly octets: number;
  readonly messages: number;
  /** Absent: no bound. */
  readonly octetsMax?: number;
  readonly messagesMax?: number;
}

export type OperationName = keyof ConfigurationOperations;
export type Ask<N extends OperationName> = ConfigurationOperations[N]["ask"];
export type Answer<N extends OperationName> = ConfigurationOperations[N]["answer"];

export type ConfigurationRequest = {
  [N in OperationName]: { readonly operation: N; readonly ask: Ask<N> };
}[OperationName];

/** Why something was not done. */
export type RefusalCode =
  /** Not understood. */
  | "malformed"
  /** Wrong password, token or signature, or seen before. */
  | "denied"
  /** Too many tries. */
  | "throttled"
  /** Valid, but not for this user. */
  | "forbidden"
  | "exists"
  | "unknown"
  /** A bound was reached: of a queue, an account, a list. */
  | "full"
  /** Registration is closed, or an invitation is needed. */
  | "closed"
  /**
   * Of a packet of data, for good: a message for a queue with competing consumers has to fit one packet. Nothing of
   * the packet was taken; the text begins with the message that is meant, `<stream>:<sequence>`.
   */
  | "tooLarge"
  /** Too few members answer; try again. */
  | "undecided";

export type ConfigurationAnswer =
  | { readonly ok: true; readonly answer: Answer<OperationName> }
  | { readonly ok: false; readonly code: RefusalCode; readonly why: string };
