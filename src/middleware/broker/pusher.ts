/**
 * Sends the entries of queues with `push` to where their owners answer, as packets. Each member looks after the queues
 * that it leads. What is on its way is leased, and settled by control mails; what is not comes back to the queue
 * and is sent again, and so does what a mail server refuses.
 */
import { type DataFrame, type Frame, openPacket, readMail } from "../../ebm/index.js";
import type { Clock } from "../../replication/ports.js";
import type { MailboxName, MessageId } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import { AnswerError } from "../control/answers.js";
import { elsewhereLimits } from "../control/limits.js";
import { Strangers } from "../control/strangers.js";
import type { Answers } from "../ports.js";
import type { PushWork, RingBroker } from "./broker.js";
import { brokerLimits } from "./limits.js";
import type { Leased } from "./lease-table.js";
import type { PushBatch } from "./queue-leader.js";

export interface PusherOptions {
  readonly broker: Pick<RingBroker, "onPush" | "pushWork" | "takeToPush" | "pushFailed">;
  readonly answers: Answers;
  /** Where a user answers now; undefined when nobody knows, or can tell now. */
  readonly addressOf: (user: MailboxName) => Promise<string | undefined>;
  readonly clock: Clock;
  readonly log: Log;
}

/** What has waited so long for its first octet is given up. */
const readMs = 30_000;
const { againMs, nobodyMs, scanMs, queuesMax, leaseMsMax } = brokerLimits.push;

export class Pusher {
  /** Queues that are being worked on; true: there may be more. */
  private readonly working = new Map<string, boolean>();
  /** Not to be tried again before. */
  private readonly pausedUntilMs = new Map<string, number>();
  private readonly stopping = new AbortController();
  /** Mails to one address. */
  private readonly sent: Strangers;

  constructor(private readonly options: PusherOptions) {
    this.sent = new Strangers(elsewhereLimits, options.clock, (address) => address.toLowerCase());
    options.broker.onPush((work) => this.wake(work));
  }

  start(): void {
    void this.scan();
  }

  stop(): void {
    this.stopping.abort();
  }

  /**
   * The smart host has refused it for good, or for as long as it is tried: its entries are tried again
   * later, each time later, and are dead letters in the end.
   */
  async givenUp(mail: { readonly octets: Buffer }): Promise<void> {
    const { queue, frames } = pushedIn(mail.octets) ?? {};
    if (queue === undefined || frames === undefined) return;
    const deliveries = new Map<string, number>();
    for (const frame of frames) {
      if (frame.kind !== "data" || frame.entry === undefined) continue;
      deliveries.set(frame.entry, frame.redelivered ?? 0);
    }
    const later = [...deliveries].map(([entry, times]) => ({
      entry: entry as MessageId,
      ms: Math.min(againMs * 2 ** Math.min(times, 40), leaseMsMax),
    }));
    this.options.log.warn({ queue, entries: later.length }, "pushed entries were refused");
    if (later.length > 0) await this.options.broker.pushFailed(queue, later);
  }

