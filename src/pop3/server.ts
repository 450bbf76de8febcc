import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { Connection } from "./connection.js";
import type { OwnSessionInfo } from "./maildrop.js";
import { type Pop3ServerOptions, type Settings, settingsOf } from "./options.js";
import { replies } from "./replies.js";

/** Refused clients that are still being told so; beyond that they are only dropped. */
const REFUSALS_MAX = 256;

export interface ListenOptions {
  /** 0: any free port. */
  readonly port: number;
  /** Default: all addresses. */
  readonly host?: string;
  readonly backlog?: number;
}

/** A POP3 server (RFC 1939, 2449, 2595, 3206, 5034, 6856) over any maildrops. */
export class Pop3Server {
  readonly #options: Pop3ServerOptions;
  readonly #settings: Settings;
  readonly #server: Server;
  readonly #running = new Map<Connection, Promise<void>>();
  readonly #perAddress = new Map<string, number>();
  #served = 0;
  #closing: Promise<void> | undefined;

  /** @throws RangeError for options that can't be. */
  constructor(options: Pop3ServerOptions) {
    this.#options = options;
    this.#settings = settingsOf(options);
    // Half open: commands that came before the client's end are still answered.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#onSocket(socket),
    );
    this.#server.maxConnections = this.#settings.limits.connectionsMax + REFUSALS_MAX;
    this.#server.on("error", (error) => {
      this.#settings.log.error({ error: error.message }, "pop3 listener");
    });
  }

  /** @throws what `net.Server` emits, for example EADDRINUSE. */
  listen(options: ListenOptions): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ ...options }, () => {
        this.#server.off("error", reject);
        resolve(this.#server.address() as AddressInfo);
      });
    });
  }

  /** Sessions being served. */
  get connections(): number {
    return this.#served;
  }

  /**
   * Stops: no new connections; a session is told so after the command that it is at; what is left
   * after `deadlineMs` (default 10 s) is cut. When it resolves, what was open is released.
   */
  close(options: { readonly deadlineMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.deadlineMs ?? 10_000);
    return this.#closing;
  }

  async #close(deadlineMs: number): Promise<void> {
    const stopped = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const connection of this.#running.keys()) connection.shutDown();
    const force = setTimeout(() => {
      for (const connection of this.#running.keys()) connection.destroy();
    }, deadlineMs);
    await Promise.all(this.#running.values());
    clearTimeout(force);
    await stopped;
  }

  #onSocket(socket: Socket): void {
    const { remoteAddress, remotePort, localAddress, localPort } = socket;
    const gone = new AbortController();
    const info: OwnSessionInfo = {
      id: randomBytes(9).toString("base64url"),
      remoteAddress: remoteAddress ?? "",
      remotePort: remotePort ?? 0,
      localAddress: localAddress ?? "",
      localPort: localPort ?? 0,
      secure: false,
      tls: undefined,
      signal: gone.signal,
    };
    const connection = new Connection(socket, info, gone, this.#options, this.#settings);
    const refusal = this.#refusal(info.remoteAddress);
    this.#running.set(connection, this.#serve(connection, info.remoteAddress, refusal));
  }

  #refusal(address: string): string | undefined {
    if (this.#closing !== undefined) return replies.shuttingDown;
    const { connectionsMax, connectionsPerAddressMax } = this.#settings.limits;
    const ofAddress = this.#perAddress.get(address) ?? 0;
    const full = this.#served >= connectionsMax || ofAddress >= connectionsPerAddressMax;
    return full ? replies.tooManyConnections : undefined;
  }

  async #serve(connection: Connection, address: string, refusal?: string): Promise<void> {
    const counted = refusal === undefined ? 1 : 0;
    this.#count(address, counted);
    await connection.run(refusal);
    this.#count(address, -counted);
    this.#running.delete(connection);
  }

  #count(address: string, change: number): void {
    this.#served += change;
    const ofAddress = (this.#perAddress.get(address) ?? 0) + change;
    if (ofAddress === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, ofAddress);
  }
}

/** Makes a server that listens nowhere yet. @throws RangeError for options that can't be. */
export function createPop3Server(options: Pop3ServerOptions): Pop3Server {
  return new Pop3Server(options);
}
