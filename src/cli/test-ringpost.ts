/** A `Ringpost` for tests: mailboxes, contacts, chats, events and queues in memory. */
import {
  type Chat,
  type ChatLine,
  type ConnectOptions,
  type Consumer,
  type Delivery,
  type MailItem,
  type Receipt,
  type Ringpost,
  RingpostError,
  type SendOptions,
} from "../sdk/index.js";

export interface FakeMail extends MailItem {
  readonly octetsOf: string;
}

export interface Sent {
  readonly to: string;
  readonly bytes: Buffer;
  readonly options: (SendOptions & { readonly key?: string }) | undefined;
}

/** What a test looks at, and puts things into. */
export class FakeRing {
  readonly mails = { inbox: [] as FakeMail[], outbox: [] as FakeMail[] };
  readonly contacts: { user: string; name?: string }[] = [];
  readonly chats = new Map<string, ChatLine[]>();
  readonly accounts = new Map([["alice", "wonderland"]]);
  readonly connected: ConnectOptions[] = [];
  /** What was published and pushed. */
  readonly sent: Sent[] = [];
  /** What consumers get. */
  readonly waiting: Buffer[] = [];
  /** `ack a`, `nack b`, in order. */
  readonly settled: string[] = [];
  readonly calls: string[] = [];
  /** Never confirms what is sent. */
  isDeaf = false;
  readonly #listeners = new Map<string, Set<(value: never) => void>>();

  readonly connect = async (options: ConnectOptions): Promise<Ringpost> => {
    this.connected.push(options);
    const client = this.#client();
    if (options.account !== undefined) await client.login(options.account);
    return client;
  };

  /** Tells clients of a change of their connection. */
  status(state: "connected" | "offline"): void {
    this.#emit("status", { state });
  }

  /** A line of a chat comes. */
  chat(user: string, line: ChatLine): void {
    this.chats.set(user, [...(this.chats.get(user) ?? []), line]);
    this.#emit("chat", { user, line });
  }

  #emit(event: string, value: object): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(value as never);
  }

  #client(): Ringpost {
    const ring = this;
    let user: string | undefined;
    const receipt = (id: string): Receipt => {
      const done = ring.isDeaf ? new Promise<void>(() => undefined) : Promise.resolve();
      return { id, accepted: done, delivered: done, consumed: done };
    };
    const took = (to: string, body: unknown, options: Sent["options"]): Receipt => {
      ring.sent.push({ to, bytes: Buffer.from(body as Buffer), options });
      return receipt(`m${ring.sent.length}`);
    };
    const client = {
      get user() {
        return user;
      },
      login: async (given: { user: string; password: string }) => {
        if (ring.accounts.get(given.user) !== given.password) {
          throw new RingpostError("denied", "wrong name or password", false);
        }
        user = `${given.user}@ring.test`;
      },
      register: async (given: { user: string; password: string }) => {
        if (ring.accounts.has(given.user)) {
          throw new RingpostError("exists", "there is such an account", false);
        }
        ring.accounts.set(given.user, given.password);
        await client.login(given);
      },
      mailbox: {
        list: async (folder: "inbox" | "outbox") => ring.mails[folder],
        read: async (folder: "inbox" | "outbox", uid: string) =>
          Buffer.from(ring.mails[folder].find((mail) => mail.uid === uid)?.octetsOf ?? ""),
        markRead: async (uids: readonly string[]) => void ring.calls.push(`read ${uids.join()}`),
        delete: async (folder: "inbox" | "outbox", uids: readonly string[]) => {
          ring.mails[folder] = ring.mails[folder].filter(({ uid }) => !uids.includes(uid));
        },
        send: async (mail: object) => void ring.calls.push(`send ${JSON.stringify(mail)}`),
      },
      contacts: {
        list: async () => [...ring.contacts],
        add: async (contact: { user: string }) => void ring.contacts.push(contact),
        remove: async (id: string) => {
          ring.contacts.splice(
            ring.contacts.findIndex((contact) => contact.user === id),
            1,
          );
        },
      },
      chats: {
        list: async () =>
          [...ring.chats].map(([name, lines]) => ({ user: name, last: lines.at(-1) })),
        open: async (name: string): Promise<Chat> => ({
          user: name,
          messages: ring.chats.get(name) ?? [],
          send: async (text) => {
            const lines = ring.chats.get(name) ?? [];
            const at = new Date("2026-11-21T17:05:00Z");
            lines.push({ id: `c${lines.length}`, from: user ?? "", text, at, state: "sending" });
            ring.chats.set(name, lines);
            return receipt("c");
          },
        }),
      },
      publish: async (event: string, body: unknown, options: Sent["options"]) =>
        took(event, body, options),
      queue: async (name: string) => ({
        name,
        send: async (body: unknown, options: Sent["options"]) => took(name, body, options),
        consume: (options: { signal?: AbortSignal }) => ring.#consumer(name, options.signal),
      }),
      subscribe: async (event: string, options: { key?: string; signal?: AbortSignal }) => {
        ring.calls.push(`subscribe ${event} ${options.key ?? ""}`.trim());
        return ring.#consumer(event, options.signal);
      },
      unsubscribe: async (event: string) => void ring.calls.push(`unsubscribe ${event}`),
      on: (event: string, listener: (value: never) => void) => {
        const listeners = ring.#listeners.get(event) ?? new Set();
        ring.#listeners.set(event, listeners.add(listener));
      },
      close: async () => void ring.calls.push("close"),
    };
    return client as unknown as Ringpost;
  }

  #consumer(from: string, signal?: AbortSignal): Consumer {
    const ring = this;
    let end: () => void = () => undefined;
    const closed = new Promise<void>((resolve) => {
      end = resolve;
    });
    signal?.addEventListener("abort", end);
    async function* deliveries(): AsyncGenerator<Delivery> {
      for (;;) {
        const bytes = ring.waiting.shift();
        // Nothing more comes until the consumer is closed.
        if (bytes === undefined) return await closed;
        yield ring.#delivery(from, bytes);
      }
    }
    const iterator = deliveries();
    return {
      [Symbol.asyncIterator]: () => iterator,
      close: async () => end(),
      [Symbol.asyncDispose]: async () => end(),
    };
  }

  #delivery(exchange: string, bytes: Buffer): Delivery {
    const note = (what: string) => async () =>
      void this.settled.push(`${what} ${bytes.toString()}`);
    return {
      ...{ id: "m1", from: "bob@ring.test", stream: "main", sequence: 7, headers: { n: 1 } },
      ...{ contentType: "text/plain", sentAt: new Date("2026-11-21T17:00:00Z"), exchange },
      ...{ routingKey: "a.b", redelivered: 0, bytes },
      text: () => bytes.toString(),
      json: () => JSON.parse(bytes.toString()) as unknown,
      ...{ ack: note("ack"), nack: note("nack"), reject: note("reject"), working: note("working") },
    };
  }
}
