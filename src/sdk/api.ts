/**
 * `ringpost/sdk`: reliable messaging for programs that have nothing but mail. It speaks SMTP and
 * POP3, to a ring or to any ordinary mail account with the ring's address as the peer, and pulls in
 * no server code.
 */
import type {
  Binding,
  Contact,
  ResolvedRecord,
  ExchangeOptions,
  ExchangeType,
  QueueOptions,
  QueueStatus,
  QuotaAnswer,
  ServerEndpoints,
} from "../ebm/index.js";
import type { RingpostErrorCode } from "./errors.js";

export interface ConnectOptions {
  /**
   * Where to connect: `ringpost://host:port` (a member's ring port; mail ports are derived from it),
   * `host:port` for the same, or the endpoints themselves. Tried in order; others are learned from the ring.
   * `auto`: members that answer on the LAN; those at public addresses or names only with `tls: { ca }`.
   */
  readonly servers: readonly (string | ServerEndpoints)[];
  /** Logs in at once; else `register` or `login` first. */
  readonly account?: AccountOptions;
  /**
   * A directory for the journals and what is known offline; absent: memory, lost with the process. Of what comes from
   * users it then takes only what somebody in this process consumes (`inbox`, `respond`, a conversation that was listed
   * or opened, a listener for `chat`); the rest waits in the maildrop, and is not `delivered` for its sender.
   */
  readonly store?: string;
  /** Closes the client when it is aborted; what waits then fails with `closed`. */
  readonly signal?: AbortSignal;
  /**
   * How often to look for mail, since POP3 does not tell. `minMs` after a message, after something was sent, and
   * when a consumer is opened; then twice as long each time there was nothing, up to `maxMs`. So a
   * message that comes after a silence waits about as long as that lasted, and never longer than `maxMs`. Default
   * 10 ms to 5 s; with an account elsewhere 1 s to 15 s.
   */
  readonly poll?: { readonly minMs?: number; readonly maxMs?: number };
  /**
   * "auto" (default): TLS always away from loopback, and never within this machine. Certificates are
   * checked, against the authority `ca` (PEM) if there is one.
   */
  readonly tls?:
    | "auto"
    | "require"
    | { readonly ca: string }
    | { readonly rejectUnauthorized: false };
  /** Octets on the way to one receiver. Default 8 MiB. */
  readonly windowOctets?: number;
  /** Octets of one packet. Default 4 MiB. */
  readonly blockOctets?: number;
  /** How long small messages wait for company before a mail is sent. Default 5 ms. */
  readonly lingerMs?: number;
}

export interface AccountOptions {
  readonly user: string;
  readonly password: string;
  /**
   * Makes the account, where there is none and the ring's policy allows it; else logs in. So the same
   * options serve the first start and all others.
   */
  readonly register?: boolean | { readonly invitation: string };
  /** The ring's control address, needed with `mail`: `ring@ring.test`. */
  readonly ring?: string;
  /** An ordinary mail account elsewhere, through which the ring is reached. */
  readonly mail?: {
    readonly address: string;
    readonly smtp: string;
    readonly pop3: string;
    readonly username?: string;
    readonly password: string;
  };
}

/** What can be sent; an object is sent as JSON. */
export type Body = string | Uint8Array | object;

export interface SendOptions {
  /** Order is kept within a stream. Default "main". */
  readonly stream?: string;
  readonly headers?: Readonly<Record<string, string | number | boolean>>;
  /** Then it is given up and becomes a dead letter. Default 5 days. */
  readonly ttlMs?: number;
  /** 0 to 9, higher first. Default 4. */
  readonly priority?: number;
  /** Not to be consumed before. */
  readonly delayMs?: number;
  readonly signal?: AbortSignal;
}

/** `send` itself resolves when the message is in the journal: from then on it survives the process. */
export interface Receipt {
  readonly id: string;
  /** A mail server has taken it. */
  readonly accepted: Promise<void>;
  /** It is in the journal of its receiver, or of the ring. */
  readonly delivered: Promise<void>;
  /** The receiver's application has acknowledged it. For what goes to an exchange or a queue: as `delivered`. */
  readonly consumed: Promise<void>;
}

