/**
 * The SMTP listeners of a node. `transfer` takes mail from anybody for the mailboxes of this ring
 * (RFC 5321), `submission` from its users (RFC 6409).
 */
import { once } from "node:events";
import type net from "node:net";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import type { SMTPConnectionOptions } from "smtp-server/lib/smtp-connection.js";
import type { Authenticator, Senders } from "../mailbox/authentication.js";
import type { MailReceiver, RingReceiver, WayOut } from "../mailbox/ports.js";
import type { Log } from "../shared/log.js";
import type { TlsContexts } from "../shared/tls.js";
import type { PlainAuth } from "./authentication.js";
import type { ConnectionContext } from "./connection-context.js";
import { SmtpConnection } from "./connection.js";
import { EarlyTalkers } from "./early-talkers.js";
import { smtpLimits, type SmtpLimits } from "./limits.js";
import { formatReply, replies, type Reply } from "./replies.js";

export interface SmtpServerOptions {
  /** Host name in the greeting and in `Received:`. */
  readonly name: string;
  /** What the trace says of this node, e.g. its ring id. */
  readonly nodeText?: string;
  readonly receiver: MailReceiver;
  /** Takes mail to the ring itself. */
  readonly ring?: RingReceiver | undefined;
  readonly log: Log;
  readonly limits?: Partial<SmtpLimits>;
  /** STARTTLS is offered when there are certificates. */
  readonly tls?: TlsContexts | undefined;
  /** TLS is spoken from the first octet (RFC 8314 §3.3); needs `tls`. */
  readonly implicitTls?: boolean;
  /** Makes this a listener for submission: AUTH is required before MAIL. Absent: transfer. */
  readonly submission?: Submission | undefined;
}

export interface Submission {
  readonly authenticator: Authenticator;
  readonly senders: Senders;
  /** Absent: users' mail doesn't leave the ring. */
  readonly wayOut?: WayOut | undefined;
  /** Where passwords may come without TLS. Mechanisms that don't show them are offered anyway. */
  readonly plainAuth: PlainAuth;
}

export interface SmtpServer {
  /** Rejects when the port can't be had. Port 0 takes any. */
  listen(at: {
    readonly host: string;
    readonly port: number;
  }): Promise<{ readonly address: string; readonly port: number }>;
  /** Takes nothing new; mails that are coming in may end within `closeMs`. Never rejects. */
  close(): Promise<void>;
}

/** Every mail is handed to `receiver`; see its contract. */
export function createSmtpServer(options: SmtpServerOptions): SmtpServer {
  if (options.implicitTls && options.tls === undefined) throw new Error("TLS needs a certificate");
  const server = new Listener(options);
  return {
    listen: (at) => server.open(at),
    close: () => server.shutDown(),
  };
}

class Listener extends SMTPServer {
  readonly #limits: SmtpLimits;
  readonly #log: Log;
  readonly #context: ConnectionContext;
  /** What was accepted, and what stands on top of it: itself, or TLS. */
  readonly #sockets = new Map<net.Socket, net.Socket>();
  readonly #socketsByAddress = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();
  #sweep: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: SmtpServerOptions) {
    const { name, nodeText, receiver, ring, log, tls } = options;
    const { implicitTls = false, submission } = options;
    const limits = { ...smtpLimits, ...options.limits };
    super(libraryOptions(name, limits));
    this.#limits = limits;
    this.#log = log;
    // Raised for a port that can't be had, too, where `open` rejects.
    this.on("error", (error) => log.error({ err: error }, "SMTP listener failed"));
    this.#context = {
      receiver,
      ring,
      limits,
      log,
      nodeText,
      tls,
      implicitTls,
      authenticator: submission?.authenticator,
      senders: submission?.senders,
      wayOut: submission?.wayOut,
      plainAuth: submission?.plainAuth ?? "never",
      wrapped: (plain, secure) => {
        if (this.#sockets.has(plain)) this.#sockets.set(plain, secure);
      },
      earlyTalkers: new EarlyTalkers(limits),
      memory: { octets: 0 },
      spoolPath: () => receiver.spoolPath(),
      isClosing: () => this.#closed !== undefined,
      nowMs: () => performance.now(),
      track: (work) => {
        this.#running.add(work);
        void work.finally(() => this.#running.delete(work)); // Spool work never rejects.
      },
    };
  }

