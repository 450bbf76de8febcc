/**
 * To the ring as a broker: in order. The ring's reply is the acknowledgement; where somebody else's mail server is
 * between, a frame that comes by mail, and then one packet is on its way at a time.
 */
import type { AckFrame, Frame, NackFrame, UserId } from "../../ebm/index.js";
import { Intervals } from "../journal/intervals.js";
import type { Bounce } from "./bounces.js";
import type { Load } from "./load.js";
import type { ReceiptEvent } from "./ports.js";
import { type Piece } from "./load.js";
import { isSizeStatus, type Place, type Verdict, verdictOfNack } from "./replies.js";
import { deadFrames, Passed } from "./passed.js";
import { Sender } from "./sender.js";
import type { Sent, SenderContext } from "./sent.js";

/** On the way at a time, once the ring has taken one: it puts them in order. */
const windowMax = 4;
/** Of a packet of small messages: the next is made while this one is worked off. */
const packetOctets = 1024 * 1024;
const companyOctets = 128 * 1024;

/** A packet on its way, and what became of it. */
interface Flown {
  readonly sent: Sent;
  verdict: Verdict | undefined;
}

export class BrokerSender extends Sender {
  protected readonly windowOctets = Infinity;
  /** In the order in which they were sent. What is known of one counts when it is known of those before. */
  #flight: Flown[] = [];
  #window = 1;
  /** Taken by somebody else's mail server; the ring's word is awaited. */
  #awaited: Sent | undefined;
  readonly #passed = new Passed((name) => this.context.journal.state.out.get(this.to)?.get(name));
  /** So many messages one by one: a packet of several was refused, and it is to be found whose fault it was. */
  #alone = 0;

  constructor(context: SenderContext, to: UserId) {
    super(context, to);
    for (const stream of this.streams()) this.#passed.restored(stream);
  }

  /** So much was given up behind what waits that no more is taken until that has left. */
  get isFull(): boolean {
    return this.#passed.isFull;
  }

  protected get inAirMax(): number {
    return this.#alone > 0 ? 1 : this.#window;
  }

  protected override get sendsVoids(): boolean {
    return false;
  }

  /** After a failure, all that is on its way is waited for. */
  protected override get mayDispatch(): boolean {
    return this.#awaited === undefined && this.#flight.every(isGood);
  }

  protected override get packetFramesMax(): number {
    return this.#alone > 0 ? 1 : super.packetFramesMax;
  }

  /** A large message in as few blocks as can be: for some queues it has to fit one. */
  protected override get roomOctets(): number {
    const isLarge = (this.waiting.first?.octetsFrom(0) ?? 0) > packetOctets;
    return isLarge ? this.blockOctets : Math.min(this.blockOctets, packetOctets);
  }

  protected override get companyOctets(): number {
    return Math.min(this.blockOctets, companyOctets);
  }

  protected override baseOf(): undefined {
    return undefined;
  }

  /** Not while nobody knows what becomes of it. */
  protected override mayExpire(load: Load): boolean {
    return load.sentUpTo === 0 || (this.inAir === 0 && this.#awaited === undefined);
  }

  protected check(nowMs: number): number {
    this.waiting.wholeOctets = this.blockOctets;
    const sent = this.#awaited;
    if (!sent) return Infinity;
    const dueAtMs = sent.sentAtMs + this.trip.timeoutMs;
    if (nowMs < dueAtMs) return dueAtMs;
    this.trip.expired();
    this.#again();
    return Infinity;
  }

  #doubt(pieces: readonly Piece[]): void {
    for (const { load } of pieces) load.isUncertain = true;
  }

  protected override dispatch(pieces: readonly Piece[], acks: readonly Frame[]): Sent {
    const upTo = new Map<string, number>();
    for (const { load } of pieces) {
      const { stream, sequence } = load.message;
      upTo.set(stream, Math.max(sequence, upTo.get(stream) ?? 0));
    }
    const dead = this.#passed.before(upTo);
    const sent = super.dispatch(pieces, [...acks, ...deadFrames(this.connection, dead)]);
    this.#passed.sent(sent, dead);
    this.#flight.push({ sent, verdict: undefined });
    return sent;
  }

  protected onVerdict(sent: Sent, verdict: Verdict): void {
    const flown = this.#flight.find((each) => each.sent === sent);
    if (flown) flown.verdict = verdict;
    if (this.#flight.every(isGood)) this.#landTaken();
    else if (this.inAir === 0) this.#land(this.#flight.splice(0));
  }

  #landTaken(): void {
    for (let first = this.#flight[0]; first?.verdict; first = this.#flight[0]) {
      this.#flight.shift();
      this.sent.delete(first.sent.number);
      this.pace.reset();
      this.#passed.heard(first.sent);
      this.noteAccepted(first.sent);
      this.#take(first.sent.pieces);
      this.#window = windowMax;
    }
  }

