import type { Socket } from "node:net";
import { unreachable } from "../shared/unreachable.js";
import type { Effect, Input } from "./dialogue.js";
import { allowsPlaintext } from "./authentication.js";
import { handshake, overTls } from "./handshake.js";
import { Incoming } from "./incoming.js";
import type { EndReason, OwnSessionInfo, SessionSummary } from "./maildrop.js";
import type { Pop3ServerOptions, Settings } from "./options.js";
import { Output, type Sent } from "./output.js";
import { replies } from "./replies.js";
import { Retrieval } from "./retrieval.js";
import { Pop3Session } from "./session.js";
import { Tenancy } from "./tenancy.js";
import { Waits } from "./waits.js";

/** Drives one session over its socket: what the session asks for, one thing after the other. */
export class Connection {
  #socket: Socket;
  readonly #info: OwnSessionInfo;
  readonly #options: Pop3ServerOptions;
  readonly #settings: Settings;
  readonly #session: Pop3Session;
  readonly #waits = new Waits();
  readonly #incoming = new Incoming();
  readonly #output: Output;
  readonly #tenancy: Tenancy;
  readonly #retrieval: Retrieval;
  readonly #gone: AbortController;
  readonly #startedAtMs = performance.now();
  #onShutDown: (() => void) | undefined;
  #shuttingDown = false;
  #reason: EndReason = "disconnected";
  #removed = 0;

  constructor(
    socket: Socket,
    info: OwnSessionInfo,
    gone: AbortController,
    options: Pop3ServerOptions,
    settings: Settings,
  ) {
    this.#socket = socket;
    this.#info = info;
    this.#gone = gone;
    this.#options = options;
    this.#settings = settings;
    const secure = settings.implicitTls;
    const plaintextInClear = allowsPlaintext(settings.plainAuth, info);
    this.#session = new Pop3Session(settings, { secure, plaintextInClear });
    this.#output = new Output(socket, this.#waits, settings.limits.writeStallMs);
    this.#tenancy = new Tenancy(options, info, this.#waits, settings);
    this.#retrieval = new Retrieval(info.id, this.#waits, this.#output, settings);
    this.#adopt(socket);
    // The first octets of a client that begins with TLS are not ours to read.
    if (!secure) this.#incoming.listen(socket);
  }

