/** One user who is logged in, or about to be: everything that belongs to a login. */
import { setMaxListeners } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Pop3Client } from "../../client/pop3-client.js";
import type { AccountOptions, ChatLine, ConnectOptions, Folder } from "../api.js";
import { Broker } from "../broker/broker.js";
import { checkText, checkUserId } from "../checks.js";
import { Inbox } from "../consume/inbox.js";
import { Answers } from "../control/answers.js";
import { Control } from "../control/control.js";
import { RingpostError } from "../errors.js";
import type { Events } from "../events.js";
import type { Journal } from "../journal/journal.js";
import { createLink } from "../link/link.js";
import type { Link, LinkPorts, ReceiptEvent } from "../link/ports.js";
import type { MaildropName, Post } from "../transport/post.js";
import type { Servers } from "../transport/servers.js";
import { closedError } from "../waiting.js";
import { Chats } from "./chats.js";
import { Contacts } from "./contacts.js";
import { createCourier, dataAddressOf } from "./courier.js";
import { DataMaildrop } from "./data-maildrop.js";
import { tellDeadLetter } from "./dead-letter.js";
import { Directory } from "./directory.js";
import { linkClock, linkDice } from "./link-ports.js";
import { type Entering, Login } from "./login.js";
import { MailboxFolders } from "./mailbox.js";
import { domainOf, userId } from "./names.js";
import { OwnRecord } from "./own-record.js";
import { Poller, pollOf } from "./poller.js";
import { Requests } from "./requests.js";
import { Session } from "./session.js";

export interface AccountParts {
  readonly user: string;
  /** `ring@<domain>`, until a login says better. */
  readonly ring: string;
  readonly elsewhere: AccountOptions["mail"];
  readonly options: ConnectOptions;
  readonly journal: Journal;
  readonly post: Post;
  readonly servers: Servers;
  readonly events: Events;
  readonly nowMs: () => number;
}

/** Peers are not told of less: they are to wait for the next look, and it comes later when it was quiet. */
const toldPollMs = 1_000;

export class Account {
  readonly user: string;
  readonly link: Link;
  readonly inbox: Inbox;
  readonly broker: Broker;
  readonly requests: Requests;
  readonly chats: Chats;
  readonly contacts: Contacts;
  readonly mailbox: MailboxFolders;
  readonly directory: Directory;
  readonly #parts: AccountParts;
  readonly #end = new AbortController();
  readonly #session: Session;
  readonly #answers: Answers;
  readonly #login: Login;
  readonly #data: DataMaildrop;
  readonly #poll: { readonly minMs: number; readonly maxMs: number };
  #poller: Poller | undefined;