  /** Something went wrong, and nothing is on its way any more: what was not taken waits again, in order. */
  #land(flight: readonly Flown[]): void {
    this.#window = 1;
    for (const { sent, verdict } of flight) {
      if (verdict?.kind === "taken" || verdict?.kind === "accepted") this.noteAccepted(sent);
    }
    this.#take(provenOf(flight));
    this.#takeBefore(flight);
    const left = flight.filter(({ sent }) => sent.pieces.some(isLeft));
    // Together: in each stream, what is uncertain stays in front of what is not.
    if (flight.some(isDoubtful)) for (const { sent } of left) this.#doubt(sent.pieces);
    const [first] = left;
    // Those behind it were in vain in any case, or will say so again.
    if (first?.verdict) this.#heed(first.sent, first.verdict, left.length);
    else this.#again();
  }

  /** Of the first packet that was not taken. */
  #heed(sent: Sent, verdict: Verdict, count: number): void {
    this.pace.note(verdict, this.nowMs);
    switch (verdict.kind) {
      case "accepted":
        if (count > 1) return this.#again();
        this.#awaited = sent;
        return;
      case "too large":
        if (this.halve(sent)) return this.#again();
        return this.#refused(sent, verdict.why);
      case "refused":
        return this.#refused(sent, verdict.why, verdict.tooLarge);
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
    // Between two tries nothing is on its way.
    this.lookForExpired();
  }

  /** Of each stream in its order. */
  #take(pieces: readonly Piece[]): void {
    const whole: Load[] = [];
    for (const { load, from, to } of pieces) {
      if (load.isGone) continue;
      load.ack(from, to);
      if (load.isAcked) whole.push(load);
      else this.noteAcked(load, from, to);
    }
    if (pieces.length > 0) this.trip.progressed();
    this.#settle(whole);
  }

  /** One record per stream: it settles all that comes before, too. */
  #settle(loads: readonly Load[]): void {
    const last = new Map(loads.map(({ message }) => [message.stream, message.sequence]));
    for (const { message } of loads) this.loads.delete(message.id);
    this.#alone = Math.max(0, this.#alone - loads.length);
    for (const [stream, sequence] of last) {
      this.context.journal.note({ kind: "settled", to: this.to, stream, sequence });
      this.#passed.settled(stream);
      this.#pass(stream);
    }
    for (const { message } of loads) this.tell(message, "consumed");
  }

  /** The ring names the next it wants of a stream: all before it has been taken. */
  #takeBefore(flight: readonly Flown[]): void {
    const next = new Map<string, number>();
    for (const { verdict } of flight) {
      if (verdict?.kind !== "early") continue;
      for (const [stream, expected] of verdict.expected) {
        next.set(stream, Math.max(expected, next.get(stream) ?? 0));
      }
    }
    if (next.size === 0) return;
    const loads = new Set(flight.flatMap(({ sent }) => sent.pieces.map(({ load }) => load)));
    this.#settle(
      [...loads].filter(
        ({ isGone, message }) => !isGone && message.sequence < (next.get(message.stream) ?? 0),
      ),
    );
  }

  /** `tooLarge`: the ring knows whose fault it is. */
  #refused(sent: Sent, why: string, tooLarge?: Place): void {
    const loads = [...new Set(sent.pieces.map(({ load }) => load))].filter(({ isGone }) => !isGone);
    const culprit = loads.find(
      ({ message }) =>
        message.stream === tooLarge?.stream && message.sequence === tooLarge.sequence,
    );
    if (culprit) this.giveUp(culprit, why, "tooLarge");
    else if (loads.length > 1) this.#alone = loads.length;
    else if (loads[0]) this.giveUp(loads[0], why);
    this.#again();
  }

  protected giveUp(load: Load, why: string, code?: ReceiptEvent["code"]): void {
    const { message } = load;
    const { id, stream, sequence, properties } = message;
    const isCertain = !load.isUncertain && load.ackedOctets === 0;
    const letter = {
      ...{ id, direction: "out" as const, why, atMs: this.nowMs, user: this.to },
      ...{ stream, sequence, properties },
    };
    this.#alone = Math.max(0, this.#alone - 1);
    load.drop();
    this.loads.delete(id);
    const then = isCertain ? "renumber" : "pass";
    const place = { to: this.to, stream, sequence };
    this.context.journal.note({ kind: "deadOut", ...place, then, letter });
    if (then === "pass") {
      this.#passed.gaveUp(stream);
      this.#pass(stream);
    }
    this.context.tell({ id, to: this.to, state: "dead", why, ...(code && { code }) });
  }

  /** What was given up in front of all that is left of a stream is forgotten. */
  #pass(stream: string): void {
    const sequence = this.#passed.head(stream);
    if (sequence === undefined) return;
    this.context.journal.note({ kind: "settled", to: this.to, stream, sequence });
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
      this.#passed.heard(sent);
      this.#awaited = undefined;
      this.sent.clear();
      this.#take(sent.pieces);
    }
    this.turn();
  }

  onNack({ packet, why, expected }: NackFrame): void {
    const sent = this.#awaited;
    if (sent?.number !== packet) return;
    this.#awaited = undefined;
    this.#land([{ sent, verdict: verdictOfNack(why, expected) }]);
    this.turn();
  }
}

const isGood = ({ verdict }: Flown): boolean => verdict === undefined || verdict.kind === "taken";

const isLeft = ({ load }: Piece): boolean => !load.isGone && !load.isAcked;

function isDoubtful({ verdict }: Flown): boolean {
  if (verdict?.kind === "later") return verdict.isDoubtful === true;
  return verdict?.kind === "unknown" || verdict?.kind === "accepted";
}

/**
 * What was taken of packets in the order in which they were sent, whatever was said of them: the ring takes nothing
 * of a stream behind a gap.
 */
function provenOf(flight: readonly Flown[]): readonly Piece[] {
  const streams = new Set<string>();
  const proven: Piece[] = [];
  for (const { sent, verdict } of flight.toReversed()) {
    if (verdict?.kind === "taken") {
      for (const { load } of sent.pieces) streams.add(load.message.stream);
    }
    for (const piece of sent.pieces.toReversed()) {
      if (streams.has(piece.load.message.stream)) proven.push(piece);
    }
  }
  return proven.reverse();
}
