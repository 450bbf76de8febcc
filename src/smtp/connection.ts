/**
 * Adapter, part 4: a connection of smtp-server (3.21.6) that follows our rules. The library keeps
 * the command loop, the pacing of replies and the life of the socket. Replaced here: all commands
 * (exact replies and parameters), the deadlines (its own is for idle time alone), and the greeting,
 * which it holds back by 100 ms for everybody.
 *
 * What is overridden is part of the library's type declarations, so an update that changes it
 * does not compile.
 */
import { randomUUID } from "node:crypto";
import type net from "node:net";
import type { TLSSocket } from "node:tls";
import type { SMTPServer } from "smtp-server";
import type { SMTPConnectionOptions } from "smtp-server/lib/smtp-connection.js";
import type { Authenticator } from "../mailbox/authentication.js";
import type { Log } from "../shared/log.js";
import type { TlsContexts } from "../shared/tls.js";
import { Authentication, passwordsMayCome, type PlainAuth } from "./authentication.js";
import { Deadlines } from "./deadlines.js";
import type { EarlyTalkers } from "./early-talkers.js";
import { keywords, parseHello } from "./hello.js";
import { IncomingBody, type BodyContext } from "./incoming-body.js";
import type { SmtpLimits } from "./limits.js";
import { SmtpParser } from "./parser.js";
import { Patience } from "./patience.js";
import { bodyRefused, replies, type Reply } from "./replies.js";
import { Settlement } from "./settlement.js";
import { TlsConnection } from "./tls-connection.js";
import type { AddedFields } from "./trace.js";
import { Transaction, type Outcome, type TransactionContext } from "./transaction.js";

