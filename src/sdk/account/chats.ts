/** Conversations, kept with the client: small lists of lines, one per user. */
import type { Chat, ChatLine } from "../api.js";
import { check } from "../checks.js";
import type { Inbox } from "../consume/inbox.js";
import type { Values } from "../journal/ports.js";
import type { Link, ReceiptEvent } from "../link/ports.js";
import { sendMessage } from "../outbox.js";

/** As it lies in the journal. */
interface KeptLine extends Omit<ChatLine, "at"> {
  readonly atMs: number;
}

export interface ChatsOptions {
  readonly user: string;
  readonly inbox: Inbox;
  readonly link: Link;
  readonly values: Values;
  /** `bob` → `bob@ring.test` */
  readonly idOf: (name: string) => string;
  /** A line came, or one of ours got somewhere. */
  readonly told: (user: string, line: ChatLine) => void;
  /** At once; if not, when somebody asks for a conversation. */
  readonly listens: boolean;
}

/** Of one conversation; older ones are forgotten. Under 1 MiB together. */
const linesMax = 500;
const octetsMax = 900_000;
const prefix = "chat:";

export class Chats {
  readonly #options: ChatsOptions;
  /** As they are now; written behind. */
  readonly #current = new Map<string, readonly KeptLine[]>();
  /** By message: with whom the line is. */
  readonly #sent = new Map<string, string>();
  #isListening = false;

  constructor(options: ChatsOptions) {
    this.#options = options;
    for (const { user } of this.#all()) {
      for (const line of this.#lines(user)) {
        if (line.state === "sending" || line.state === "delivered") this.#sent.set(line.id, user);
      }
    }
    if (options.listens) this.listen();
  }

  /** Lines are taken from now on. */
  listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    this.#listen().catch(() => undefined);
  }

  list(): Promise<readonly { readonly user: string; readonly last: ChatLine | undefined }[]> {
    this.listen();
    const latest = this.#all().map(({ user }) => ({ user, last: this.#lines(user).at(-1) }));
    latest.sort((a, b) => (b.last?.at.getTime() ?? 0) - (a.last?.at.getTime() ?? 0));
    return Promise.resolve(latest);
  }

  open(name: string): Promise<Chat> {
    this.listen();
    const user = this.#options.idOf(name);
    const lines = (): readonly ChatLine[] => this.#lines(user);
    return Promise.resolve({
      user,
      get messages() {
        return lines();
      },
      send: async (text) => {
        check(typeof text === "string", "a line of a chat: a text");
        const { link } = this.#options;
        const receipt = await sendMessage(link, {
          to: user,
          body: text,
          options: { stream: "chat" },
          extra: { kind: "chat" },
        });
        this.#sent.set(receipt.id, user);
        const from = this.#options.user;
        await this.#add(user, { id: receipt.id, from, text, atMs: Date.now(), state: "sending" });
        return receipt;
      },
    });
  }

  /** A line of ours got somewhere. */
  receipt({ id, state }: ReceiptEvent): void {
    const user = this.#sent.get(id);
    if (user === undefined || state === "accepted") return;
    const states = { delivered: "delivered", consumed: "read", dead: "failed" } as const;
    if (state !== "delivered") this.#sent.delete(id);
    this.#change(user, (lines) =>
      lines.map((line) => (line.id === id ? { ...line, state: states[state] } : line)),
    ).catch(() => undefined);
    this.#tell(user, id);
  }

  async #listen(): Promise<void> {
    for await (const message of this.#options.inbox.consume("chat")) {
      const { id, from, sentAt } = message;
      await this.#add(from, {
        id,
        from,
        text: message.text(),
        atMs: sentAt.getTime(),
        state: "received",
      });
      this.#tell(from, id);
      await message.ack();
    }
  }

  #tell(user: string, id: string): void {
    const line = this.#lines(user).find((one) => one.id === id);
    if (line !== undefined) this.#options.told(user, line);
  }

  /** Once, however often it comes. */
  #add(user: string, added: KeptLine): Promise<void> {
    return this.#change(user, (lines) =>
      lines.some(({ id }) => id === added.id) ? lines : [...lines, added],
    );
  }

  /** Seen at once; durable when it resolves. Writes go in the order of the calls. */
  #change(
    user: string,
    change: (lines: readonly KeptLine[]) => readonly KeptLine[],
  ): Promise<void> {
    const lines = bounded(change(this.#kept(user)));
    this.#current.set(user, lines);
    return this.#options.values.set(prefix + user, lines);
  }

  #all(): { user: string }[] {
    const keys = this.#options.values.keys(prefix);
    return keys.map((key) => ({ user: key.slice(prefix.length) }));
  }

  #kept(user: string): readonly KeptLine[] {
    const kept = this.#current.get(user) ?? this.#options.values.get(prefix + user);
    return (kept as readonly KeptLine[] | undefined) ?? [];
  }

  #lines(user: string): readonly ChatLine[] {
    return this.#kept(user).map(({ atMs, ...line }) => ({ ...line, at: new Date(atMs) }));
  }
}

function bounded(lines: readonly KeptLine[]): readonly KeptLine[] {
  let octets = 0;
  const kept: KeptLine[] = [];
  for (const line of lines.slice(-linesMax).reverse()) {
    octets += Buffer.byteLength(JSON.stringify(line)) + 1;
    if (octets > octetsMax) break;
    kept.push(line);
  }
  return kept.reverse();
}