  /** Serves the session to its end; never rejects. `refusal`: the only reply there will be. */
  async run(refusal?: string): Promise<void> {
    try {
      if (!this.#settings.implicitTls) await this.#serve(refusal);
      // Who is not served is not worth a handshake either.
      else if (refusal !== undefined) this.#reason = "refused";
      else if ((await this.#startTls()) !== undefined) await this.#serve();
    } catch (error) {
      this.#reason = "failed";
      this.#settings.log.error({ session: this.#info.id, error }, "pop3 session failed");
    }
    this.#cut(this.#reason);
    this.#gone.abort();
    await this.#tenancy.release();
    this.#closed();
  }

  async #serve(refusal?: string): Promise<void> {
    const refused = refusal ?? (await this.#greet());
    if (refused !== undefined) this.#refuse(refused);
    else await this.#converse();
    await this.#linger();
  }

  /** Ends the session after the command that it is at. */
  shutDown(): void {
    this.#shuttingDown = true;
    this.#onShutDown?.();
  }

  /** Ends the session at once; a commit under way is not waited for. */
  destroy(): void {
    this.#tenancy.giveUp();
    this.#cut("shutdown");
  }

  #adopt(socket: Socket): void {
    this.#socket = socket;
    socket.on("error", (error) => {
      this.#settings.log.debug({ session: this.#info.id, error: error.message }, "pop3 socket");
    });
    socket.on("close", () => this.#waits.end());
  }

  /** Undefined when the client was greeted, else why not. */
  async #greet(): Promise<string | undefined> {
    const { onConnect } = this.#options;
    if (onConnect !== undefined) {
      const asked = (async () => onConnect(this.#info))();
      const waited = await this.#waits.work(asked, this.#settings.limits.authDeadlineMs);
      if (waited.kind !== "done") return replies.authTempfail;
      if (waited.value.kind === "refuse") return replies.refused(waited.value.why);
    }
    this.#output.write(this.#settings.greeting);
    return undefined;
  }

  #refuse(text: string): void {
    this.#reason = "refused";
    this.#output.write(text);
  }

  async #converse(): Promise<void> {
    while (this.#session.wants === "line") {
      const input = this.#reading() ?? (await this.#waitForInput());
      if (input === undefined) return;
      const effects = [...this.#session.step(input)];
      for (let effect = effects.shift(); effect !== undefined; effect = effects.shift()) {
        const work = this.#perform(effect);
        const answer = work instanceof Promise ? await work : work;
        if (this.#waits.over) return;
        if (answer !== undefined) effects.push(...this.#session.step(answer));
      }
      if (this.#output.full && !(await this.#drained())) return;
    }
  }

  /** The next input, if it is there. */
  #reading(): Input | undefined {
    if (this.#shuttingDown) return { kind: "shutdown" };
    return this.#incoming.line(this.#session.lineOctetsMax);
  }

  /** Undefined when there will be none: the client has ended or gone. */
  async #waitForInput(): Promise<Input | undefined> {
    const waitUntilMs = performance.now() + this.#deadlineMs();
    for (;;) {
      if (this.#incoming.ended) return undefined;
      const waited = await this.#waits.event((done) => {
        this.#onShutDown = done;
        this.#incoming.watch(done);
      }, waitUntilMs - performance.now());
      this.#onShutDown = undefined;
      this.#incoming.watch(undefined);
      if (waited.kind === "late") return { kind: "deadline" };
      if (waited.kind !== "done") return undefined;
      const input = this.#reading();
      if (input !== undefined) return input;
    }
  }

  #deadlineMs(): number {
    const { idleDeadlineMs, sessionDeadlineMs } = this.#settings.limits;
    if (!this.#session.loggedIn) return Math.min(idleDeadlineMs, this.#loginLeftMs());
    return Math.min(idleDeadlineMs, this.#startedAtMs + sessionDeadlineMs - performance.now());
  }

  #loginLeftMs(): number {
    return this.#startedAtMs + this.#settings.limits.loginDeadlineMs - performance.now();
  }

  /** Undefined when there is no TLS; then the connection is over. */
  async #startTls(): Promise<Input | undefined> {
    const { tls } = this.#options;
    if (tls === undefined) throw new Error("no certificate");
    const secureContext = tls.current();
    if (!this.#keepsUp(await this.#output.emptied())) return undefined;
    if (this.#socket.destroyed) return undefined;
    // RFC 2595 §4: what came in clear behind STLS is not taken for what comes in TLS.
    this.#incoming.forget();
    const socket = overTls(this.#socket, secureContext);
    this.#adopt(socket);
    this.#output.writeTo(socket);
    this.#incoming.listen(socket);
    const { handshakeDeadlineMs } = this.#settings.limits;
    const deadlineMs = Math.min(handshakeDeadlineMs, this.#loginLeftMs());
    const answer = await handshake(socket, this.#waits, deadlineMs);
    if (typeof answer === "string") {
      this.#settings.log.debug({ session: this.#info.id, why: answer }, "pop3 TLS failed");
      this.#reason = "tlsFailed";
      this.#cut("tlsFailed");
      return undefined;
    }
    this.#info.secure = true;
    this.#info.tls = answer;
    return { kind: "secured" };
  }

  #perform(effect: Effect): Promise<Input | undefined> | Input | undefined {
    switch (effect.kind) {
      case "reply":
        return void this.#output.write(effect.text);
      case "listing":
        return this.#list(effect.pieces);
      case "authenticate":
        return this.#tenancy.login(effect.credentials);
      case "saslBegin":
        return this.#tenancy.saslBegin(effect.mechanism, effect.data);
      case "saslRespond":
        return this.#tenancy.saslRespond(effect.data);
      case "startTls":
        return this.#startTls();
      case "open":
        return this.#retrieval.open(this.#tenancy.maildrop, effect.index);
      case "transmit":
        return this.#transmit(effect.lines);
      case "commit":
        return this.#commit(effect.removed);
      case "release":
        return this.#released();
      case "close":
        this.#reason = effect.reason;
        return undefined;
      default:
        return unreachable(effect);
    }
  }

  async #list(pieces: Iterable<string>): Promise<undefined> {
    for (const piece of pieces) {
      this.#output.write(piece);
      if (this.#output.full && !(await this.#drained())) return;
    }
  }

  #transmit(lines: number | undefined): Promise<Input | undefined> | Input | undefined {
    const sent = this.#retrieval.transmit(lines);
    // Most messages are small, and sent without a promise.
    if (sent instanceof Promise) return sent.then((later) => this.#transmitted(later));
    return this.#transmitted(sent);
  }

  #transmitted(sent: Sent | "bodyFailed"): Input | undefined {
    // In the middle of a reply the only honest end is to cut the line.
    if (sent === "bodyFailed") this.#cut("bodyFailed");
    else if (this.#keepsUp(sent)) return { kind: "transmitted" };
    return undefined;
  }

  async #commit(removed: readonly number[]): Promise<Input> {
    const answer = await this.#tenancy.commit(removed);
    if (answer.kind === "removed") this.#removed = removed.length;
    return { kind: "committed", answer };
  }

  async #released(): Promise<undefined> {
    await this.#tenancy.release();
  }

  /** False when the client is gone, or is sent away because it does not read. */
  async #drained(): Promise<boolean> {
    return this.#keepsUp(await this.#output.drain());
  }

  #keepsUp(outcome: Sent): boolean {
    if (outcome === "late") this.#cut("stalled");
    return outcome === "done";
  }

  /** Waits for the client's end after ours, so that no reset overtakes the last reply. */
  async #linger(): Promise<void> {
    if (this.#waits.over) return;
    this.#output.flush();
    this.#socket.end();
    this.#incoming.drop();
    if (!this.#socket.writableFinished) {
      const finished = (done: () => void) => this.#socket.once("finish", done);
      const waited = await this.#waits.event(finished, this.#settings.limits.writeStallMs);
      if (waited.kind === "late") this.#cut("stalled");
    }
    if (this.#incoming.ended) return;
    // Nothing calls `done`: it is the client's end that closes the socket.
    await this.#waits.event(() => {}, this.#settings.limits.lingerMs);
  }

  #cut(reason: EndReason): void {
    if (!this.#waits.over) this.#reason = reason;
    this.#output.flush();
    this.#waits.end();
    this.#socket.destroy();
  }

  #closed(): void {
    const { user } = this.#tenancy;
    const summary: SessionSummary = {
      reason: this.#reason,
      ...(user !== undefined && { username: user }),
      retrieved: this.#retrieval.messages,
      removed: this.#removed,
    };
    this.#settings.log.debug({ session: this.#info.id, ...summary }, "pop3 session over");
    try {
      this.#options.onClose?.(this.#info, summary);
    } catch (error) {
      this.#settings.log.error({ session: this.#info.id, error }, "pop3 onClose failed");
    }
  }
}