/** What all connections of a server share. */
export interface ConnectionContext extends TransactionContext, BodyContext {
  readonly limits: SmtpLimits;
  readonly log: Log;
  readonly nodeText: string | undefined;
  readonly earlyTalkers: EarlyTalkers;
  readonly tls: TlsContexts | undefined;
  /** TLS is spoken from the first octet. */
  readonly implicitTls: boolean;
  /** Present where users hand in their mail; `senders` is then, too. */
  readonly authenticator: Authenticator | undefined;
  readonly plainAuth: PlainAuth;
  /** A socket has another one on top of it from now on. */
  readonly wrapped: (plain: net.Socket, secure: TLSSocket) => void;
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

export class SmtpConnection extends TlsConnection {
  readonly #context: ConnectionContext;
  readonly #transaction: Transaction;
  readonly #settlement: Settlement;
  readonly #deadlines: Deadlines;
  readonly #patience: Patience;
  readonly #authentication: Authentication | undefined;
  #body: IncomingBody | undefined;

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
    this.#patience = new Patience(context.limits);
    const { authenticator, limits, log } = context;
    if (authenticator === undefined) return;
    this.#authentication = new Authentication({
      ...{ authenticator, limits, log },
      origin: { address: this.remoteAddress, protocol: "smtp" },
      plaintextAllowed: () => passwordsMayCome(context.plainAuth, this),
    });
    this.parser.lineOctetsMax = this.#lineOctetsMax;
  }

  override _createParser(): SmtpParser {
    // The first is made before this class has its fields.
    const { maxCommandLength = 0 } = this._server.options;
    const parser = new SmtpParser({ lineOctetsMax: maxCommandLength });
    parser.oncommand = (line, resume) => this.#guard(() => this._onCommand(line, resume));
    parser.onlongline = (resume) => {
      if (!this._ready) return this.#refuseEarlyTalker();
      const { inExchange = false } = this.#authentication ?? {};
      const reply = inExchange ? this.#authentication?.lineTooLong() : undefined;
      this.reply(reply ?? replies.lineTooLong);
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
    const { earlyTalkers, nowMs, tls, implicitTls } = this.#context;
    const greetSoon = () => {
      const holdMs = earlyTalkers.holdMs(this.remoteAddress, nowMs());
      setTimeout(() => setImmediate(() => this.#greet()), holdMs).unref();
    };
    this._setListeners(() => {
      if (!implicitTls || tls === undefined) return greetSoon();
      this.#deadlines.handshake();
      this.tlsFirst(tls.current(), () => {
        this.#secured();
        greetSoon();
      });
    });
  }

  #greet(): void {
    if (this._closing || this._closed) return;
    if (this.parser.receivedOctets > 0) this.#refuseEarlyTalker();
    else {
      this.#deadlines.command();
      this.connectionReady();
    }
  }

  #refuseEarlyTalker(): void {
    if (this._closing) return;
    this.#context.earlyTalkers.note(this.remoteAddress, this.#context.nowMs());
    this.#context.log.info({ client: this.remoteAddress }, "client talked before the greeting");
    this.reply(replies.talkedFirst);
    this.close();
  }

  // ---- TLS

  protected override wrapped(plain: net.Socket, secure: TLSSocket): void {
    this.#context.wrapped(plain, secure);
  }

  override handler_STARTTLS(line: Buffer, resume: () => void): void {
    const { tls } = this.#context;
    const refusal =
      tls === undefined
        ? replies.notImplemented
        : this.secure
          ? replies.tlsActive
          : line.toString().trim().length > "STARTTLS".length
            ? replies.parameterSyntax("STARTTLS has no argument")
            : undefined;
    if (refusal !== undefined || tls === undefined) {
      this.reply(refusal ?? replies.notImplemented);
      return resume();
    }
    this.#deadlines.handshake();
    this.startTls(tls.current(), () => this.#secured());
  }

  #secured(): void {
    this.#deadlines.command();
    this.#authentication?.forget();
    this.parser.lineOctetsMax = this.#lineOctetsMax;
  }

  // ---- Commands

  override _onCommand(line: Buffer, resume: () => void = () => undefined): void {
    this.#settlement.command(this.parser.consumedOctets);
    if (!this._ready) return this.#refuseEarlyTalker();
    const authentication = this.#authentication;
    if (authentication?.inExchange) return this.#authenticate(authentication.respond(line), resume);
    const verb = line.toString("latin1", 0, 12).split(" ", 1)[0]?.toUpperCase() ?? "";
    if (this.#context.isClosing() && verb !== "QUIT") return this.reply(replies.closing);
    this.#deadlines.command();
    const refusal = this.#refusalOf(verb, line);
    if (refusal === undefined) return super._onCommand(line, resume);
    this.reply(refusal);
    this._whenWritable(resume);
  }

  #refusalOf(verb: string, line: Buffer): Reply | undefined {
    const isAuth = verb === "AUTH" && this.#authentication !== undefined;
    const needsAuth = this.#authentication !== undefined && !this.#authentication.identity;
    const exhausted = this.#patience.command({ needsAuth: needsAuth && !isAuth });
    if (exhausted !== undefined) return exhausted;
    if (!isAuth && line.length + 2 > this.#context.limits.commandOctetsMax) {
      return replies.lineTooLong;
    }
    if (forbidden.has(verb)) return replies.notAllowed;
    if (isAuth || (verb === "STARTTLS" && this.#context.tls !== undefined)) return undefined;
    return notImplemented.has(verb) ? replies.notImplemented : undefined;
  }

  protected override replied(code: number): void {
    this.#patience.replied(code);
  }

  override handler_EHLO(line: Buffer, resume: () => void): void {
    this.#hello(line, () => [
      this.name,
      ...keywords({
        messageOctetsMax: this.#context.limits.messageOctetsMax,
        startTls: this.#context.tls !== undefined && !this.secure,
        mechanisms: this.#authentication?.offered ?? [],
      }),
    ]);
    resume();
  }

  override handler_HELO(line: Buffer, resume: () => void): void {
    this.#hello(line, () => [this.name]);
    resume();
  }

  #hello(line: Buffer, answer: () => string[]): void {
    const name = parseHello(line);
    if (name === undefined) return this.reply(replies.parameterSyntax("give your host name"));
    this.hostNameAppearsAs = name;
    this._resetSession();
    this.send(250, answer(), false);
  }

  /** HELO and EHLO end a transaction, too (RFC 5321 §4.1.4). */
  override _resetSession(): void {
    super._resetSession();
    this.#transaction.reset();
  }

  // ---- AUTH

  get #lineOctetsMax(): number {
    const { authLineOctetsMax, commandOctetsMax } = this.#context.limits;
    if (this.#authentication === undefined) return commandOctetsMax;
    return Math.max(authLineOctetsMax + "AUTH SCRAM-SHA-256 \r\n".length, commandOctetsMax);
  }

  override handler_AUTH(line: Buffer, resume: () => void): void {
    const reply = this.#transaction.active
      ? replies.sequence("AUTH within a mail transaction")
      : (this.#authentication?.begin(line) ?? replies.notImplemented);
    this.#authenticate(reply, resume);
  }

  #authenticate(reply: Reply | Promise<Reply>, resume: () => void): void {
    this.#answer(reply, replies.authenticationLater, resume);
  }

  // ---- Mail

  override handler_MAIL(line: Buffer, resume: () => void): void {
    const { identity } = this.#authentication ?? {};
    this.#answer(this.#transaction.mail(line, identity), replies.undecided, resume);
  }

  override handler_RCPT(line: Buffer, resume: () => void): void {
    this.#answer(this.#transaction.rcpt(line), replies.undecided, resume);
  }

  /** Sends a reply that is known or will be; `late` when it takes too long. */
  #answer(reply: Reply | Promise<Reply>, late: Reply, resume: () => void): void {
    if (reply instanceof Promise) {
      this.#awaitReceiver(
        reply.then((answer) => ({ reply: answer })),
        late,
        resume,
      );
    } else {
      this.reply(reply);
      this._whenWritable(resume);
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
    this.parser.receiveData({
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
      return { reply: bodyRefused(whole, this.#context.limits) };
    }
    const receivedAt = new Date();
    const client = {
      helo: this.hostNameAppearsAs || "",
      clientAddress: this.remoteAddress,
      serverName: this.name,
      nodeText: this.#context.nodeText,
      extended: this.openingCommand === "EHLO",
      tls: this.tls,
    };
    const added = this.#added(body, receivedAt);
    return this.#transaction.deliver(whole, client, receivedAt, added);
  }

  /** RFC 6409 §8.1 and §8.2; for others' mail RFC 5321 §6.4 would have us leave it as it is. */
  #added({ header }: IncomingBody, receivedAt: Date): AddedFields | undefined {
    if (this.#authentication === undefined) return undefined;
    return {
      ...(!header.hasDate && { date: receivedAt }),
      ...(!header.hasMessageId && { messageId: `<${randomUUID()}@${this.name}>` }),
    };
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
    const giveUp = () => {
      this.#transaction.abandon();
      this.#authentication?.abandon();
      answer({ reply: late });
    };
    this.#deadlines.receiver(giveUp);
    outcome.then(answerStored, (error: unknown) => {
      this.#context.log.error({ err: error }, "a mail transaction failed");
      giveUp();
    });
  }

  #noteStored(ids: Parameters<Settlement["replied"]>[0]): void {
    this.#patience.mailTaken();
    const here = !this._closing && !this._closed && !this.clientEnded && this._socket.writable;
    if (here) this.#settlement.replied(ids, this.octetsHere);
    else this.#settlement.lost(ids);
  }

  // ---- Deadlines and the end

  /** The library's idle timer, which one octet a second never lets run out. See `checkDeadlines`. */
  override _armTimeout(): void {
    // Nothing: the server looks at all connections every `sweepIntervalMs`.
  }

  checkDeadlines(): void {
    if (this._closing || this._closed) return;
    if (!this.#deadlines.check()) return;
    if (this.handshaking) this.cut();
    else this.reply(replies.timeout);
  }

  /** The server closes: those who are in the middle of a mail may end it. */
  shutDown(): void {
    if (this.handshaking) this.cut();
    else if (this.#deadlines.waitsForCommand) this.reply(replies.closing);
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
    this.#settlement.closed(this.clientEnded && this.flushed && !hadError && !this.gaveUp);
    const body = this.#body;
    this.#body = undefined;
    if (body !== undefined) this.#context.track(body.discard());
    super._onCloseEvent(hadError);
  }
}