export interface Message {
  readonly id: string;
  /** The user who sent it, proved by a signature. */
  readonly from: string;
  readonly stream: string;
  readonly sequence: number;
  readonly headers: Readonly<Record<string, string | number | boolean>>;
  readonly contentType: string;
  readonly sentAt: Date;
  readonly exchange?: string;
  readonly routingKey?: string;
  readonly correlationId?: string;
  /** How often it was handed out before. */
  readonly redelivered: number;
  readonly bytes: Buffer;
  text(): string;
  /** @throws SyntaxError */
  json(): unknown;
}

/** A message to be settled. Whatever is not settled comes again. */
export interface Delivery extends Message {
  /** Done with: it does not come again. Resolves when that is durable. */
  ack(): Promise<void>;
  /** Not now: it comes again, after `delayMs`. */
  nack(options?: { readonly delayMs?: number }): Promise<void>;
  /** Never: to the dead letters. */
  reject(reason?: string): Promise<void>;
  /** Still at work: it does not come again for another lease. */
  working(): Promise<void>;
}

/** Ends with `return()` (break), `close()`, or the client's signal; what was not settled comes again. */
export interface Consumer extends AsyncIterable<Delivery>, AsyncDisposable {
  close(): Promise<void>;
}

export interface ConsumeOptions {
  /** Handed out and not yet settled, at most. Default 32. */
  readonly prefetch?: number;
  /** Settled by itself when the next one is asked for. Default false. */
  readonly autoAck?: boolean;
  readonly signal?: AbortSignal;
}

export interface Exchange {
  readonly name: string;
  publish(body: Body, options?: SendOptions & { readonly key?: string }): Promise<Receipt>;
  remove(): Promise<void>;
}

export interface Queue {
  readonly name: string;
  send(body: Body, options?: SendOptions): Promise<Receipt>;
  consume(options?: ConsumeOptions): Consumer;
  /**
   * What is published after this has resolved, by whom and through whichever member, comes into the queue.
   * @throws RingpostError `unknown`: no such exchange, unless `early`; `forbidden`; `full`
   */
  bind(exchange: string, binding?: Omit<Binding, "exchange" | "queue">): Promise<void>;
  unbind(exchange: string, binding?: Omit<Binding, "exchange" | "queue">): Promise<void>;
  status(): Promise<QueueStatus>;
  /** Its dead letters, as a queue; empty until there is one. */
  deadLetters(): Queue;
  /** Dead letters back into it. Resolves to how many. */
  redrive(options?: { readonly max?: number }): Promise<number>;
  remove(): Promise<void>;
}

export interface MailItem {
  readonly uid: string;
  readonly octets: number;
  readonly from: string;
  readonly to: string;
  readonly subject: string;
  readonly date: Date | undefined;
  readonly read: boolean;
}

export type Folder = "inbox" | "outbox";

export interface Chat {
  readonly user: string;
  readonly messages: readonly ChatLine[];
  send(text: string): Promise<Receipt>;
}

export interface ChatLine {
  readonly id: string;
  readonly from: string;
  readonly text: string;
  readonly at: Date;
  readonly state: "sending" | "delivered" | "read" | "received" | "failed";
}

export interface RingpostEvents {
  status: {
    readonly state: "connected" | "offline" | "draining" | "closed";
    readonly server?: string;
  };
  failover: { readonly from: string; readonly to: string; readonly why: string };
  receipt: { readonly id: string; readonly state: "accepted" | "delivered" | "consumed" | "dead" };
  /**
   * A message was given up; or, with the id `queue:<name>`, a queue can't be consumed (told once; its consumer goes on
   * when it is there again), or gets nothing of an exchange any more. `code`: of the error, where there was one; `why` says what to do.
   */
  deadLetter: {
    readonly id: string;
    readonly why: string;
    readonly code?: RingpostErrorCode;
    readonly message?: Message;
  };
  /** A line of a chat came (`received`), or one that was sent got somewhere. */
  chat: { readonly user: string; readonly line: ChatLine };
}