  constructor(parts: AccountParts) {
    this.#parts = parts;
    const { user, journal, post, nowMs, options } = parts;
    this.user = user;
    this.#poll = pollOf(options.poll, post.isElsewhere);
    const { signal } = this.#end;
    // All that waits hears of the end; Node takes more than ten for a leak.
    setMaxListeners(0, signal);
    this.#session = new Session(nowMs);
    this.#answers = new Answers({
      open: (use) => this.#openAnswers(use),
      isShared: post.isElsewhere,
      nowMs,
      signal,
    });
    const control = new Control({
      ...{ user, journal, post, nowMs, signal, answers: this.#answers },
      address: this.#address,
      ring: () => this.#ring,
      token: () => this.#session.token,
      isOfRing: (answer) => this.#session.isOfRing(answer),
    });
    const ask: Control["ask"] = (operation, question, asking) =>
      this.#login.ask(operation, question, asking);
    const { values } = journal;
    const resolve = (name: string) => ask("resolve", { user: name });
    this.directory = new Directory({ ask: resolve, values, nowMs });
    const record = new OwnRecord({
      ...{ user, address: this.#address, pollMs: this.#poll.maxMs, journal, nowMs, signal },
      directory: this.directory,
      announce: (made) => ask("announce", { record: made }),
    });
    const learn = parts.servers.learn.bind(parts.servers);
    const renewed = (): void => this.link.retry();
    this.#login = new Login({ control, session: this.#session, record, learn, renewed, signal });
    const link = createLink(journal, this.#linkPorts(), this.#linkOptions());
    this.link = link;
    this.inbox = new Inbox({ link, closing: signal, onConsumer: () => this.#consumes() });
    this.#data = new DataMaildrop({
      isShared: post.isElsewhere,
      receive: (mail, uid) => link.receive(mail, uid),
      handle: async (received) =>
        received.kind === "configuration"
          ? this.#answers.take(received.header, received.frames)
          : await this.broker.takePushed(received.queue, received.pushed ?? []),
      polled: () => link.polled(),
      nowMs,
    });
    this.requests = new Requests(this.inbox, link);
    const idOf = (name: string): string => this.idOf(name);
    const told = (withUser: string, line: ChatLine): void =>
      parts.events.emit("chat", { user: withUser, line });
    this.chats = new Chats({
      ...{ user, inbox: this.inbox, link, values, idOf, told },
      listens: !this.#isVolatile || parts.events.has("chat"),
    });
    this.contacts = new Contacts({ ask, values, idOf });
    this.mailbox = new MailboxFolders({
      ask,
      address: parts.elsewhere?.address ?? user,
      open: (folder, use) => this.#openFolder(folder, use),
      submit: (make) =>
        this.#login.renewing(() => post.submit(make, { user, token: this.#session.answer.token })),
    });
    this.broker = new Broker({
      ...{ user, ask, link, values, poll: this.#poll, closing: signal },
      ring: () => this.#ring,
      openQueue: (name, use) => this.#openQueue(name, use),
      // The unique-ids are their names.
      askQueues: (names) => this.#open(`queue/?${names.join(",")}`, (client) => client.uidl()),
      failed: (queue, error) => this.#queueFailed(queue, error),
      isPushed: post.isElsewhere,
    });
  }

  get isLoggedIn(): boolean {
    return this.#session.token !== undefined;
  }

  /** `bob` → `bob@ring.test`. */
  idOf(name: string): string {
    checkText(name, "a user");
    return checkUserId(userId(name, domainOf(this.#ring)));
  }

  async enter(
    operation: "register" | "login",
    password: string,
    entering: Entering = {},
  ): Promise<void> {
    await this.#login.enter(operation, password, entering);
    this.#poller ??= new Poller({
      ...this.#poll,
      look: () => this.#look(),
      signal: this.#end.signal,
    });
    this.link.retry();
  }

  refresh(): Promise<void> {
    return this.#login.refresh();
  }

  async logout(): Promise<void> {
    await this.broker.giveBack();
    await this.#login.leave();
  }

  /** Waits until what was sent is delivered and what was settled is known to the ring. */
  async settled(): Promise<void> {
    await Promise.all([this.link.delivered(), this.broker.settled()]);
  }

  async close(): Promise<void> {
    await this.broker.end();
    this.#login.close();
    this.link.close();
    this.#end.abort(closedError());
    await this.#poller?.ended;
    await this.#parts.journal.close();
  }

  get #ring(): string {
    return this.#session.token === undefined ? this.#parts.ring : this.#session.answer.ring;
  }

  /** Where this user's programs are written to. */
  get #address(): string {
    const { elsewhere, user } = this.#parts;
    return elsewhere?.address ?? dataAddressOf(user);
  }

  #linkPorts(): LinkPorts {
    const { post, events } = this.#parts;
    return {
      clock: linkClock,
      dice: linkDice,
      carrier: createCourier({
        post,
        directory: this.directory,
        session: () => this.#session.answer,
        address: this.#address,
        sent: (isAnswered) => (isAnswered ? this.broker.poke() : this.expectMail()),
        renewing: (use) => this.#login.renewing(use),
      }),
      keyVerdict: async (header) => {
        if (header.from.user === this.#ring) {
          return this.#session.isRingKey(header) ? "theirs" : "unknown";
        }
        const verdict = this.directory.keyVerdict(header);
        if (!post.isElsewhere) return await verdict;
        // Whatever has to be asked for is answered in the maildrop that is open just now: it is known
        // when the mail is looked at again.
        return await Promise.race([verdict, nextTurn("unknown" as const)]);
      },
      ready: () => this.inbox?.poke(),
      receipt: (event) => this.#receipt(event),
      deadLetter: (letter) => void tellDeadLetter(events, letter),
      failed: (error) => {
        events.emit("status", { state: "offline" });
        events.emit("deadLetter", { id: "journal", why: error.message });
      },
    };
  }

  #linkOptions(): Parameters<typeof createLink>[2] {
    const { windowOctets, blockOctets, lingerMs } = this.#parts.options;
    return {
      user: this.user,
      ring: this.#parts.ring,
      pollMs: () => Math.max(this.#poller?.pollMs ?? 0, toldPollMs),
      ...(windowOctets === undefined ? {} : { windowOctets }),
      ...(blockOctets === undefined ? {} : { blockOctets }),
      ...(lingerMs === undefined ? {} : { lingerMs }),
      ...(this.#isVolatile && {
        isConsumed: (of) => of !== undefined && this.inbox.isConsumed(of.kind ?? "message"),
      }),
    };
  }

  /** What is fetched is lost with the process: nothing is that nobody here consumes. */
  get #isVolatile(): boolean {
    return this.#parts.options.store === undefined;
  }

  #consumes(): void {
    if (!this.#isVolatile) return;
    this.#data.lookAgainAtAll();
    this.expectMail();
  }

  /** Somebody waits for messages, or will be answered: looks soon, and often for a while. */
  expectMail(): void {
    this.#poller?.poke();
    this.broker?.poke();
  }

  #receipt(event: ReceiptEvent): void {
    const { id, state } = event;
    this.chats?.receipt(event);
    this.#parts.events.emit("receipt", { id, state });
  }

  async #look(): Promise<boolean> {
    return await this.#open("data", (client) => this.#data.collect(client));
  }

  async #open<T>(name: MaildropName, use: (client: Pop3Client) => Promise<T>): Promise<T> {
    const { post } = this.#parts;
    const login = this.#login;
    return await login.renewing(() => post.open(this.user, name, login.credentials, use));
  }

  /**
   * A login waits for what is fetched here, so this can't wait for a login. What is denied is tried
   * again if there is one under way, or done, by then.
   */
  async #openAnswers(use: (client: Pop3Client) => Promise<void>): Promise<void> {
    const { post } = this.#parts;
    const { credentials } = this.#login;
    try {
      await post.open(this.user, "config", credentials, use);
    } catch (error) {
      const now = this.#login.credentials;
      const isDenied = error instanceof RingpostError && error.code === "denied";
      if (!isDenied || JSON.stringify(now) === JSON.stringify(credentials)) throw error;
      await post.open(this.user, "config", now, use);
    }
  }

  #openFolder<T>(folder: Folder, use: (client: Pop3Client) => Promise<T>): Promise<T> {
    if (folder === "outbox" && this.#parts.elsewhere !== undefined) {
      return Promise.reject(new RingpostError("forbidden", "an account elsewhere has none", false));
    }
    return this.#open(folder, use);
  }

  async #openQueue(name: string, use: (client: Pop3Client) => Promise<void>): Promise<void> {
    // Its entries come to the account by themselves; there is room for those that wait there.
    if (this.#parts.post.isElsewhere) return this.#data.lookAgain(name);
    await this.#open(`queue/${name}`, use);
  }

  #queueFailed(queue: string, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    if (!(error instanceof RingpostError)) {
      return this.#parts.events.emit("deadLetter", { id: `queue:${queue}`, why });
    }
    const { code, retryable } = error;
    if (!retryable) this.#parts.events.emit("deadLetter", { id: `queue:${queue}`, why, code });
  }
}
