/** SMTP connections to each place, kept open between mails and used by one mail at a time. */
import { TransportError } from "./failure.js";
import type { SmtpReply } from "./reply.js";
import type { Patience } from "./servers.js";
import {
  type OutgoingMail,
  SmtpLine,
  type SmtpLineOptions,
  SmtpRefused,
  type SmtpRoute,
} from "./smtp-line.js";
import type { TlsPolicy } from "./tls.js";

export interface SenderOptions {
  readonly tls: TlsPolicy;
  /** Connections at a time to one place. */
  readonly linesMax: number;
}

/** Makes the mail for each try: what may be taken only once is sealed anew. */
export type MailMaker = () => Promise<OutgoingMail> | OutgoingMail;

interface Place {
  readonly idle: { line: SmtpLine; since: NodeJS.Timeout }[];
  open: number;
  readonly waiting: (() => void)[];
}

/** Below what servers allow between commands (RFC 5321 §4.5.3.2.7: 5 minutes). */
const idleMs = 20_000;

export class MailSender {
  readonly #options: SenderOptions;
  readonly #places = new Map<string, Place>();
  #closed = false;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /**
   * Sends over a connection of the pool. One that was idle may have been closed by the server
   * meanwhile: then once more over a new one, with the mail made anew.
   * @throws TransportError: whether the mail was taken is not known
   */
  async send(route: SmtpRoute, mail: MailMaker, patience: Patience): Promise<SmtpReply> {
    const key = keyOf(route);
    const place = this.#places.get(key) ?? { idle: [], open: 0, waiting: [] };
    this.#places.set(key, place);
    await this.#turn(place);
    try {
      return await this.#sendInTurn(place, { tls: this.#options.tls, route, patience }, mail);
    } finally {
      place.open -= 1;
      place.waiting.shift()?.();
    }
  }

  close(): void {
    this.#closed = true;
    for (const { idle } of this.#places.values()) {
      for (const { line, since } of idle.splice(0)) {
        clearTimeout(since);
        line.close();
      }
    }
  }

  async #turn(place: Place): Promise<void> {
    while (place.open >= this.#options.linesMax) {
      await new Promise<void>((resolve) => place.waiting.push(resolve));
    }
    place.open += 1;
  }

  async #sendInTurn(place: Place, options: SmtpLineOptions, mail: MailMaker): Promise<SmtpReply> {
    for (let kept = takeIdle(place); kept !== undefined; kept = takeIdle(place)) {
      try {
        return await this.#sendOver(kept, place, mail);
      } catch (error) {
        if (!(error instanceof TransportError)) throw error;
      }
    }
    if (this.#closed) throw new TransportError("the client is closed");
    try {
      const line = await SmtpLine.open(options);
      return await this.#sendOver(line, place, mail);
    } catch (error) {
      if (!(error instanceof SmtpRefused)) throw error;
      // The greeting or the login was refused. For now: then another server may be better.
      if (error.reply.code < 500) throw new TransportError(`${options.route.at}: ${error.message}`);
      return error.reply;
    }
  }

  async #sendOver(line: SmtpLine, place: Place, make: MailMaker): Promise<SmtpReply> {
    try {
      return await line.send(await make());
    } finally {
      if (line.usable && !this.#closed) this.#keep(line, place);
      else line.close();
    }
  }

  #keep(line: SmtpLine, place: Place): void {
    const entry = {
      line,
      since: setTimeout(() => {
        place.idle.splice(place.idle.indexOf(entry), 1);
        line.close();
      }, idleMs),
    };
    entry.since.unref();
    place.idle.push(entry);
  }
}

function takeIdle(place: Place): SmtpLine | undefined {
  for (;;) {
    const entry = place.idle.pop();
    if (entry === undefined) return undefined;
    clearTimeout(entry.since);
    if (entry.line.usable) return entry.line;
    entry.line.close();
  }
}

/** A connection is of one place and one user; a new token is a new login. */
const keyOf = ({ at, login }: SmtpRoute): string => JSON.stringify([at, login ?? null]);
