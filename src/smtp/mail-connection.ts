/**
 * Adapter, part 4: mail transactions on a connection of smtp-server (3.21.6): MAIL, RCPT and DATA
 * with exact replies and parameters, deadlines (the library's is for idle time alone), and what
 * becomes of it all when the connection ends.
 */
import { randomUUID } from "node:crypto";
import type net from "node:net";
import type { SMTPServer } from "smtp-server";
import type { SMTPConnectionOptions } from "smtp-server/lib/smtp-connection.js";
import { Authentication, passwordsMayCome } from "./authentication.js";
import type { ConnectionContext } from "./connection-context.js";
import { Deadlines } from "./deadlines.js";
import { IncomingBody } from "./incoming-body.js";
import { Patience } from "./patience.js";
import { bodyRefused, replies, type Reply } from "./replies.js";
import { Settlement } from "./settlement.js";
import { TlsConnection } from "./tls-connection.js";
import type { AddedFields } from "./trace.js";
import { Transaction, type Outcome } from "./transaction.js";

export abstract class MailConnection extends TlsConnection {
  protected readonly context: ConnectionContext;
  protected readonly transaction: Transaction;
  protected readonly settlement: Settlement;
  protected readonly deadlines: Deadlines;
  protected readonly patience: Patience;
  protected readonly authentication: Authentication | undefined;
  /** The mail that is coming in. */
  #body: IncomingBody | undefined;

  constructor(
    server: SMTPServer,
    socket: net.Socket,
    options: SMTPConnectionOptions,
    context: ConnectionContext,
  ) {
    super(server, socket, options);
    this.context = context;
    this.transaction = new Transaction(context);
    this.settlement = new Settlement((ids, outcome) => {
      this.guard(() => context.receiver.settled(ids, outcome));
    });
    this.deadlines = new Deadlines(context.limits, context.nowMs);
    this.patience = new Patience(context.limits);
    const { authenticator, limits, log } = context;
    this.authentication =
      authenticator &&
      new Authentication({
        ...{ authenticator, limits, log },
        origin: { address: this.remoteAddress, protocol: "smtp" },
        plaintextAllowed: () => passwordsMayCome(context.plainAuth, this),
      });
  }

  override handler_MAIL(line: Buffer, resume: () => void): void {
    const { identity } = this.authentication ?? {};
    this.answer(this.transaction.mail(line, identity), replies.undecided, resume);
  }

  override handler_RCPT(line: Buffer, resume: () => void): void {
    this.answer(this.transaction.rcpt(line), replies.undecided, resume);
  }

  /** Sends a reply that is known or will be; `late` when it takes too long. */
  protected answer(reply: Reply | Promise<Reply>, late: Reply, resume: () => void): void {
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
    const reply = this.transaction.data(line);
    this.reply(reply);
    if (reply === replies.startMail) this.#receiveData();
    resume();
  }

  // ---- Data

