/** A mail server for what leaves a ring: takes, refuses, delays, breaks off, and remembers. */
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { waitUntil } from "./wait.js";

export interface TakenMail {
  /** Envelope sender, "" for the null sender. */
  readonly from: string;
  readonly to: string;
  readonly octets: Buffer;
  readonly messageId: string;
}

/** What it does with a mail whose data is there; a text is the reply, such as `451 4.3.0 later`. */
export type Treatment = "take" | "hang" | "vanish" | "take and vanish" | (string & {});

export interface FakeSmartHostOptions extends SMTPServerOptions {
  /** 0 or absent: any. */
  readonly port?: number;
}

export class FakeSmartHost {
  /** In the order in which they were taken. */
  readonly taken: TakenMail[] = [];
  /** Data that came, taken or not. */
  readonly tries: TakenMail[] = [];
  treat: (mail: TakenMail, tries: number) => Treatment | Promise<Treatment> = () => "take";
  /** Refusal of a command, by its envelope address. */
  refuseSender: (from: string) => string | undefined = () => undefined;
  refuseRecipient: (to: string) => string | undefined = () => undefined;
  readonly #options: FakeSmartHostOptions;
  #server: SMTPServer | undefined;
  port: number;

  constructor(options: FakeSmartHostOptions = {}) {
    this.#options = options;
    this.port = options.port ?? 0;
  }

  get addr(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** On the same port as before, if it was started before. */
  async start(): Promise<this> {
    const server = new SMTPServer({
      ...{ authOptional: true, disableReverseLookup: true, disabledCommands: ["STARTTLS"] },
      ...{ closeTimeout: 1, logger: false },
      ...this.#options,
      onMailFrom: ({ address }, _, done) => done(refusal(this.refuseSender(address))),
      onRcptTo: ({ address }, _, done) => done(refusal(this.refuseRecipient(address))),
      onData: (stream, session, done) => {
        const pieces: Buffer[] = [];
        stream.on("data", (piece: Buffer) => pieces.push(piece));
        stream.on("end", () => {
          const { mailFrom, rcptTo } = session.envelope;
          const octets = Buffer.concat(pieces);
          const mail = {
            from: mailFrom === false ? "" : mailFrom.address,
            to: rcptTo[0]?.address ?? "",
            octets,
            messageId: /^message-id: *<([^>]*)>/im.exec(octets.toString("latin1"))?.[1] ?? "",
          };
          void this.#settle(mail, session, done);
        });
      },
    });
    server.on("error", () => undefined);
    this.#server = server;
    const { port } = await new Promise<{ port: number }>((resolve) => {
      const listening = server.listen(this.port, "127.0.0.1", () =>
        resolve(listening.address() as { port: number }),
      );
    });
    this.port = port;
    return this;
  }

  /** Dies: all its connections break. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    for (const { _socket: socket } of connectionsOf(server)) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #settle(
    mail: TakenMail,
    session: { id: string },
    done: (error?: Error | null) => void,
  ): Promise<void> {
    this.tries.push(mail);
    const tries = this.tries.filter(({ messageId }) => messageId === mail.messageId).length;
    const treatment = await this.treat(mail, tries);
    if (treatment.startsWith("take")) this.taken.push(mail);
    if (treatment.endsWith("vanish")) {
      const server = this.#server;
      for (const { id, _socket: socket } of server ? connectionsOf(server) : []) {
        if (id === session.id) socket.destroy();
      }
    } else if (treatment === "take") done();
    else if (treatment !== "hang") done(refusal(treatment));
  }

  /** Message-ids of what was taken, doubles left out. */
  get distinct(): ReadonlySet<string> {
    return new Set(this.taken.map(({ messageId }) => messageId));
  }

  /** Resolves when each of these was taken at least once. */
  async untilTaken(messageIds: readonly string[], deadlineMs = 60_000): Promise<void> {
    await waitUntil(
      () => {
        const missing = messageIds.filter((id) => !this.distinct.has(id));
        if (missing.length === 0) return true;
        throw new Error(`${missing.length} of ${messageIds.length} are missing`);
      },
      { deadlineMs, what: "the smart host to have all mails", everyMs: 20 },
    );
  }
}

function refusal(reply: string | undefined): Error | null {
  if (reply === undefined) return null;
  return Object.assign(new Error(reply.slice(4)), { responseCode: Number(reply.slice(0, 3)) });
}

interface Connection {
  readonly id: string;
  readonly _socket: { destroy(): void };
}

const connectionsOf = (server: SMTPServer): readonly Connection[] => [
  ...((server as unknown as { connections: Set<Connection> }).connections ?? []),
];
