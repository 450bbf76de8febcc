/** The client: what `connect` answers. */
import { setMaxListeners } from "node:events";
import type { ResolvedRecord } from "../ebm/index.js";
import { Account } from "./account/account.js";
import { domainOf, userId } from "./account/names.js";
import type {
  ConnectOptions,
  Consumer,
  Message,
  Receipt,
  Ringpost,
  RingpostEvents,
} from "./api.js";
import {
  check,
  checkAccount,
  checkConsuming,
  checkListening,
  checkTimeout,
  checkUserId,
} from "./checks.js";
import { RingpostError } from "./errors.js";
import { Events } from "./events.js";
import { openJournal } from "./journal/journal.js";
import { sendMessage } from "./outbox.js";
import { knownServers } from "./transport/endpoints.js";
import { Post } from "./transport/post.js";
import { Servers } from "./transport/servers.js";
import { closedError, within } from "./waiting.js";

/** Of a ring that was not told otherwise. */
const defaultDomain = "ring.test";
const drainMs = 60_000;

export class Client implements Ringpost {
  readonly #options: ConnectOptions;
  readonly #events = new Events();
  readonly #end = new AbortController();
  readonly #servers: Servers;
  readonly #post: Post;
  #account: Account | undefined;
  #entering: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /** @throws RingpostError `malformed` for servers that are none */
  constructor(options: ConnectOptions) {
    this.#options = options;
    const { account, servers, tls = "auto" } = options;
    if (servers.length === 0 && account?.mail === undefined) {
      throw new RingpostError("malformed", "servers: name at least one", false);
    }
    const nowMs = Date.now;
    // All that waits hears of the end; Node takes more than ten for a leak.
    setMaxListeners(0, this.#end.signal);
    this.#servers = new Servers({
      ...knownServers(servers),
      nowMs,
      signal: this.#end.signal,
      onFailover: (event) => this.#events.emit("failover", event),
      onStatus: (state, server) =>
        this.#events.emit("status", { state, ...(server === undefined ? {} : { server }) }),
    });
    this.#post = new Post({
      ...{ servers: this.#servers, tls, nowMs, signal: this.#end.signal },
      elsewhere: account?.mail,
    });
    const { signal } = options;
    // What goes wrong is told to who calls `close`; else it would end the process.
    const close = (): void => void this.close().catch(() => undefined);
    if (signal?.aborted === true) close();
    signal?.addEventListener("abort", close, { once: true, signal: this.#end.signal });
  }

  get user(): string | undefined {
    return this.#account?.isLoggedIn === true ? this.#account.user : undefined;
  }

  readonly register: Ringpost["register"] = async (account) => {
    checkAccount(account);
    await this.#enter("register", account.user, account.password, account.invitation);
  };

  readonly login: Ringpost["login"] = async (account) => {
    checkAccount(account);
    await this.#enter("login", account.user, account.password);
  };

  async logout(): Promise<void> {
    await this.#loggedIn.logout();
    const account = this.#account;
    this.#account = undefined;
    await account?.close();
  }

  refresh(): Promise<void> {
    return this.#try((account) => account.refresh());
  }

  readonly send: Ringpost["send"] = (to, body, options) =>
    this.#try((account) => sendMessage(account.link, { to: account.idOf(to), body, options }));

  readonly inbox: Ringpost["inbox"] = (options) => {
    const account = this.#loggedIn;
    if (options !== undefined) checkConsuming(options);
    account.expectMail();
    return account.inbox.consume("message", options);
  };

  readonly request: Ringpost["request"] = (to, body, options = {}): Promise<Message> =>
    this.#try((account) => account.requests.request(account.idOf(to), body, options));

  readonly respond: Ringpost["respond"] = (handler) => {
    const { requests } = this.#loggedIn;
    check(typeof handler === "function", "respond: the handler is a function");
    return requests.respond(handler);
  };

  readonly createEvent: Ringpost["createEvent"] = (name, options) =>
    this.#try((account) => account.broker.createEvent(name, options));

  readonly publish: Ringpost["publish"] = (event, body, options): Promise<Receipt> =>
    this.#try((account) => account.broker.publishEvent(event, body, options));

  readonly subscribe: Ringpost["subscribe"] = (event, options): Promise<Consumer> =>
    this.#try((account) => account.broker.subscribe(event, options));

  readonly unsubscribe: Ringpost["unsubscribe"] = (event) =>
    this.#try((account) => account.broker.unsubscribe(event));

  readonly exchange: Ringpost["exchange"] = (name, type, options) =>
    this.#try((account) => account.broker.exchange(name, { type, ...options }));

  readonly queue: Ringpost["queue"] = (name, options) =>
    this.#try((account) => account.broker.queue(name, options));

  readonly mailbox: Ringpost["mailbox"] = {
    list: (folder) => this.#try((account) => account.mailbox.list(folder)),
    read: (folder, uid) => this.#try((account) => account.mailbox.read(folder, uid)),
    markRead: (uids) => this.#try((account) => account.mailbox.markRead(uids)),
    delete: (folder, uids) => this.#try((account) => account.mailbox.delete(folder, uids)),
    send: (mail) => this.#try((account) => account.mailbox.send(mail)),
    quota: () => this.#try((account) => account.mailbox.quota()),
  };

  readonly contacts: Ringpost["contacts"] = {
    add: (contact) => this.#try((account) => account.contacts.add(contact)),
    list: () => this.#try((account) => account.contacts.list()),
    remove: (user) => this.#try((account) => account.contacts.remove(user)),
  };

  readonly chats: Ringpost["chats"] = {
    list: () => this.#try((account) => account.chats.list()),
    open: (user) => this.#try((account) => account.chats.open(user)),
  };

  resolve(user: string): Promise<ResolvedRecord> {
    return this.#try(async (account) => await account.directory.resolve(account.idOf(user)));
  }

  on<E extends keyof RingpostEvents>(event: E, listener: (value: RingpostEvents[E]) => void): this {
    checkListening(event, listener);
    this.#events.on(event, listener);
    if (event === "chat") this.#account?.chats.listen();
    return this;
  }

  off<E extends keyof RingpostEvents>(
    event: E,
    listener: (value: RingpostEvents[E]) => void,
  ): this {
    this.#events.off(event, listener);
    return this;
  }

  async drain({ deadlineMs: ms = drainMs }: { readonly deadlineMs?: number } = {}): Promise<void> {
    checkTimeout(ms, "deadlineMs");
    if (this.#closing !== undefined) throw closedError();
    this.#events.emit("status", { state: "draining" });
    const { signal } = this.#end;
    try {
      const settled = this.#account?.settled() ?? Promise.resolve();
      await within(settled, { ms, what: "drain", signal });
    } finally {
      await this.close();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @throws RingpostError `loginNeeded`, `closed` */
  get #loggedIn(): Account {
    if (this.#closing !== undefined) throw closedError();
    const account = this.#account;
    if (account?.isLoggedIn === true) return account;
    throw new RingpostError("loginNeeded", "log in first, or register", false);
  }

  async #try<T>(use: (account: Account) => Promise<T>): Promise<T> {
    return await use(this.#loggedIn);
  }

  /** One after the other. */
  #enter(
    operation: "register" | "login",
    name: string,
    password: string,
    invitation?: string,
  ): Promise<void> {
    const entering = this.#entering.then(async () => {
      if (this.#closing !== undefined) throw closedError();
      const account = await this.#open(name);
      try {
        await account.enter(operation, password, invitation === undefined ? {} : { invitation });
      } catch (error) {
        // Nobody is logged in: the store is free for another user.
        if (!account.isLoggedIn) {
          if (this.#account === account) this.#account = undefined;
          await account.close();
        }
        throw error;
      }
    });
    this.#entering = entering.catch(() => undefined);
    return entering;
  }

  async #open(name: string): Promise<Account> {
    const { account, store } = this.#options;
    const ring = account?.ring ?? `ring@${name.includes("@") ? domainOf(name) : defaultDomain}`;
    const user = checkUserId(userId(name, domainOf(ring)));
    if (this.#account?.user === user) return this.#account;
    await this.#account?.close();
    this.#account = undefined;
    const journal = await openJournal({
      user,
      ...(store === undefined ? {} : { directory: store }),
    });
    this.#account = new Account({
      ...{ user, ring, journal, elsewhere: account?.mail, options: this.#options },
      ...{ post: this.#post, servers: this.#servers, events: this.#events, nowMs: Date.now },
    });
    return this.#account;
  }

  async #close(): Promise<void> {
    // While there is still a way to the ring.
    await this.#account?.broker.end();
    this.#end.abort(closedError());
    await this.#account?.close();
    this.#post.close();
    this.#events.emit("status", { state: "closed" });
  }
}
