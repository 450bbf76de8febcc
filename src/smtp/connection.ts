/**
 * Adapter, part 5: a connection of smtp-server (3.21.6) that follows our rules. The library keeps
 * the command loop, the pacing of replies and the life of the socket. Replaced here: all commands
 * besides those of mail, and the greeting, which it holds back by 100 ms for everybody.
 *
 * What is overridden is part of the library's type declarations, so an update that changes it
 * does not compile.
 */
import type net from "node:net";
import type { TLSSocket } from "node:tls";
import { keywords, parseHello } from "./hello.js";
import { MailConnection } from "./mail-connection.js";
import { SmtpParser } from "./parser.js";
import { replies, type Reply } from "./replies.js";

const notImplemented = new Set(
  // RFC 5321 §4.2.4: known, and not offered.
  ["AUTH", "STARTTLS", "EXPN", "BDAT", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML", "LHLO"],
);
const forbidden = new Set(["XCLIENT", "XFORWARD", "PROXY"]);

export class SmtpConnection extends MailConnection {
  override _createParser(): SmtpParser {
    // The first is made before this class has its fields.
    const { maxCommandLength = 0 } = this._server.options;
    const parser = new SmtpParser({ lineOctetsMax: maxCommandLength });
    parser.oncommand = (line, resume) => this.guard(() => this._onCommand(line, resume));
    parser.onlongline = (resume) => {
      if (!this._ready) return this.#refuseEarlyTalker();
      const { inExchange = false } = this.authentication ?? {};
      const reply = inExchange ? this.authentication?.lineTooLong() : undefined;
      this.reply(reply ?? replies.lineTooLong);
      this._whenWritable(resume);
    };
    parser.onend = () => this.onClientEnd();
    parser.on("error", (error) => this._onError(error));
    return parser;
  }

  // ---- Greeting

  /**
   * RFC 5321 §4.3.1. One that does not wait for the greeting sends right behind the handshake, so
   * its octets are here when we look after a moment and one more turn of the event loop.
   */
  override init(): void {
    const { earlyTalkers, nowMs, tls, implicitTls } = this.context;
    const greetSoon = () => {
      const holdMs = earlyTalkers.holdMs(this.remoteAddress, nowMs());
      setTimeout(() => setImmediate(() => this.#greet()), holdMs).unref();
    };
    this.parser.lineOctetsMax = this.#lineOctetsMax;
    this._setListeners(() => {
      if (!implicitTls || tls === undefined) return greetSoon();
      this.deadlines.handshake();
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
      this.deadlines.command();
      this.connectionReady();
    }
  }

  #refuseEarlyTalker(): void {
    if (this._closing) return;
    this.context.earlyTalkers.note(this.remoteAddress, this.context.nowMs());
    this.context.log.info({ client: this.remoteAddress }, "client talked before the greeting");
    this.reply(replies.talkedFirst);
    this.close();
  }

  // ---- TLS

  protected override wrapped(plain: net.Socket, secure: TLSSocket): void {
    this.context.wrapped(plain, secure);
  }

  override handler_STARTTLS(line: Buffer, resume: () => void): void {
    const { tls } = this.context;
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
    this.deadlines.handshake();
    this.startTls(tls.current(), () => this.#secured());
  }

  #secured(): void {
    this.deadlines.command();
    this.authentication?.forget();
    this.parser.lineOctetsMax = this.#lineOctetsMax;
  }

  // ---- Commands

  override _onCommand(line: Buffer, resume: () => void = () => undefined): void {
    this.settlement.command(this.parser.consumedOctets);
    if (!this._ready) return this.#refuseEarlyTalker();
    const authentication = this.authentication;
    if (authentication?.inExchange) return this.#authenticate(authentication.respond(line), resume);
    const verb = line.toString("latin1", 0, 12).split(" ", 1)[0]?.toUpperCase() ?? "";
    if (this.context.isClosing() && verb !== "QUIT") return this.reply(replies.closing);
    this.deadlines.command();
    const refusal = this.#refusalOf(verb, line);
    if (refusal === undefined) return super._onCommand(line, resume);
    this.reply(refusal);
    this._whenWritable(resume);
  }

  #refusalOf(verb: string, line: Buffer): Reply | undefined {
    const isAuth = verb === "AUTH" && this.authentication !== undefined;
    const needsAuth = this.authentication !== undefined && !this.authentication.identity;
    const exhausted = this.patience.command({ needsAuth: needsAuth && !isAuth });
    if (exhausted !== undefined) return exhausted;
    if (!isAuth && line.length + 2 > this.context.limits.commandOctetsMax) {
      return replies.lineTooLong;
    }
    if (forbidden.has(verb)) return replies.notAllowed;
    if (isAuth || (verb === "STARTTLS" && this.context.tls !== undefined)) return undefined;
    return notImplemented.has(verb) ? replies.notImplemented : undefined;
  }

  protected override replied(code: number): void {
    this.patience.replied(code);
  }

  override handler_EHLO(line: Buffer, resume: () => void): void {
    this.#hello(line, () => [
      this.name,
      ...keywords({
        messageOctetsMax: this.context.limits.messageOctetsMax,
        startTls: this.context.tls !== undefined && !this.secure,
        mechanisms: this.authentication?.offered ?? [],
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
    this.transaction.reset();
  }

  // ---- AUTH

  get #lineOctetsMax(): number {
    const { authLineOctetsMax, commandOctetsMax } = this.context.limits;
    if (this.authentication === undefined) return commandOctetsMax;
    return Math.max(authLineOctetsMax + "AUTH SCRAM-SHA-256 \r\n".length, commandOctetsMax);
  }

  override handler_AUTH(line: Buffer, resume: () => void): void {
    const reply = this.transaction.active
      ? replies.sequence("AUTH within a mail transaction")
      : (this.authentication?.begin(line) ?? replies.notImplemented);
    this.#authenticate(reply, resume);
  }

  #authenticate(reply: Reply | Promise<Reply>, resume: () => void): void {
    this.answer(reply, replies.authenticationLater, resume);
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
}
