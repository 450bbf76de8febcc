import type { Socket } from "node:net";
import { unreachable } from "../shared/unreachable.js";
import { BodyReader } from "./body.js";
import type { Effect, Input } from "./dialogue.js";
import { LineReader } from "./lines.js";
import type { EndReason, SessionInfo, SessionSummary } from "./maildrop.js";
import type { Pop3ServerOptions, Settings } from "./options.js";
import { Output, type Sent } from "./output.js";
import { replies } from "./replies.js";
import { Pop3Session } from "./session.js";
import { Tenancy } from "./tenancy.js";
import { transmitPieces, transmitWhole } from "./transmission.js";
import { Waits } from "./waits.js";

/** Drives one session over its socket: what the session asks for, one thing after the other. */
export class Connection {
  readonly #socket: Socket;
  readonly #info: SessionInfo;
  readonly #options: Pop3ServerOptions;
  readonly #settings: Settings;
  readonly #session: Pop3Session;
  readonly #waits = new Waits();
  readonly #reader = new LineReader();
  readonly #output: Output;
  readonly #tenancy: Tenancy;
  readonly #gone: AbortController;
  readonly #startedAtMs = performance.now();
  #body: BodyReader | undefined;
  #onInput: (() => void) | undefined;
  #inputEnded = false;
  #shuttingDown = false;
  #reason: EndReason = "disconnected";
  #retrieved = 0;
  #removed = 0;

  constructor(
    socket: Socket,
    info: SessionInfo,
    gone: AbortController,
    options: Pop3ServerOptions,
    settings: Settings,
  ) {
    this.#socket = socket;
    this.#info = info;
    this.#gone = gone;
    this.#options = options;
    this.#settings = settings;
    this.#session = new Pop3Session(settings);
    this.#output = new Output(socket, this.#waits, settings.limits.writeStallMs);
    this.#tenancy = new Tenancy(options.onAuth, info, this.#waits, settings);
    this.#listen();
  }

  /** Serves the session to its end; never rejects. `refusal`: the only reply there will be. */
  async run(refusal?: string): Promise<void> {
    try {
      const refused = refusal ?? (await this.#greet());
      if (refused !== undefined) this.#refuse(refused);
      else await this.#converse();
      await this.#linger();
    } catch (error) {
      this.#reason = "failed";
      this.#settings.log.error({ session: this.#info.id, error }, "pop3 session failed");
    }
    this.#cut(this.#reason);
    this.#gone.abort();
    await this.#tenancy.release();
    this.#closed();
  }

  /** Ends the session after the command that it is at. */
  shutDown(): void {
    this.#shuttingDown = true;
    this.#onInput?.();
  }

  /** Ends the session at once; a commit under way is not waited for. */
  destroy(): void {
    this.#tenancy.giveUp();
    this.#cut("shutdown");
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on("data", (chunk) => {
      this.#reader.push(chunk);
      if (this.#reader.full) socket.pause();
      this.#onInput?.();
    });
    socket.on("end", () => {
      this.#inputEnded = true;
      this.#onInput?.();
    });
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
    return this.#reader.next(this.#session.lineOctetsMax);
  }

  /** Undefined when there will be none: the client has ended or gone. */
  async #waitForInput(): Promise<Input | undefined> {
    const waitUntilMs = performance.now() + this.#deadlineMs();
    for (;;) {
      if (this.#inputEnded) return undefined;
      if (this.#socket.isPaused()) this.#socket.resume();
      const waited = await this.#waits.event((done) => {
        this.#onInput = done;
      }, waitUntilMs - performance.now());
      this.#onInput = undefined;
      if (waited.kind === "late") return { kind: "deadline" };
      if (waited.kind !== "done") return undefined;
      const input = this.#reading();
      if (input !== undefined) return input;
    }
  }

  #deadlineMs(): number {
    const { idleDeadlineMs, loginDeadlineMs } = this.#settings.limits;
    if (this.#session.loggedIn) return idleDeadlineMs;
    return Math.min(idleDeadlineMs, this.#startedAtMs + loginDeadlineMs - performance.now());
  }

  #perform(effect: Effect): Promise<Input | undefined> | Input | undefined {
    switch (effect.kind) {
      case "reply":
        return void this.#output.write(effect.text);
      case "listing":
        return this.#list(effect.pieces);
      case "authenticate":
        return this.#tenancy.login(effect.credentials);
      case "open":
        return this.#open(effect.index);
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

  async #open(index: number): Promise<Input> {
    const { maildrop } = this.#tenancy;
    const octets = maildrop.messages[index]?.octets ?? 0;
    const body = new BodyReader(octets, this.#waits, this.#settings.limits.readDeadlineMs);
    if (await body.open(maildrop, index)) {
      this.#body = body;
      return { kind: "opened", octets };
    }
    body.abandon();
    this.#bodyFailed(body, index);
    return { kind: "openFailed" };
  }

  /** The reply's text has been given; the message follows. */
  #transmit(lines: number | undefined): Promise<Input | undefined> | Input {
    const body = this.#body;
    if (body === undefined) throw new Error("nothing was opened");
    this.#body = undefined;
    if (!transmitWhole(body, lines, this.#output)) return this.#transmitPieces(body, lines);
    return this.#transmitted(lines);
  }

  async #transmitPieces(body: BodyReader, lines: number | undefined): Promise<Input | undefined> {
    const sent = await transmitPieces(body, lines, this.#output);
    if (sent === "bodyFailed") return this.#bodyFailed(body, undefined);
    return this.#keepsUp(sent) ? this.#transmitted(lines) : undefined;
  }

  #transmitted(lines: number | undefined): Input {
    if (lines === undefined) this.#retrieved++;
    return { kind: "transmitted" };
  }

  /** In the middle of a reply the only honest end is to cut the line. */
  #bodyFailed(body: BodyReader, index: number | undefined): undefined {
    if (this.#waits.over) return;
    const fields = { session: this.#info.id, index, error: body.error };
    this.#settings.log.warn(fields, "pop3 message can't be read");
    if (index === undefined) this.#cut("bodyFailed");
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
    this.#socket.removeAllListeners("data");
    this.#socket.resume();
    if (!this.#socket.writableFinished) {
      const finished = (done: () => void) => this.#socket.once("finish", done);
      const waited = await this.#waits.event(finished, this.#settings.limits.writeStallMs);
      if (waited.kind === "late") this.#cut("stalled");
    }
    if (this.#inputEnded) return;
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
      retrieved: this.#retrieved,
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