  async open({ host, port }: { host: string; port: number }) {
    const { server } = this;
    server.listen({ host, port });
    await once(server, "listening"); // Rejects on `error`.
    this.#sweep = setInterval(() => this.#checkDeadlines(), this.#limits.sweepIntervalMs).unref();
    const at = server.address();
    if (at === null || typeof at === "string") throw new Error("not a TCP listener");
    return { address: at.address, port: at.port };
  }

  shutDown(): Promise<void> {
    this.#closed ??= this.#shutDown();
    return this.#closed;
  }

  async #shutDown(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    // `#closed` is set by now, so that whatever ends from here on begins nothing new.
    await Promise.resolve();
    for (const connection of this.#own()) connection.shutDown();
    const force = setTimeout(() => {
      for (const socket of this.#sockets.values()) socket.destroy();
    }, this.#limits.closeMs);
    await closed;
    clearTimeout(force);
    // The listener is closed before its last sockets say so.
    await Promise.all(Array.from(this.#sockets.keys(), socketClosed));
    clearInterval(this.#sweep);
    await Promise.all(this.#running);
  }

  #checkDeadlines(): void {
    for (const connection of this.#own()) connection.checkDeadlines();
  }

  *#own(): Iterable<SmtpConnection> {
    for (const connection of this.connections) {
      if (connection instanceof SmtpConnection) yield connection;
    }
  }

  /** Before anything is read: limits, and a listener, since a reset can come at any time. */
  override _acceptSocket(socket: net.Socket): (() => void) | false {
    socket.on("error", (error) => this.#log.debug({ err: error }, "client socket failed"));
    const address = socket.remoteAddress ?? "";
    const ofAddress = this.#socketsByAddress.get(address) ?? 0;
    const { connectionsMax, connectionsPerAddressMax } = this.#limits;
    if (this.#sockets.size >= connectionsMax || ofAddress >= connectionsPerAddressMax) {
      refuse(socket, replies.tooManyConnections);
      return false;
    }
    this.#sockets.set(socket, socket);
    this.#socketsByAddress.set(address, ofAddress + 1);
    socket.once("close", () => this.#forget(socket, address));
    return () => undefined;
  }

  #forget(socket: net.Socket, address: string): void {
    this.#sockets.delete(socket);
    const left = (this.#socketsByAddress.get(address) ?? 1) - 1;
    if (left === 0) this.#socketsByAddress.delete(address);
    else this.#socketsByAddress.set(address, left);
  }

  override connect(socket: net.Socket, options?: SMTPConnectionOptions | null): void {
    // It may have closed since it was accepted; its `close` would never be seen.
    if (socket.destroyed) return;
    if (this.#closed !== undefined) return refuse(socket, replies.closing);
    const connection = new SmtpConnection(this, socket, options ?? {}, this.#context);
    this.connections.add(connection);
    connection.init();
  }

  /** At once: the library's default waits for another turn. */
  override onConnect(_session: unknown, greet: (error?: Error | null) => void): void {
    greet();
  }
}

function libraryOptions(name: string, limits: SmtpLimits): SMTPServerOptions {
  return {
    name,
    // A client that sends all and ends its side still gets its replies.
    allowHalfOpen: true,
    size: limits.messageOctetsMax,
    maxCommandLength: limits.commandOctetsMax,
    hideENHANCEDSTATUSCODES: false,
    disabledCommands: ["LHLO", "WIZ", "SHELL", "KILL"],
    // Whether AUTH is needed, and how often it may fail, is ours to say.
    authOptional: true,
    disableReverseLookup: true,
    logger: false,
  };
}

function refuse(socket: net.Socket, { code, status, text }: Reply): void {
  socket.end(formatReply(code, status ?? "", [text]));
  socket.resume();
  // One that does not close its side does not keep the descriptor.
  setTimeout(() => socket.destroy(), 1_000).unref();
}

/** Resolves when the socket has said `close` (its `closed` is true before that). */
function socketClosed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}
