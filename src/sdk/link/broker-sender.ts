/**
 * To the ring as a broker: in order, one packet at a time. The ring's reply is the acknowledgement; where somebody
 * else's mail server is between, a frame that comes by mail.
 */
import type { AckFrame, MessageProperties, NackFrame } from "../../ebm/index.js";
import { Intervals } from "../journal/intervals.js";
import type { OutMessage } from "../journal/out-state.js";
import type { Bounce } from "./bounces.js";
import type { Load } from "./load.js";
import { type Piece } from "./load.js";
import { isSizeStatus, type Verdict, verdictOfNack } from "./replies.js";
import { Sender } from "./sender.js";
import type { Sent } from "./sent.js";

export class BrokerSender extends Sender {
  protected readonly inAirMax = 1;
  protected readonly windowOctets = Infinity;
  /** Taken by somebody else's mail server; the ring's word is awaited. */
  #awaited: Sent | undefined;
  /** So many messages one by one: a packet of several was refused, and it is to be found whose fault it was. */
  #alone = 0;

  protected override get mayDispatch(): boolean {
    return this.#awaited === undefined;
  }

  protected override get packetFramesMax(): number {
    return this.#alone > 0 ? 1 : super.packetFramesMax;
  }

  /** Every block says where it goes. */
  protected propertiesOf({ load }: Piece): MessageProperties {
    return load.message.properties;
  }

  protected streamNameOf({ stream }: OutMessage): string {
    const generation = this.context.journal.state.outStream(this.to, stream).generation;
    return generation === 0 ? stream : `${stream}~${generation}`;
  }

  protected override baseOf(): undefined {
    return undefined;
  }

  /** Not while nobody knows what becomes of it. */
  protected override mayExpire(load: Load): boolean {
    if ((this.inAir > 0 || this.#awaited) && load.sentUpTo > 0) return false;
    if (!load.isUncertain && load.ackedOctets === 0) return true;
    // What comes behind it gets another stream; nothing in front of it may go along.
    const { stream, sequence } = load.message;
    const { messages } = this.context.journal.state.outStream(this.to, stream);
    return messages.keys().next().value === sequence;
  }

  protected check(nowMs: number): number {
    const sent = this.#awaited;
    if (!sent) return Infinity;
    const dueAtMs = sent.sentAtMs + this.trip.timeoutMs;
    if (nowMs < dueAtMs) return dueAtMs;
    this.trip.expired();
    this.#doubt(sent);
    this.#again();
    return Infinity;
  }

  #doubt(sent: Sent): void {
    for (const { load } of sent.pieces) load.isUncertain = true;
  }

  protected onVerdict(sent: Sent, verdict: Verdict): void {
    switch (verdict.kind) {
      case "taken":
        this.noteAccepted(sent);
        return this.#taken(sent);
      case "accepted":
        this.noteAccepted(sent);
        this.#doubt(sent);
        this.#awaited = sent;
        return;
      case "early":
        return this.#early(sent, verdict.expected);
      case "too large":
        if (this.halve(sent)) return this.#again();
        return this.#refused(sent, verdict.why);
      case "refused":
        return this.#refused(sent, verdict.why);
      case "unknown":
        this.#doubt(sent);
        return this.#again();
      default:
        this.#again();
    }
  }

  /** All that was not taken waits again, in order. */
  #again(): void {
    this.#awaited = undefined;
    this.waiting.clear();
    this.sent.clear();
    for (const [id, load] of this.loads) {
      if (load.isGone) {
        this.loads.delete(id);
        continue;
      }
      load.rewind();
      this.waiting.addFresh(load);
    }
  }

  #taken(sent: Sent): void {
    this.#awaited = undefined;
    this.sent.clear();
    this.trip.progressed();
    for (const { load, from, to } of sent.pieces) {
      if (load.isGone) continue;
      load.ack(from, to);
      if (load.isAcked) this.#settle(load);
    }
  }

  #settle(load: Load): void {
    const { id, stream, sequence } = load.message;
    this.#alone = Math.max(0, this.#alone - 1);
    this.loads.delete(id);
    this.context.journal.note({ kind: "settled", to: this.to, stream, sequence });
    this.tell(load.message, "consumed");
  }

  /** The ring names the next it wants of a stream: all before it has been taken. */
  #early(sent: Sent, expected: ReadonlyMap<string, number>): void {
    for (const { load } of sent.pieces) {
      if (load.isGone) continue;
      const next = expected.get(this.streamNameOf(load.message));
      if (next !== undefined && load.message.sequence < next) this.#settle(load);
    }
    this.#again();
  }

  #refused(sent: Sent, why: string): void {
    const loads = [...new Set(sent.pieces.map(({ load }) => load))].filter(({ isGone }) => !isGone);
    if (loads.length > 1) this.#alone = loads.length;
    else if (loads[0]) this.giveUp(loads[0], why);
    this.#again();
  }

  protected giveUp(load: Load, why: string): void {
    const { message } = load;
    const { id, stream, sequence, properties } = message;
    const isCertain = !load.isUncertain && load.ackedOctets === 0;
    const letter = {
      ...{ id, direction: "out" as const, why, atMs: this.nowMs, user: this.to },
      ...{ stream, sequence, properties },
    };
    this.#alone = Math.max(0, this.#alone - 1);
    this.loads.delete(id);
    const then = isCertain ? "renumber" : "rename";
    const place = { to: this.to, stream, sequence };
    this.context.journal.note({ kind: "deadOut", ...place, then, letter });
    this.tell(message, "dead", why);
  }

  onBounce(bounce: Bounce): boolean {
    const sent = this.#awaited;
    if (!sent || !bounce.messageIds.includes(sent.messageId)) return false;
    if (bounce.kind === "delayed") sent.sentAtMs = this.nowMs;
    else if (isSizeStatus(bounce.status) && this.halve(sent)) this.#again();
    else if (bounce.status.startsWith("4") || bounce.status === "5.2.2") this.#again();
    else this.#refused(sent, `bounced: ${bounce.status}`);
    this.turn();
    return true;
  }

  onAck({ cumulative, ranges }: AckFrame): void {
    const sent = this.#awaited;
    const acked = new Intervals(ranges);
    if (sent && (acked.has(sent.number) || sent.number <= cumulative)) {
      this.trip.measured(this.nowMs - sent.sentAtMs);
      this.#taken(sent);
    }
    this.turn();
  }

  onNack({ packet, why, expected }: NackFrame): void {
    const sent = this.#awaited;
    if (sent?.number !== packet) return;
    this.#awaited = undefined;
    this.settled(sent, verdictOfNack(why, expected));
  }
}
