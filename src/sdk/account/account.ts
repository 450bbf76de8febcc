/** One user who is logged in, or about to be: everything that belongs to a login. */
import { setMaxListeners } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Pop3Client } from "../../client/pop3-client.js";
import {
  type Answer,
  type Ask,
  type DirectoryRecord,
  type OperationName,
  publicKeyText,
  type SessionAnswer,
  signRecord,
} from "../../ebm/index.js";
import type { AccountOptions, ConnectOptions, Folder } from "../api.js";
import { Broker } from "../broker/broker.js";
import { Inbox } from "../consume/inbox.js";
import { messageOf } from "../consume/message.js";
import { Answers } from "../control/answers.js";
import { type AskOptions, Control } from "../control/control.js";
import { RingpostError } from "../errors.js";
import type { Events } from "../events.js";
import type { Journal } from "../journal/journal.js";
import { createLink } from "../link/link.js";
import type { DeadLetter, Link, LinkPorts, ReceiptEvent } from "../link/ports.js";
import type { Credentials, MaildropName, Post } from "../transport/post.js";
import type { Servers } from "../transport/servers.js";
import { closedError } from "../waiting.js";
import { Chats } from "./chats.js";
import { Contacts } from "./contacts.js";
import { createCourier, dataAddressOf } from "./courier.js";
import { DataMaildrop } from "./data-maildrop.js";
import { Directory } from "./directory.js";
import { linkClock, linkDice } from "./link-ports.js";
import { MailboxFolders } from "./mailbox.js";
import { Poller } from "./poller.js";
import { Requests } from "./requests.js";
import { Session } from "./session.js";
import { delay } from "../waiting.js";

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

