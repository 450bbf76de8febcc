/**
 * Adapter, part 3: a connection of smtp-server (3.21.6) that follows our rules. The library keeps
 * the command loop, HELO/EHLO, the pacing of replies and the life of the socket. Replaced here:
 * MAIL, RCPT and DATA (exact replies and parameters), the deadlines (its own is for idle time
 * alone), and the greeting, which it holds back by 100 ms for everybody.
 *
 * What is overridden is part of the library's type declarations, so an update that changes it
 * does not compile.
 */
import type net from "node:net";
import type { SMTPServer } from "smtp-server";
import type { SMTPConnectionOptions } from "smtp-server/lib/smtp-connection.js";
import type { Log } from "../shared/log.js";
import { Deadlines } from "./deadlines.js";
import type { EarlyTalkers } from "./early-talkers.js";
import { IncomingBody, type BodyContext } from "./incoming-body.js";
import type { SmtpLimits } from "./limits.js";
import { SmtpParser } from "./parser.js";
import { bodyRefused, replies, type Reply } from "./replies.js";
import { ReplyingConnection } from "./replying-connection.js";
import { Settlement } from "./settlement.js";
import { Transaction, type Outcome, type TransactionContext } from "./transaction.js";

/** What all connections of a server share. */
export interface ConnectionContext extends TransactionContext, BodyContext {
  readonly limits: SmtpLimits;
  readonly log: Log;
  readonly nodeText: string | undefined;
  readonly earlyTalkers: EarlyTalkers;
  /** True from the moment the server closes: what runs may end, nothing new begins. */
  readonly isClosing: () => boolean;
  /** Milliseconds that never go back. */
  readonly nowMs: () => number;
  /** Work that has to end before the server is closed: spool files being removed. */
  readonly track: (work: Promise<void>) => void;
}