  #receiveData(): void {
    const { inlineBodyOctetsMax, ringBodyOctetsMax } = this.context.limits;
    const inlineOctetsMax = this.transaction.isForRing ? ringBodyOctetsMax : inlineBodyOctetsMax;
    const body = new IncomingBody(this.context, inlineOctetsMax);
    this.#body = body;
    this.deadlines.data(0);
    this.parser.receiveData({
      write: (content) => {
        const written = body.write(content);
        this.deadlines.data(body.octets);
        return written;
      },
      end: ({ bareLineEnd }, resume) => {
        this.#body = undefined;
        const outcome = this.#takeMail(body, bareLineEnd).finally(() => body.release());
        this.#awaitReceiver(outcome, replies.undecided, () => {
          this.deadlines.transactionOver();
          this._whenWritable(resume);
        });
      },
    });
  }

  async #takeMail(body: IncomingBody, bareLineEnd: boolean): Promise<Outcome> {
    const loop = this.#loops(body) ? "tooManyHops" : undefined;
    const refusal = bareLineEnd ? "bareLineEnd" : loop;
    const whole = refusal === undefined ? await body.finish() : await this.#discard(body, refusal);
    if (typeof whole === "string") {
      this.transaction.reset();
      return { reply: bodyRefused(whole, this.context.limits) };
    }
    const receivedAt = new Date();
    const client = {
      helo: this.hostNameAppearsAs || "",
      clientAddress: this.remoteAddress,
      serverName: this.name,
      nodeText: this.context.nodeText,
      extended: this.openingCommand === "EHLO",
      tls: this.tls,
    };
    const added = this.#added(body, receivedAt);
    return this.transaction.deliver(whole, client, receivedAt, added);
  }

  /** RFC 6409 §8.1 and §8.2; for others' mail RFC 5321 §6.4 would have us leave it as it is. */
  #added({ header }: IncomingBody, receivedAt: Date): AddedFields | undefined {
    if (this.authentication === undefined) return undefined;
    return {
      ...(!header.hasDate && { date: receivedAt }),
      ...(!header.hasMessageId && { messageId: `<${randomUUID()}@${this.name}>` }),
    };
  }

  /** What stays here can't come back. */
  #loops({ header }: IncomingBody): boolean {
    return this.transaction.leavesRing && header.received > this.context.limits.hopsMax;
  }

  async #discard<T extends string>(body: IncomingBody, refusal: T): Promise<T> {
    const discarded = body.discard();
    this.context.track(discarded);
    await discarded;
    return refusal;
  }

  /** Sends what the receiver decides, or `late` when it takes too long. */
  #awaitReceiver(outcome: Promise<Outcome>, late: Reply, resume: () => void): void {
    let answered = false;
    const answer = ({ reply, ids }: Outcome) => {
      if (answered) {
        if (ids !== undefined) this.settlement.lost(ids);
        return;
      }
      answered = true;
      this.deadlines.command();
      if (ids !== undefined) this.#noteStored(ids);
      this.reply(reply);
      resume();
    };
    // An end that has come already is seen before the 250 is written: two turns are a whole one.
    const answerStored = (stored: Outcome) => {
      if (stored.ids === undefined) answer(stored);
      else setImmediate(() => setImmediate(() => this.guard(() => answer(stored))));
    };
    const giveUp = () => {
      this.transaction.abandon();
      this.authentication?.abandon();
      answer({ reply: late });
    };
    this.deadlines.receiver(giveUp);
    outcome.then(answerStored, (error: unknown) => {
      this.context.log.error({ err: error }, "a mail transaction failed");
      giveUp();
    });
  }

  #noteStored(ids: Parameters<Settlement["replied"]>[0]): void {
    this.patience.mailTaken();
    const here = !this._closing && !this._closed && !this.clientEnded && this._socket.writable;
    if (here) this.settlement.replied(ids, this.octetsHere);
    else this.settlement.lost(ids);
  }

  // ---- Deadlines and the end

  /** The library's idle timer, which one octet a second never lets run out. See `checkDeadlines`. */
  override _armTimeout(): void {
    // Nothing: the server looks at all connections every `sweepIntervalMs`.
  }

  checkDeadlines(): void {
    if (this._closing || this._closed) return;
    if (!this.deadlines.check()) return;
    if (this.handshaking) this.cut();
    else this.reply(replies.timeout);
  }

  /** The server closes: those who are in the middle of a mail may end it. */
  shutDown(): void {
    if (this.handshaking) this.cut();
    else if (this.deadlines.waitsForCommand) this.reply(replies.closing);
  }

  /**
   * The client ended its side. Behind a 250 that may be one that has read it, or one that gave up
   * while the 250 was on its way: the kernel of the latter answers the 250 with a reset. So we
   * wait a moment, and then write: after a reset that fails, and the connection ends in an error.
   */
  protected onClientEnd(): void {
    if (!this.settlement.isWaiting) return this.close();
    setTimeout(() => {
      this.reply(replies.bye);
      this.close();
    }, this.context.limits.resetWaitMs);
  }

  /** The library raises an error of the server for a client that resets. It is an end like any. */
  override _onError(error: Error): void {
    this.context.log.debug({ err: error, client: this.remoteAddress }, "connection failed");
    this._socket.destroy();
  }

  /** A bug on the way of one connection is the end of that one, not of the process. */
  protected guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.context.log.error({ err: error }, "an SMTP connection failed");
      this._socket.destroy();
    }
  }

  override _onCloseEvent(hadError = false): void {
    this.settlement.closed(this.clientEnded && this.flushed && !hadError && !this.gaveUp);
    const body = this.#body;
    this.#body = undefined;
    if (body !== undefined) this.context.track(body.discard());
    super._onCloseEvent(hadError);
  }
}