  /** What nobody leads, whoever is to lead it looks into; what was added unnoticed is found. */
  private async scan(): Promise<void> {
    const { broker, clock, log } = this.options;
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        for (const work of await broker.pushWork()) this.wake(work);
      } catch (error) {
        log.warn({ error: String(error) }, "queues to be pushed could not be looked for");
      }
      await clock.sleep(scanMs, signal).catch(() => undefined);
    }
  }

  private wake(work: PushWork): void {
    const { queue } = work;
    if (this.stopping.signal.aborted) return;
    if (this.working.has(queue)) {
      this.working.set(queue, true);
      return;
    }
    if ((this.pausedUntilMs.get(queue) ?? 0) > this.options.clock.monotonicMs()) return;
    this.pausedUntilMs.delete(queue);
    this.working.set(queue, false);
    void this.work(work).finally(() => this.working.delete(queue));
  }

  private pause(queue: string, ms: number): void {
    if (this.pausedUntilMs.size >= queuesMax) this.pausedUntilMs.clear();
    this.pausedUntilMs.set(queue, this.options.clock.monotonicMs() + ms);
  }

  private async work({ queue, owner }: PushWork): Promise<void> {
    const { log, addressOf } = this.options;
    try {
      for (let isMore = true; isMore && !this.stopping.signal.aborted; ) {
        this.working.set(queue, false);
        const address = await addressOf(owner);
        if (address === undefined) return this.pause(queue, nobodyMs);
        const isSent = await this.pushOne(queue, { user: owner, address, queue });
        const mayMore = (this.pausedUntilMs.get(queue) ?? 0) <= this.options.clock.monotonicMs();
        isMore = mayMore && (isSent || this.working.get(queue) === true);
      }
    } catch (error) {
      this.pause(queue, againMs);
      log.warn({ queue, error: String(error) }, "entries could not be pushed; tried again soon");
    }
  }

  /** One mail. False: there is nothing to be sent now. */
  private async pushOne(queue: string, to: Parameters<Answers["send"]>[0]): Promise<boolean> {
    const { broker, answers, log } = this.options;
    const batch = await broker.takeToPush(queue);
    if (!batch || batch.entries.length === 0) return false;
    // Whoever answers at somebody else's address, as they say, must not flood them.
    if (!this.sent.take(to.address)) {
      batch.giveBack(batch.entries);
      this.pause(queue, againMs);
      return false;
    }
    const frames: Frame[] = [];
    for (const [index, entry] of batch.entries.entries()) {
      const own = await this.framesOf(entry, batch, queue);
      frames.push(...own);
      if (own.length > 0 || !batch.inOrder) continue;
      batch.giveBack(batch.entries.slice(index + 1));
      break;
    }
    if (frames.length === 0) return true;
    try {
      await answers.send(to, frames);
    } catch (error) {
      // Perhaps it is sent all the same: then it is on its way, and comes again as if it had got lost.
      const isRefused = error instanceof AnswerError && error.code !== "undecided";
      if (isRefused) batch.giveBack(batch.entries);
      if (!(error instanceof AnswerError) || error.code !== "forbidden") throw error;
      log.info({ queue, why: error.message }, "a queue can't be pushed to its owner");
      this.pause(queue, nobodyMs);
      return false;
    }
    log.debug({ queue, entries: batch.entries.length }, "entries are on their way");
    return true;
  }

  /** None of one that can't be read now: its lease runs out, and it is tried again. */
  private async framesOf(
    { message, redelivered }: Leased,
    batch: PushBatch,
    queue: string,
  ): Promise<readonly DataFrame[]> {
    const { log } = this.options;
    try {
      const read = await batch.read(message, this.deadline());
      const whole = Buffer.isBuffer(read) ? read : await joined(read);
      const { packet } = readMail(whole.subarray(Buffer.byteLength(message.trace)));
      if (!packet) throw new Error("it has no packet");
      return openPacket(packet, 0).frames.flatMap((frame) =>
        frame.kind === "data" ? [{ ...frame, entry: message.id, redelivered }] : [],
      );
    } catch (error) {
      log.warn({ queue, id: message.id, error: String(error) }, "an entry could not be read");
      return [];
    }
  }

  private deadline(): AbortSignal {
    return AbortSignal.any([AbortSignal.timeout(readMs), this.stopping.signal]);
  }
}

/** Undefined for other mail. Whether it has expired does not matter here. */
function pushedIn(
  mail: Buffer,
): { readonly queue: string; readonly frames: readonly Frame[] } | undefined {
  try {
    const { packet } = readMail(mail);
    const { header, frames } = packet ? openPacket(packet, 0) : {};
    const queue = /^queue:(.+)$/.exec(header?.to ?? "")?.[1];
    return queue === undefined || frames === undefined ? undefined : { queue, frames };
  } catch {
    return undefined;
  }
}

async function joined(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const copies: Buffer[] = [];
  // A piece's memory is used again for the next one.
  for await (const piece of pieces) copies.push(Buffer.from(piece));
  return Buffer.concat(copies);
}