const notImplemented = new Set(
  // RFC 5321 §4.2.4: known, and not offered.
  ["AUTH", "STARTTLS", "EXPN", "BDAT", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML", "LHLO"],
);
const forbidden = new Set(["XCLIENT", "XFORWARD", "PROXY"]);

export class SmtpConnection extends ReplyingConnection {
  readonly #context: ConnectionContext;
  readonly #transaction: Transaction;
  readonly #settlement: Settlement;
  readonly #deadlines: Deadlines;
  #body: IncomingBody | undefined;
  #clientEnded = false;

  constructor(
    server: SMTPServer,
    socket: net.Socket,
    options: SMTPConnectionOptions,
    context: ConnectionContext,
  ) {
    super(server, socket, options);
    this.#context = context;
    this.#transaction = new Transaction(context);
    this.#settlement = new Settlement((ids, outcome) => {
      this.#guard(() => context.receiver.settled(ids, outcome));
    });
    this.#deadlines = new Deadlines(context.limits, context.nowMs);
  }

  get #parser(): SmtpParser {
    if (this._parser instanceof SmtpParser) return this._parser;
    throw new Error("the connection has no parser any more");
  }

  override _createParser(): SmtpParser {
    const { maxCommandLength } = this._server.options;
    const parser = new SmtpParser({ maxCommandLength });
    parser.oncommand = (line, resume) => this.#guard(() => this._onCommand(line, resume));
    parser.onlongline = (resume) => {
      if (!this._ready) return this.#refuseEarlyTalker();
      this.reply(replies.lineTooLong);
      this._whenWritable(resume);
    };
    parser.onend = () => this.#onClientEnd();
    parser.on("error", (error) => this._onError(error));
    return parser;
  }

  // ---- Greeting

  /**
   * RFC 5321 §4.3.1. One that does not wait for the greeting sends right behind the handshake, so
   * its octets are here when we look after a moment and one more turn of the event loop.
   */
  override init(): void {
    const { earlyTalkers, nowMs } = this.#context;
    this._setListeners(() => {
      const holdMs = earlyTalkers.holdMs(this.remoteAddress, nowMs());
      setTimeout(() => setImmediate(() => this.#greet()), holdMs).unref();
    });
  }

  #greet(): void {
    if (this._closing || this._closed) return;
    if (this._socket.bytesRead > 0) this.#refuseEarlyTalker();
    else this.connectionReady();
  }

  #refuseEarlyTalker(): void {
    if (this._closing) return;
    this.#context.earlyTalkers.note(this.remoteAddress, this.#context.nowMs());
    this.#context.log.info({ client: this.remoteAddress }, "client talked before the greeting");
    this.reply(replies.talkedFirst);
    this.close();
  }

  // ---- Commands

  override _onCommand(line: Buffer, resume: () => void = () => undefined): void {
    this.#settlement.command(this.#parser.consumedOctets);
    if (!this._ready) return this.#refuseEarlyTalker();
    const verb = line.toString("latin1", 0, 12).split(" ", 1)[0]?.toUpperCase() ?? "";
    if (this.#context.isClosing() && verb !== "QUIT") return this.reply(replies.closing);
    this.#deadlines.command();
    const refusal = forbidden.has(verb)
      ? replies.notAllowed
      : notImplemented.has(verb)
        ? replies.notImplemented
        : undefined;
    if (refusal === undefined) return super._onCommand(line, resume);
    this.reply(refusal);
    this._whenWritable(resume);
  }

  /** HELO and EHLO end a transaction, too (RFC 5321 §4.1.4). */
  override _resetSession(): void {
    super._resetSession();
    this.#transaction.reset();
  }

  override handler_MAIL(line: Buffer, resume: () => void): void {
    this.reply(this.#transaction.mail(line));
    resume();
  }

  override handler_RCPT(line: Buffer, resume: () => void): void {
    const reply = this.#transaction.rcpt(line);
    if (reply instanceof Promise) {
      this.#awaitReceiver(
        reply.then((answer) => ({ reply: answer })),
        replies.undecided,
        resume,
      );
    } else {
      this.reply(reply);
      resume();
    }
  }

  override handler_DATA(line: Buffer, resume: () => void): void {
    const reply = this.#transaction.data(line);
    this.reply(reply);
    if (reply === replies.startMail) this.#receiveData();
    resume();
  }

  override handler_NOOP(_line: Buffer, resume: () => void): void {
    this.reply(replies.noop);
    resume();
  }

  override handler_RSET(_line: Buffer, resume: () => void): void {
    this._resetSession();
    this.reply(replies.reset);
    resume();
  }

  override handler_HELP(_line: Buffer, resume: () => void): void {
    this.reply(replies.help);
    resume();
  }

  override handler_VRFY(line: Buffer, resume: () => void): void {
    const hasArgument = /^\S+\s+\S/.test(line.toString("latin1"));
    this.reply(hasArgument ? replies.verify : replies.parameterSyntax("VRFY needs an address"));
    resume();
  }

  override handler_QUIT(_line: Buffer, resume: () => void): void {
    this.reply(replies.bye);
    this.close();
    resume();
  }

  // ---- Data

  #receiveData(): void {
    const body = new IncomingBody(this.#context);
    this.#body = body;
    this.#deadlines.data(0);
    this.#parser.receiveData({
      write: (content) => {
        const written = body.write(content);
        this.#deadlines.data(body.octets);
        return written;
      },
      end: ({ bareLineEnd }, resume) => {
        this.#body = undefined;
        const outcome = this.#takeMail(body, bareLineEnd).finally(() => body.release());
        this.#awaitReceiver(outcome, replies.undecided, () => {
          this.#deadlines.transactionOver();
          this._whenWritable(resume);
        });
      },
    });
  }

  async #takeMail(body: IncomingBody, bareLineEnd: boolean): Promise<Outcome> {
    const whole = bareLineEnd ? await this.#discard(body) : await body.finish();
    if (typeof whole === "string") {
      this.#transaction.reset();
      return { reply: bodyRefused(whole, this.#context.limits.messageOctetsMax) };
    }
    const client = {
      helo: this.hostNameAppearsAs || "",
      clientAddress: this.remoteAddress,
      serverName: this.name,
      nodeText: this.#context.nodeText,
      extended: this.openingCommand === "EHLO",
    };
    return this.#transaction.deliver(whole, client, new Date());
  }

  async #discard(body: IncomingBody): Promise<"bareLineEnd"> {
    const discarded = body.discard();
    this.#context.track(discarded);
    await discarded;
    return "bareLineEnd";
  }

  /** Sends what the receiver decides, or `late` when it takes too long. */
  #awaitReceiver(outcome: Promise<Outcome>, late: Reply, resume: () => void): void {
    let answered = false;
    const answer = ({ reply, ids }: Outcome) => {
      if (answered) {
        if (ids !== undefined) this.#settlement.lost(ids);
        return;
      }
      answered = true;
      this.#deadlines.command();
      if (ids !== undefined) this.#noteStored(ids);
      this.reply(reply);
      resume();
    };
    // An end that has come already is seen before the 250 is written: two turns are a whole one.
    const answerStored = (stored: Outcome) => {
      if (stored.ids === undefined) answer(stored);
      else setImmediate(() => setImmediate(() => this.#guard(() => answer(stored))));
    };
    const giveUp = () => answer({ reply: late });
    this.#deadlines.receiver(giveUp);
    outcome.then(answerStored, (error: unknown) => {
      this.#context.log.error({ err: error }, "a mail transaction failed");
      giveUp();
    });
  }

  #noteStored(ids: Parameters<Settlement["replied"]>[0]): void {
    const here = !this._closing && !this._closed && !this.#clientEnded && this._socket.writable;
    if (here) this.#settlement.replied(ids, this._socket.bytesRead);
    else this.#settlement.lost(ids);
  }

  // ---- Deadlines and the end

  /** The library's idle timer, which one octet a second never lets run out. See `checkDeadlines`. */
  override _armTimeout(): void {
    // Nothing: the server looks at all connections every `sweepIntervalMs`.
  }

  checkDeadlines(): void {
    if (this._closing || this._closed) return;
    if (this.#deadlines.check()) this.reply(replies.timeout);
  }

  /** The server closes: those who are in the middle of a mail may end it. */
  shutDown(): void {
    if (this.#deadlines.waitsForCommand) this.reply(replies.closing);
  }

  /**
   * The client ended its side. Behind a 250 that may be one that has read it, or one that gave up
   * while the 250 was on its way: the kernel of the latter answers the 250 with a reset. So we
   * wait a moment, and then write: after a reset that fails, and the connection ends in an error.
   */
  #onClientEnd(): void {
    if (!this.#settlement.isWaiting) return this.close();
    setTimeout(() => {
      this.reply(replies.bye);
      this.close();
    }, this.#context.limits.resetWaitMs);
  }

  override _setListeners(callback: () => void): void {
    this._socket.on("end", () => {
      this.#clientEnded = true;
    });
    super._setListeners(callback);
  }

  /** The library raises an error of the server for a client that resets. It is an end like any. */
  override _onError(error: Error): void {
    this.#context.log.debug({ err: error, client: this.remoteAddress }, "connection failed");
    this._socket.destroy();
  }

  /** A bug on the way of one connection is the end of that one, not of the process. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#context.log.error({ err: error }, "an SMTP connection failed");
      this._socket.destroy();
    }
  }

  override _onCloseEvent(hadError = false): void {
    this.#settlement.closed(this.#clientEnded && this.flushed && !hadError && !this.gaveUp);
    const body = this.#body;
    this.#body = undefined;
    if (body !== undefined) this.#context.track(body.discard());
    super._onCloseEvent(hadError);
  }
}