/** Of a record; every login and refresh makes a new one when half of it is over. */
const recordLifeMs = 30 * 86_400_000;
/** How often the record is looked at; below what peers wait for a device to be named. */
const recordWatchMs = 300_000;
/** Tries to put a record in place, where other programs of the user do the same. */
const overtakingMax = 10;
const overtakingMs = 50;
const defaultPoll = { minMs: 1_000, maxMs: 15_000 } as const;

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
  readonly #control: Control;
  readonly #data: DataMaildrop;
  readonly #poll: { readonly minMs: number; readonly maxMs: number };
  #poller: Poller | undefined;
  #password: string | undefined;
  #refreshing: NodeJS.Timeout | undefined;
  #watching: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;
  /** Of the last record that was made or seen. */
  #version = 0;

  constructor(parts: AccountParts) {
    this.#parts = parts;
    const { user, journal, post, nowMs, options } = parts;
    this.user = user;
    const { minMs = defaultPoll.minMs, maxMs = Math.max(defaultPoll.maxMs, minMs) } =
      options.poll ?? {};
    this.#poll = { minMs, maxMs };
    const { signal } = this.#end;
    // All that waits hears of the end; Node takes more than ten for a leak.
    setMaxListeners(0, signal);
    this.#session = new Session(nowMs);
    this.#answers = new Answers({
      open: (use) => this.#open("config", use),
      isShared: post.isElsewhere,
      nowMs,
      signal,
    });
    this.#control = new Control({
      ...{ user, journal, post, nowMs, signal, answers: this.#answers },
      address: this.#address,
      ring: () => this.#ring,
      token: () => this.#session.token,
      isOfRing: (answer) => this.#session.isOfRing(answer),
    });
    const ask: Control["ask"] = (operation, question, asking) =>
      this.ask(operation, question, asking);
    const { values } = journal;
    const resolve = (name: string) => ask("resolve", { user: name });
    this.directory = new Directory({ ask: resolve, values, nowMs });
    const link = createLink(journal, this.#linkPorts(), this.#linkOptions());
    this.link = link;
    this.inbox = new Inbox({ link, closing: signal });
    this.requests = new Requests(this.inbox, link);
    const idOf = (name: string): string => this.idOf(name);
    this.chats = new Chats({ user, inbox: this.inbox, link, values, idOf });
    this.contacts = new Contacts({ ask, values, idOf });
    this.mailbox = new MailboxFolders({
      ask,
      address: parts.elsewhere?.address ?? user,
      open: (folder, use) => this.#openFolder(folder, use),
      submit: (make) => post.submit(make, { user, token: this.#session.answer.token }),
    });
    this.broker = new Broker({
      ...{ user, ask, link, values, poll: this.#poll, closing: signal },
      ring: () => this.#ring,
      openQueue: (name, use) => this.#openQueue(name, use),
      failed: (queue, error) => this.#queueFailed(queue, error),
      isPushed: post.isElsewhere,
    });
    this.#data = new DataMaildrop({
      isShared: post.isElsewhere,
      receive: (mail, uid) => link.receive(mail, uid),
      handle: async (received, uid) =>
        received.kind === "configuration"
          ? this.#answers.take(received.header, received.frames)
          : await this.broker.takePushed(received.queue, uid, received),
      nowMs,
    });
  }

  get isLoggedIn(): boolean {
    return this.#session.token !== undefined;
  }

  /** `bob` → `bob@ring.test`. */
  idOf(name: string): string {
    return userId(name, domainOf(this.#ring));
  }

  async enter(
    operation: "register" | "login",
    password: string,
    more: { readonly invitation?: string; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const { invitation, signal } = more;
    this.#password = password;
    if (operation === "login") await this.#login(password, signal);
    else {
      const record = this.#makeRecord();
      const question = { password, record, ...(invitation === undefined ? {} : { invitation }) };
      this.#taken(await this.#control.ask(operation, question, { signal }));
    }
    await this.#nameAllDevices();
    this.#watchRecord();
    this.#poller ??= new Poller({
      ...this.#poll,
      look: () => this.#look(),
      signal: this.#end.signal,
    });
    this.link.retry();
  }

  /**
   * As `Control.ask`; a token that is not valid (any more) is replaced by a login, once.
   * @throws RingpostError
   */
  async ask<N extends OperationName>(
    operation: N,
    question: Ask<N>,
    options: AskOptions = {},
  ): Promise<Answer<N>> {
    try {
      return await this.#control.ask(operation, question, options);
    } catch (error) {
      if (!(await this.#canRenew(error))) throw error;
      return await this.#control.ask(operation, question, options);
    }
  }

  async refresh(): Promise<void> {
    this.#taken(await this.ask("refresh", {}));
    await this.#nameAllDevices();
  }

  async logout(): Promise<void> {
    this.#password = undefined;
    await this.#control.ask("logout", {});
    this.#session.forget();
  }

  /** Waits until what was sent is delivered and what was settled is known to the ring. */
  async settled(): Promise<void> {
    await Promise.all([this.link.delivered(), this.broker.settled()]);
  }

  async close(): Promise<void> {
    clearTimeout(this.#refreshing);
    clearInterval(this.#watching);
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

  get #credentials(): Credentials {
    const { token } = this.#session;
    if (token !== undefined) return { token };
    if (this.#password !== undefined) return { password: this.#password };
    throw new RingpostError("loginNeeded", "log in first, or register", false);
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
        sent: () => this.#expectMail(),
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
      deadLetter: (letter) => void this.#deadLetter(letter),
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
      pollMs: () => this.#poller?.pollMs ?? this.#poll.minMs,
      ...(windowOctets === undefined ? {} : { windowOctets }),
      ...(blockOctets === undefined ? {} : { blockOctets }),
      ...(lingerMs === undefined ? {} : { lingerMs }),
    };
  }

  #expectMail(): void {
    this.#poller?.poke();
    this.broker?.poke();
  }

  #receipt(event: ReceiptEvent): void {
    const { id, state } = event;
    this.chats?.receipt(event);
    this.#parts.events.emit("receipt", { id, state });
  }

  async #deadLetter(letter: DeadLetter): Promise<void> {
    const { id, why, properties, stream, sequence, user } = letter;
    const { events } = this.#parts;
    if (letter.direction === "out" || !properties || stream === undefined) {
      return events.emit("deadLetter", { id, why });
    }
    const origin = { user, device: "", epoch: 0 };
    const inbound = { id, origin, stream, sequence: sequence ?? 0, properties, octets: 0 };
    try {
      const message = await messageOf({ ...inbound, redelivered: 0, body: () => letter.body() });
      events.emit("deadLetter", { id, why, message });
    } catch {
      events.emit("deadLetter", { id, why });
    }
  }

  async #look(): Promise<boolean> {
    const found = await this.#open("data", (client) => this.#data.collect(client));
    this.link.polled();
    return found;
  }

  async #open<T>(name: MaildropName, use: (client: Pop3Client) => Promise<T>): Promise<T> {
    const { post } = this.#parts;
    try {
      return await post.open(this.user, name, this.#credentials, use);
    } catch (error) {
      if (this.#session.token === undefined || !(await this.#canRenew(error))) throw error;
      return await post.open(this.user, name, this.#credentials, use);
    }
  }

  #openFolder<T>(folder: Folder, use: (client: Pop3Client) => Promise<T>): Promise<T> {
    if (folder === "outbox" && this.#parts.elsewhere !== undefined) {
      return Promise.reject(new RingpostError("forbidden", "an account elsewhere has none", false));
    }
    return this.#open(folder, use);
  }

  async #openQueue(name: string, use: (client: Pop3Client) => Promise<void>): Promise<void> {
    // Its entries come to the account by themselves.
    if (this.#parts.post.isElsewhere) return;
    await this.#open(`queue/${name}`, use);
  }

  #queueFailed(queue: string, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    if (error instanceof RingpostError && error.retryable) return;
    this.#parts.events.emit("deadLetter", { id: `queue:${queue}`, why });
  }

  /** True when there is a new token: the question may be put again. */
  async #canRenew(error: unknown): Promise<boolean> {
    const password = this.#password;
    const isDenied = error instanceof RingpostError && error.code === "denied";
    if (!isDenied || password === undefined || this.#end.signal.aborted) return false;
    this.#renewing ??= this.#renew(password).finally(() => {
      this.#renewing = undefined;
    });
    try {
      await this.#renewing;
      return true;
    } catch {
      return false;
    }
  }

  async #renew(password: string): Promise<void> {
    await this.#login(password);
    await this.#nameAllDevices();
  }

  /** Other programs of the user may log in at the same time, or have a clock that is ahead. */
  async #login(password: string, signal?: AbortSignal): Promise<void> {
    let aheadMs = 1;
    await this.#overtaking(async () => {
      this.#version += aheadMs;
      aheadMs *= 4;
      const record = this.#makeRecord();
      this.#taken(await this.#control.ask("login", { password, record }, { signal }));
    });
  }

  /** A record that was in place before ours: ours is made anew, with a later version. */
  async #overtaking(put: () => Promise<void>): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await put();
      } catch (error) {
        const isLate = error instanceof RingpostError && error.code === "exists";
        if (!isLate || tries >= overtakingMax || this.#end.signal.aborted) throw error;
      }
      // Those that met once don't meet again.
      await delay(Math.random() * overtakingMs * tries, this.#end.signal);
    }
  }

  #taken(session: SessionAnswer): void {
    this.#session.take(session);
    this.#parts.servers.learn(session.servers);
    clearTimeout(this.#refreshing);
    this.#refreshing = setTimeout(() => {
      // Later it is renewed by whatever is denied first.
      this.refresh().catch(() => undefined);
    }, this.#session.refreshInMs);
    this.#refreshing.unref();
  }

  #makeRecord(others: DirectoryRecord["devices"] = []): DirectoryRecord {
    const { nowMs, journal } = this.#parts;
    const { device, privateKey } = journal.identity;
    const own = { device, key: publicKeyText(privateKey) };
    const devices = [own, ...others.filter((one) => one.device !== device)].slice(0, 16);
    const version = Math.max(nowMs(), this.#version + 1);
    this.#version = version;
    return signRecord(
      {
        user: this.user,
        version,
        addresses: [this.#address],
        devices,
        expiresAtMs: version + recordLifeMs,
        pollMs: this.#poll.maxMs,
        signedBy: device,
      },
      privateKey,
    );
  }

  /** Another program of the user that logs in puts a record in place that may not name this one. */
  #watchRecord(): void {
    if (this.#watching !== undefined) return;
    this.#watching = setInterval(() => {
      this.#nameAllDevices().catch(() => undefined);
    }, recordWatchMs);
    this.#watching.unref();
  }

  /** Peers believe what the record names: a second program of the user must not hide the first. */
  #nameAllDevices(): Promise<void> {
    return this.#overtaking(() => this.#nameDevices());
  }

  async #nameDevices(): Promise<void> {
    const { values } = this.#parts.journal;
    const known = (values.get("devices") ?? []) as DirectoryRecord["devices"];
    const current = await this.directory.ask(this.user);
    const named = new Set(current.devices.map(({ device }) => device));
    const missing = known.filter(({ device }) => !named.has(device));
    const isOurs = named.has(this.#parts.journal.identity.device);
    const isFresh = current.expiresAtMs - this.#parts.nowMs() > recordLifeMs / 2;
    this.#version = Math.max(this.#version, current.version);
    if (!isOurs || !isFresh || missing.length > 0) {
      const record = this.#makeRecord([...current.devices, ...missing]);
      await this.ask("announce", { record });
      await values.set("devices", record.devices);
    } else await values.set("devices", current.devices);
  }
}

/** `alice` and `ring.test` → `alice@ring.test`. */
export function userId(name: string, domain: string): string {
  const text = name.trim().toLowerCase();
  return text.includes("@") ? text : `${text}@${domain}`;
}

export const domainOf = (address: string): string => address.slice(address.lastIndexOf("@") + 1);
