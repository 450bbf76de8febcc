/** For the tests of this room: a receiver that keeps what it gets, and a client of raw octets. */
import { randomBytes } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import net from "node:net";
import tls from "node:tls";
import path from "node:path";
import type { Delivery, DeliveryAnswer, MailReceiver, RecipientAnswer } from "../mailbox/ports.js";
import { canonicalMailbox } from "../mime/address.js";
import type { MailboxName, MessageId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import { temporaryFolder } from "./testing-folders.js";
import { createSmtpServer, type SmtpServer, type SmtpServerOptions } from "./server.js";

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export interface Kept {
  readonly mailbox: MailboxName;
  readonly sender: string;
  readonly trace: string;
  readonly body: Buffer;
}

/** Serves `ring.test`. Everybody exists but names that begin with `no` or `undecided`. */
export class FakeReceiver implements MailReceiver {
  readonly kept: Kept[] = [];
  readonly deliveries: Delivery[] = [];
  readonly outcomes: { ids: readonly MessageId[]; outcome: "confirmed" | "doubtful" }[] = [];
  resolved = 0;
  /** What `deliver` says instead of storing, or what it waits for first. */
  refuse: (() => DeliveryAnswer | undefined) | undefined;
  gate: Promise<void> | undefined;
  onDeliver: (() => void) | undefined;
  #settled: (() => void)[] = [];

  constructor(readonly spool: string) {}

  static create(): FakeReceiver {
    return new FakeReceiver(temporaryFolder("spool"));
  }

  async resolve(address: string): Promise<RecipientAnswer> {
    this.resolved += 1;
    const answer = canonicalMailbox(address, ["ring.test"], "ring.test");
    if (answer.kind !== "mailbox") return answer;
    if (answer.mailbox.startsWith("no")) return { kind: "unknown" };
    if (answer.mailbox.startsWith("undecided")) return { kind: "undecided" };
    return { kind: "mailboxes", mailboxes: [answer.mailbox] };
  }

  async deliver(delivery: Delivery): Promise<DeliveryAnswer> {
    this.deliveries.push(delivery);
    this.onDeliver?.();
    await this.gate;
    const refusal = this.refuse?.();
    if (refusal !== undefined) return refusal;
    const { body, sender, mailboxes, elsewhere = [], traceFor } = delivery;
    const bytes = body.kind === "bytes" ? Buffer.from(body.bytes) : await readFile(body.path);
    const ids = mailboxes.map((mailbox) => {
      const id = randomBytes(16).toString("hex") as MessageId;
      this.kept.push({ mailbox, sender, trace: traceFor(mailbox, id), body: bytes });
      return id;
    });
    for (const to of elsewhere) {
      const id = randomBytes(16).toString("hex") as MessageId;
      const mailbox = `to ${to}` as MailboxName;
      this.kept.push({ mailbox, sender, trace: traceFor(mailbox, id, to), body: bytes });
      ids.push(id);
    }
    return { kind: "stored", ids, copies: 2, copiesWanted: 3 };
  }

  spoolPath(): string {
    return path.join(this.spool, randomBytes(8).toString("hex"));
  }

  spooled(): Promise<string[]> {
    return readdir(this.spool);
  }

  settled(ids: readonly MessageId[], outcome: "confirmed" | "doubtful"): void {
    this.outcomes.push({ ids, outcome });
    for (const wake of this.#settled.splice(0)) wake();
  }

  /** Resolves once `count` mails are settled. */
  async settledCount(count: number): Promise<("confirmed" | "doubtful")[]> {
    while (this.outcomes.length < count) {
      await new Promise<void>((resolve) => this.#settled.push(resolve));
    }
    return this.outcomes.map(({ outcome }) => outcome);
  }
}

export interface Running {
  readonly server: SmtpServer;
  readonly receiver: FakeReceiver;
  readonly port: number;
}

export async function start(options: Partial<SmtpServerOptions> = {}): Promise<Running> {
  const receiver = FakeReceiver.create();
  const server = createSmtpServer({
    name: "mx.ring.test",
    receiver,
    log: silentLog,
    ...options,
  });
  const { port } = await server.listen({ host: "127.0.0.1", port: 0 });
  return { server, receiver, port };
}

/** Reads whole replies; writes whatever it is given. */
export class RawClient {
  #text = "";
  #wake: (() => void) | undefined;
  ended = false;
  error: Error | undefined;

  constructor(readonly socket: net.Socket) {
    socket.setNoDelay(true);
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#note(text));
    socket.on("error", (error) => {
      this.error = error;
    });
    const end = () => {
      this.ended = true;
      this.#wake?.();
    };
    socket.on("end", end);
    socket.on("close", end);
  }

  /** Connects and reads the greeting. */
  static async greeted(port: number): Promise<RawClient> {
    const client = new RawClient(net.connect({ host: "127.0.0.1", port }));
    await client.reply();
    return client;
  }

  /** A TLS handshake on the connection as it is; rejects when it fails. */
  async secure(options: tls.ConnectionOptions = {}): Promise<RawClient> {
    this.socket.removeAllListeners("data");
    return RawClient.#secured(
      tls.connect({ rejectUnauthorized: false, ...options, socket: this.socket }),
    );
  }

  /** TLS from the first octet; the greeting is read. */
  static async greetedSecurely(port: number, options: tls.ConnectionOptions = {}) {
    const at = { host: "127.0.0.1", port, rejectUnauthorized: false };
    const client = await RawClient.#secured(tls.connect({ ...at, ...options }));
    await client.reply();
    return client;
  }

  /** EHLO, STARTTLS and the handshake. */
  static async startedTls(port: number, options: tls.ConnectionOptions = {}): Promise<RawClient> {
    const client = await RawClient.greeted(port);
    await client.ask("EHLO client.test");
    const ready = await client.ask("STARTTLS");
    if (!ready.startsWith("220 ")) throw new Error(ready);
    return client.secure(options);
  }

  static async #secured(socket: tls.TLSSocket): Promise<RawClient> {
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed in the handshake")));
    });
    return client;
  }

  #note(text: string): void {
    this.#text += text;
    this.#wake?.();
  }

  write(data: string | Buffer): void {
    this.socket.write(data);
  }

  /** The next whole reply; "" when the connection ended before. */
  async reply(): Promise<string> {
    for (;;) {
      const match = /^(?:\d{3}-[^\r\n]*\r\n)*\d{3}(?: [^\r\n]*)?\r\n/.exec(this.#text);
      if (match !== null) {
        this.#text = this.#text.slice(match[0].length);
        return match[0].trimEnd();
      }
      if (this.ended) return "";
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async replies(count: number): Promise<string[]> {
    const all: string[] = [];
    while (all.length < count) all.push(await this.reply());
    return all;
  }

  async ask(command: string | Buffer): Promise<string> {
    this.write(typeof command === "string" ? `${command}\r\n` : command);
    return this.reply();
  }

  /** EHLO up to the 354. */
  async toData(recipients: readonly string[] = ["alice@ring.test"], mail = ""): Promise<string> {
    await this.ask("EHLO client.test");
    await this.ask(`MAIL FROM:<bob@else.test>${mail}`);
    for (const recipient of recipients) await this.ask(`RCPT TO:<${recipient}>`);
    return this.ask("DATA");
  }

  async closed(): Promise<void> {
    while (!this.socket.closed) {
      await new Promise<void>((resolve) => this.socket.once("close", () => resolve()));
    }
  }
}
