/**
 * Sends what waits in the mailbox of outgoing mail. Every member runs one; the one that holds the
 * mailbox's lock works. It keeps the lock while anything waits, and whoever adds a mail tries to get it.
 */
import { envelopeIn } from "../mailbox/outgoing-mail.js";
import type { OpenAnswer, ReplicatedMaildrop } from "../replication/maildrop.js";
import type { Clock } from "../replication/ports.js";
import type { MessageId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { StoredMessage } from "../shared/operation.js";
import { Room } from "./control/room.js";
import {
  type Now,
  OutgoingSchedule,
  type OutgoingTimes,
  type WaitingMail,
} from "./outgoing-schedule.js";
import type { SendOutcome, SmartHost } from "./smart-host.js";

export type Maildrop = Pick<
  ReplicatedMaildrop,
  "messages" | "read" | "remove" | "release" | "relist"
>;
export type OpenMaildropAnswer =
  | { readonly kind: "open"; readonly maildrop: Maildrop }
  | Exclude<OpenAnswer, { kind: "open" }>;

export interface GivenUpMail {
  readonly id: MessageId;
  readonly to: string;
  /** "" for the null sender: nobody to tell. */
  readonly from: string;
  /** Wall clock, milliseconds since 1970. */
  readonly receivedAtMs: number;
  readonly octets: Buffer;
  /** One line: the last reply of the smart host. */
  readonly why: string;
  /** It was refused for good; else it was tried for as long as it may be. */
  readonly isRefused: boolean;
}

export interface OutgoingWorkerOptions {
  readonly smartHost: SmartHost;
  readonly open: () => Promise<OpenMaildropAnswer>;
  /** Mails that wait; undefined when too few members answer. */
  readonly waiting: () => Promise<number | undefined>;
  readonly times: OutgoingTimes;
  /** Mails on their way at a time. */
  readonly sendsMax: number;
  /** Told before the mail is removed; more than once when this member dies then. What it rejects stays, and is tried again. */
  readonly onGivenUp: (mail: GivenUpMail) => Promise<void> | void;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * A list is believed for less than a lock outlives its front node (1.5 s), counted on a clock that goes on while the
 * process is frozen: a member that was away for longer looks again before it sends what others have sent.
 */
const believedMs = 1_000;
/** How often a member without the lock looks whether mail was left behind. */
const idleMs = 5_000;
/** Of mails that are being sent: a mail is whole in memory then. */
const sendingOctetsMax = 96 * 1024 * 1024;
/** While somebody else has the lock: they may have looked just before our mail came. */
const busyMs = 500;

export class OutgoingWorker {
  private readonly stopping = new AbortController();
  /** Aborted when something was added here that was not looked for yet. */
  private added = new AbortController();
  private running: Promise<void> | undefined;

  constructor(private readonly options: OutgoingWorkerOptions) {}

  start(): void {
    this.running ??= this.run();
  }

  /** Something was added here. */
  wake(): void {
    this.added.abort();
  }

  /** What is under way is broken off; it is sent again later, by whoever gets the lock. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.options.smartHost.close();
    await this.running;
  }

  private async run(): Promise<void> {
    let pauseMs = idleMs;
    while (!this.stopping.signal.aborted) {
      try {
        pauseMs = await this.round(pauseMs);
      } catch (error) {
        const { log } = this.options;
        log.warn({ error: String(error) }, "outgoing mail was not sent; it will be tried again");
      }
      await this.sleep(pauseMs, this.stopping.signal);
    }
  }

  /** Answers when to look again. */
  private async round(pauseMs: number): Promise<number> {
    const isOurs = this.added.signal.aborted;
    if (!isOurs && (await this.options.waiting()) === 0) return idleMs;
    if (await this.work()) return idleMs;
    return isOurs ? busyMs : Math.min(pauseMs * 2, idleMs);
  }

  /** False when it could not get the lock. */
  private async work(): Promise<boolean> {
    const { open, clock } = this.options;
    this.lookingNow();
    const openedAtMs = clock.monotonicMs();
    const opened = await open();
    if (opened.kind !== "open") return false;
    const tenure = new Tenure(this.options, opened.maildrop, openedAtMs, this.stopping.signal);
    try {
      while (await tenure.goOn()) {
        await tenure.sendWhileBelieved((ms, signal) => this.sleep(ms, signal));
        this.lookingNow();
        await tenure.lookAgain();
      }
    } finally {
      await tenure.end();
    }
    return true;
  }

  /** What was added up to now will be seen. */
  private lookingNow(): void {
    if (this.added.signal.aborted) this.added = new AbortController();
  }

  /** True when something was added before the time. */
  private async sleep(ms: number, signal: AbortSignal): Promise<boolean> {
    const added = this.added.signal;
    if (added.aborted || signal.aborted) return added.aborted;
    await this.options.clock.sleep(ms, AbortSignal.any([added, signal])).catch(() => undefined);
    return added.aborted;
  }
}

/** From getting the lock to giving it up, or losing it. */
class Tenure {
  private readonly schedule: OutgoingSchedule;
  private isLost = false;
  /** Of the list that was seen last. */
  private digest: string | undefined;
  private readonly byId = new Map<MessageId, StoredMessage>();
  private readonly underWay = new Set<Promise<void>>();
  /** Taken or given up, and not to be sent again by us, until a list comes without them. */
  private readonly settled = new Map<MessageId, { message: StoredMessage; isRemoved: boolean }>();
  private removing: Promise<void> | undefined;
  private readonly memory = new Room(sendingOctetsMax, Number.POSITIVE_INFINITY);

  constructor(
    private readonly options: OutgoingWorkerOptions,
    private readonly maildrop: Maildrop,
    private lookedAtMs: number,
    private readonly stopping: AbortSignal,
  ) {
    this.schedule = new OutgoingSchedule(options.times);
    this.show(maildrop.messages);
  }

  private show(messages: readonly StoredMessage[]): void {
    this.byId.clear();
    const waiting: WaitingMail[] = [];
    const there = new Set<MessageId>();
    for (const message of messages) {
      there.add(message.id);
      if (this.settled.has(message.id)) continue;
      this.byId.set(message.id, message);
      const { id, receivedAtMs, trace } = message;
      const { to = "", from = "" } = envelopeIn(trace) ?? {};
      waiting.push({ id, receivedAtMs, to, from });
    }
    for (const id of this.settled.keys()) if (!there.has(id)) this.settled.delete(id);
    this.schedule.update(waiting);
  }

  async goOn(): Promise<boolean> {
    if (this.isLost || this.stopping.aborted) return false;
    await this.removeSettled();
    return !this.isOver();
  }

  private isOver(): boolean {
    return this.schedule.isEmpty && this.underWay.size === 0 && this.removable().length === 0;
  }

  /** Resolves when it is time to look again: something was added, or what was seen is too old. */
  async sendWhileBelieved(
    sleep: (ms: number, signal: AbortSignal) => Promise<boolean>,
  ): Promise<void> {
    const { clock, sendsMax } = this.options;
    for (;;) {
      const leftMs = this.lookedAtMs + believedMs - clock.monotonicMs();
      if (leftMs <= 0 || this.stopping.aborted) return;
      while (this.underWay.size < sendsMax) {
        const mail = this.schedule.take(this.now());
        if (!mail) break;
        this.send(mail);
      }
      if (this.isOver()) return;
      const dueInMs = this.underWay.size < sendsMax ? this.schedule.dueInMs(this.now()) : leftMs;
      const awake = new AbortController();
      const signal = AbortSignal.any([awake.signal, this.stopping]);
      const slept = sleep(Math.max(1, Math.min(leftMs, dueInMs)), signal);
      const isAdded = await Promise.race([slept, ...this.underWay]);
      awake.abort();
      if (isAdded === true) return;
    }
  }

  async lookAgain(): Promise<void> {
    const { clock } = this.options;
    const lookedAtMs = clock.monotonicMs();
    const answer = await this.maildrop.relist(this.digest);
    if (answer.kind === "lost" || answer.kind === "tempfail") {
      this.isLost = true;
      return;
    }
    this.lookedAtMs = lookedAtMs;
    if (answer.kind === "same") return;
    this.digest = answer.digest;
    this.show(answer.messages);
  }

  async end(): Promise<void> {
    await Promise.all(this.underWay);
    if (!this.isLost) await this.removeSettled();
    this.maildrop.release();
  }

  private send(mail: WaitingMail): void {
    const message = this.byId.get(mail.id);
    if (!message) return;
    const sent = this.memory
      .hold(message.bodyOctets, () => this.sendOne(mail, message))
      .catch((error: unknown) => {
        const { log } = this.options;
        this.schedule.settle(mail, "later", this.now());
        log.warn({ id: mail.id, error: String(error) }, "an outgoing mail could not be read");
      })
      .finally(() => this.underWay.delete(sent));
    this.underWay.add(sent);
  }

  private async sendOne(mail: WaitingMail, message: StoredMessage): Promise<void> {
    const { smartHost, log } = this.options;
    const { id, to, from } = mail;
    const octets = await this.read(message);
    const outcome: SendOutcome =
      to === ""
        ? { kind: "never", why: "it has no recipient" }
        : await smartHost.send({ from, to, octets });
    if (this.stopping.aborted && outcome.kind !== "taken") return;
    const now = this.now();
    const why = outcome.kind === "taken" ? outcome.reply : outcome.why;
    const isLast = this.schedule.isLast(mail, outcome.kind, now);
    const isRefused = outcome.kind === "never";
    const isTold = !isLast || (await this.giveUp({ ...mail, octets, why, isRefused }));
    const verdict = this.schedule.settle(mail, isTold ? outcome.kind : "untold", now);
    if (verdict === "waits") {
      log.info({ id, why }, "an outgoing mail was not taken yet");
      return;
    }
    if (verdict === "done") log.debug({ id, reply: why }, "an outgoing mail was taken");
    this.settled.set(id, { message, isRemoved: false });
    await this.removeSettled();
  }

  /** False when nobody could be told: then it is not given up yet. */
  private async giveUp(mail: GivenUpMail): Promise<boolean> {
    const { log, onGivenUp } = this.options;
    const { id, why } = mail;
    try {
      await onGivenUp(mail);
      log.warn({ id, why }, "an outgoing mail was given up");
      return true;
    } catch (error) {
      log.warn({ id, why, error: String(error) }, "nobody can be told of a mail to be given up");
      return false;
    }
  }

  private removable(): readonly StoredMessage[] {
    return [...this.settled.values()].flatMap((one) => (one.isRemoved ? [] : [one.message]));
  }

  /** All together; while some are being removed, others gather. */
  private async removeSettled(): Promise<void> {
    while (this.removing) await this.removing;
    const some = this.removable();
    if (some.length === 0) return;
    this.removing = this.remove(some);
    await this.removing;
  }

  private async remove(messages: readonly StoredMessage[]): Promise<void> {
    try {
      const isDone = await this.maildrop.remove(messages);
      for (const message of messages) this.settled.set(message.id, { message, isRemoved: isDone });
      if (isDone) return;
      this.options.log.warn({ mails: messages.length }, "sent mails could not be removed yet");
    } finally {
      this.removing = undefined;
    }
  }

  private async read(message: StoredMessage): Promise<Buffer> {
    const whole = await this.maildrop.read(message, this.stopping);
    const octets = Buffer.isBuffer(whole) ? whole : await joined(whole);
    return octets.subarray(envelopeIn(message.trace)?.octets ?? Buffer.byteLength(message.trace));
  }

  private now(): Now {
    const { clock } = this.options;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }
}

async function joined(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const copies: Buffer[] = [];
  // A piece's memory is used again for the next one.
  for await (const piece of pieces) copies.push(Buffer.from(piece));
  return Buffer.concat(copies);
}
