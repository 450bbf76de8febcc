/** What the POP3 tests and its bench have in common: maildrops in memory and a plain client. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { AuthAnswer, Credentials, Maildrop } from "../../src/pop3/index.js";

/** Accounts in memory, one session each at a time, with what happened to them. */
export class MemoryMaildrops {
  readonly mails = new Map<string, Buffer[]>();
  readonly passwords = new Map<string, string>();
  readonly open = new Set<string>();
  /** Sessions that gave their maildrop up. */
  released = 0;
  /** Changes every maildrop that is opened: to make a step fail or wait. */
  change: (maildrop: Maildrop, username: string) => Maildrop = (maildrop) => maildrop;

  add(username: string, password: string, mails: readonly (string | Buffer)[]): void {
    this.passwords.set(username, password);
    const octets = mails.map((mail) => (typeof mail === "string" ? Buffer.from(mail) : mail));
    this.mails.set(username, octets);
  }

  readonly onAuth = async ({ username, password }: Credentials): Promise<AuthAnswer> => {
    if (this.passwords.get(username) !== password) return { kind: "denied" };
    if (this.open.has(username)) return { kind: "inUse" };
    this.open.add(username);
    return { kind: "open", maildrop: this.change(this.#maildrop(username), username) };
  };

  #maildrop(username: string): Maildrop {
    const mails = this.mails.get(username) ?? [];
    return {
      messages: mails.map((mail, index) => ({ uid: `u${index + 1}`, octets: mail.length })),
      retrieve: (index) => mails[index] ?? Promise.reject(new Error("no such message")),
      commit: async (removed) => {
        this.mails.set(
          username,
          mails.filter((_, index) => !removed.includes(index)),
        );
        return { kind: "removed" };
      },
      release: () => {
        this.open.delete(username);
        this.released++;
      },
    };
  }
}

/** A client that sends octets and reads up to what it waits for. */
export class TestClient {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #closed = false;
  #changed: () => void = () => {};

  /** `to`: a port of this machine, or a connection that there is. */
  constructor(to: number | Socket) {
    this.socket =
      typeof to === "number" ? connect({ port: to, host: "127.0.0.1", noDelay: true }) : to;
    this.socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#changed();
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.#closed = true;
      this.#changed();
    });
  }

  send(octets: string | Buffer): void {
    this.socket.write(octets);
  }

  /** Everything up to and with `end`, latin1. Throws when the connection closes before. */
  async until(end: string): Promise<string> {
    for (;;) {
      const at = this.#received.indexOf(end, 0, "latin1");
      if (at >= 0) return this.#take(at + end.length);
      if (this.#closed) throw new Error(`closed after ${this.#received.toString("latin1")}`);
      await this.#change();
    }
  }

  line(): Promise<string> {
    return this.until("\r\n");
  }

  /** Sends a command and reads its reply's first line. */
  ask(command: string): Promise<string> {
    this.send(`${command}\r\n`);
    return this.line();
  }

  /** Everything up to the server's end. */
  async rest(): Promise<string> {
    while (!this.#closed) await this.#change();
    return this.#take(this.#received.length);
  }

  async login(username: string, password: string): Promise<string> {
    await this.line();
    await this.ask(`USER ${username}`);
    return this.ask(`PASS ${password}`);
  }

  /** TLS over the connection; this client reads no more of it. Throws when it fails. */
  async secured(options: ConnectionOptions): Promise<TestClient & { readonly socket: TLSSocket }> {
    this.socket.removeAllListeners("data");
    const socket = connectTls({ ...options, socket: this.socket, servername: "localhost" });
    const client = new TestClient(socket);
    await once(socket, "secureConnect");
    return client as TestClient & { readonly socket: TLSSocket };
  }

  #take(octets: number): string {
    const taken = this.#received.toString("latin1", 0, octets);
    this.#received = this.#received.subarray(octets);
    return taken;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = resolve;
    });
  }
}