export interface Ringpost extends AsyncDisposable {
  /** The user's id once logged in. */
  readonly user: string | undefined;
  /** Makes an account where the ring's policy allows it, and logs in. */
  register(options: { user: string; password: string; invitation?: string }): Promise<void>;
  login(options: { user: string; password: string }): Promise<void>;
  /**
   * Voids the tokens of the user everywhere, and tells the directory that this device does not speak for the user
   * any more: what it signed and is still on its way is not believed by peers who ask from now on. Programs that have the
   * password log in again by themselves. What others send waits for the next login; with a `store`, so
   * does what is not delivered yet. To have that delivered first, wait for its receipts.
   */
  logout(): Promise<void>;
  /** Done by itself before the token ends. */
  refresh(): Promise<void>;

  /**
   * To a user. Resolves when it is in the journal. What can't be sent as it is (a body that is no JSON value, a header
   * that is no text) is refused here, as everywhere.
   * @throws RingpostError `malformed`, `full`, `store`, `loginNeeded`, `closed`
   */
  send(to: string, body: Body, options?: SendOptions): Promise<Receipt>;
  /** What others send to this user. */
  inbox(options?: ConsumeOptions): Consumer;
  /** @throws RingpostError `timeout` */
  request(
    to: string,
    body: Body,
    options?: SendOptions & { readonly timeoutMs?: number },
  ): Promise<Message>;
  /**
   * Answers requests until closed, one after the other; an error thrown is answered as an error, and so is an answer
   * that can't be sent.
   */
  respond(handler: (request: Message) => Promise<Body> | Body): AsyncDisposable;

  /** A topic that this user publishes to and every user may subscribe to, unless options say otherwise. */
  createEvent(name: string, options?: Partial<ExchangeOptions>): Promise<Exchange>;
  publish(
    event: string,
    body: Body,
    options?: SendOptions & { readonly key?: string },
  ): Promise<Receipt>;
  /**
   * A queue of this user's own, that outlives the process; all of `event` or what `key` matches. The event need not be
   * there yet: whoever publishes it first makes it, and that first message comes, too. When it is then made for others
   * only, `deadLetter` tells so, with the code `forbidden`.
   */
  subscribe(event: string, options?: ConsumeOptions & { readonly key?: string }): Promise<Consumer>;
  unsubscribe(event: string): Promise<void>;

  exchange(
    name: string,
    type: ExchangeType,
    options?: Omit<ExchangeOptions, "type">,
  ): Promise<Exchange>;
  /** Declares it, unless it is there with the same options. */
  queue(name: string, options?: QueueOptions): Promise<Queue>;

  readonly mailbox: {
    list(folder: Folder): Promise<readonly MailItem[]>;
    read(folder: Folder, uid: string): Promise<Buffer>;
    markRead(uids: readonly string[]): Promise<void>;
    delete(folder: Folder, uids: readonly string[]): Promise<void>;
    /**
     * An ordinary mail.
     * @throws RingpostError `forbidden`: refused; or taken for others and refused for who is named, then don't send it
     * again to all
     */
    send(mail: { to: readonly string[]; subject: string; text: string }): Promise<void>;
    quota(): Promise<QuotaAnswer>;
  };
  readonly contacts: {
    add(contact: Contact): Promise<void>;
    list(): Promise<readonly Contact[]>;
    remove(user: string): Promise<void>;
  };
  readonly chats: {
    /** With whom there is a conversation, the latest first. */
    list(): Promise<readonly { readonly user: string; readonly last: ChatLine | undefined }[]>;
    open(user: string): Promise<Chat>;
  };
  /** Where a user answers now; remembered while it is fresh. */
  resolve(user: string): Promise<ResolvedRecord>;

  on<E extends keyof RingpostEvents>(event: E, listener: (value: RingpostEvents[E]) => void): this;
  off<E extends keyof RingpostEvents>(event: E, listener: (value: RingpostEvents[E]) => void): this;
  /** Waits until all that was sent is delivered and what was settled is known to the ring, then closes. */
  drain(options?: { readonly deadlineMs?: number }): Promise<void>;
  /**
   * Ends every consumer, gives back to the ring what they have of its queues, so that others get it at once (for 5 s at
   * most, when no server answers), and closes; `await using` does the same. With a `store`, what is not delivered goes
   * on with the next `connect`.
   */
  close(): Promise<void>;
}
