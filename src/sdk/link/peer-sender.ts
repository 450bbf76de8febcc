/** To another user: a window of octets, acknowledged by frames that come by mail, some time. */
import type { AckFrame, NackFrame, PacketHeader } from "../../ebm/index.js";
import { Intervals } from "../journal/intervals.js";
import type { Bounce } from "./bounces.js";
import { Load, stillMissing } from "./load.js";
import { isSizeStatus, type Verdict } from "./replies.js";
import { rtoMaxMs } from "./round-trip.js";
import { Sender } from "./sender.js";
import type { Sent } from "./sent.js";

/** What any receiver takes, before it has said anything. */
const firstWindowOctets = 1024 * 1024;
const pingMinMs = 60_000;
const packetsInAirMax = 4;

export class PeerSender extends Sender {
  protected get inAirMax(): number {
    return packetsInAirMax;
  }
  #granted = Math.min(firstWindowOctets, this.context.options.windowOctets);
  #lastAck = { epoch: 0, packet: -1 };
  #lastProgressMs = 0;
  #pings = 0;
  #pingedAtMs = 0;

  protected get windowOctets(): number {
    const { windowOctets } = this.context.options;
    return Math.max(0, Math.min(this.#granted, windowOctets) - this.outstanding.octets);
  }

  protected check(nowMs: number): number {
    return Math.min(this.#checkTimeout(nowMs), this.#checkSilence(nowMs));
  }

  /** The oldest packet that was not acknowledged in time is sent again, that one alone. */
  #checkTimeout(nowMs: number): number {
    const oldest = this.#oldest();
    if (!oldest) return Infinity;
    const dueAtMs = Math.max(oldest.sentAtMs, this.#lastProgressMs) + this.trip.timeoutMs;
    if (nowMs < dueAtMs) return dueAtMs;
    this.trip.expired();
    this.#lose(oldest);
    const next = this.#oldest();
    return next
      ? Math.max(next.sentAtMs, this.#lastProgressMs, nowMs) + this.trip.timeoutMs
      : Infinity;
  }

  /** Of packets that have something to wait for: what was given up, or came by another way, delays nothing else. */
  #oldest(): Sent | undefined {
    for (const sent of this.sent.values()) {
      if (sent.isLost || sent.isInAir) continue;
      if (stillMissing(sent.pieces).length > 0) return sent;
      this.sent.delete(sent.number);
    }
    return undefined;
  }

  /** Nothing on its way and yet not all consumed: the word of it, or of a larger window, may be lost. */
  #checkSilence(nowMs: number): number {
    if (this.inAir > 0 || this.#oldest() || this.waiting.hasHoles) return Infinity;
    const load = this.#firstUnsettled();
    if (!load || (this.waiting.hasFresh && this.windowOctets > 0)) return Infinity;
    if (this.#pingedAtMs === 0) this.#pingedAtMs = nowMs;
    const everyMs = Math.max(this.trip.baseMs, pingMinMs);
    const afterMs = Math.min(rtoMaxMs, everyMs * 2 ** Math.min(this.#pings, 30));
    const dueAtMs = Math.max(this.#lastProgressMs, this.#pingedAtMs) + afterMs;
    if (nowMs < dueAtMs) return dueAtMs;
    this.ping(load, this.#stuck());
    this.#pings += 1;
    this.#pingedAtMs = nowMs;
    return nowMs + Math.min(rtoMaxMs, everyMs * 2 ** Math.min(this.#pings, 30));
  }

  /**
   * The oldest that is next of its stream, and not sent as a whole, where the receiver has something of the stream, or
   * where nothing is known of what fills its inbox: perhaps what waits for this one. What is next it always takes.
   */
  #stuck(): Load | undefined {
    if (this.windowOctets > 0) return undefined;
    const isThere = ({ ackedOctets, isGone }: Load): boolean => ackedOctets > 0 && !isGone;
    const isAnyThere = [...this.loads.values()].some(isThere);
    let oldest: Load | undefined;
    for (const { messages } of this.streams()) {
      const loads = [...messages.values()].flatMap(({ id }) => this.loads.get(id) ?? []);
      const [next] = loads;
      if (!next || next.sentUpTo >= next.span || (isAnyThere && !loads.some(isThere))) continue;
      if (!oldest || next.number < oldest.number) oldest = next;
    }
    return oldest;
  }

  #firstUnsettled(): Load | undefined {
    for (const [id, load] of this.loads) {
      if (!load.isGone) return load;
      load.drop();
      this.loads.delete(id);
    }
    return undefined;
  }

  #lose(sent: Sent): void {
    if (sent.isLost) return;
    sent.isLost = true;
    this.waiting.addHoles(stillMissing(sent.pieces).filter(({ load }) => !load.isAcked));
  }

  protected onVerdict(sent: Sent, verdict: Verdict): void {
    this.pace.note(verdict, this.nowMs);
    switch (verdict.kind) {
      case "accepted":
      case "taken":
        this.noteAccepted(sent);
        return;
      case "too large":
        if (this.halve(sent)) return this.#lose(sent);
        return this.#refused(sent, verdict.why);
      case "refused":
        return this.#refused(sent, verdict.why);
      default:
        this.#lose(sent);
    }
  }

  #refused(sent: Sent, why: string): void {
    for (const load of new Set(sent.pieces.map(({ load: each }) => each))) {
      // Voids stay: what comes behind them waits for their place.
      if (!load.isGone && !load.isVoid && !load.isAcked) this.giveUp(load, why);
    }
    // Sent again when its time is over, unless all of it is settled by then.
    if (stillMissing(sent.pieces).length === 0) this.sent.delete(sent.number);
  }

  onBounce(bounce: Bounce): boolean {
    const sent = [...this.sent.values()].find(({ messageId }) =>
      bounce.messageIds.includes(messageId),
    );
    if (!sent) return false;
    if (bounce.kind === "delayed") sent.sentAtMs = this.nowMs;
    else if (isSizeStatus(bounce.status) && this.halve(sent)) this.#lose(sent);
    else if (bounce.status.startsWith("4") || bounce.status === "5.2.2") this.#lose(sent);
    else this.#refused(sent, `bounced: ${bounce.status}`);
    this.turn();
    return true;
  }

  protected giveUp(load: Load, why: string): void {
    const { message } = load;
    const { id, stream, sequence, properties, delivered } = message;
    const letter = {
      ...{ id, direction: "out" as const, why, atMs: this.nowMs, user: this.to },
      ...{ stream, sequence, properties },
    };
    const place = { to: this.to, stream, sequence };
    load.isOver = load.expiresAtMs <= this.nowMs;
    // A part would lie in its receiver's window until then: that it is void is told until it is known.
    const then = load.isInParts && !load.isOver ? "pass" : "void";
    this.context.journal.note({ kind: "deadOut", ...place, then, letter });
    if (load.isVoid) {
      if (message.isRemoved) this.#drop(load);
      return;
    }
    this.#drop(load);
    this.tell(message, "dead", why);
    if (message.isRemoved) return;
    const successor = new Load(message, load.number, this.outstanding);
    successor.isOver = load.isOver;
    this.loads.set(id, successor);
    successor.sentUpTo = successor.span;
    if (delivered) successor.ack(0, 1);
    else this.waiting.addHoles([{ load: successor, from: 0, to: 1 }]);
  }

  #drop(load: Load): void {
    load.drop();
    if (this.loads.get(load.message.id) === load) this.loads.delete(load.message.id);
  }

  onNack({ packet, why }: NackFrame): void {
    const sent = this.sent.get(packet);
    if (sent && !sent.isInAir) this.#refused(sent, why);
    this.turn();
  }

  onWindow(windowOctets: number): void {
    this.#granted = windowOctets;
    this.turn();
  }

  onResume(header: PacketHeader): void {
    this.isCurrent(header);
    this.turn();
  }

  onAck(frame: AckFrame, header: PacketHeader): void {
    if (!this.isCurrent(header)) return;
    const { epoch } = header.from;
    for (const [stream, sequence] of frame.dead ?? []) this.#deadAtReceiver(stream, sequence);
    let isNews = this.#onPackets(frame);
    for (const [stream, sequence] of Object.entries(frame.consumed)) {
      isNews = this.#onConsumed(stream, sequence) || isNews;
    }
    // Who says the same again and again must not put off what has to be sent again.
    if (isNews || frame.windowOctets > this.#granted) this.#lastProgressMs = this.nowMs;
    // An older word about the window does not take back a newer one.
    if (epoch !== this.#lastAck.epoch || header.packet > this.#lastAck.packet) {
      this.#lastAck = { epoch, packet: header.packet };
      this.#granted = frame.windowOctets;
      this.trip.peerPollMs = Math.min(frame.pollMs, rtoMaxMs);
    }
    const trip = this.trip.news(this.context.journal.state.trips.get(this.to));
    if (trip) this.context.journal.note({ kind: "trip", to: this.to, trip });
    this.turn();
  }

  /** False when it comes from an earlier life of the receiver. */
  private isCurrent({ from: { device, epoch } }: PacketHeader): boolean {
    const { journal } = this.context;
    const known = journal.state.peers.get(this.to);
    if (known?.epoch === epoch && known.device === device) return true;
    const isNewer =
      !known || epoch > known.epoch || (epoch === known.epoch && device > known.device);
    if (!isNewer) return false;
    // In this order: whoever dies in between starts again once more.
    if (known) this.#startAgain();
    journal.note({ kind: "peer", to: this.to, device, epoch });
    return true;
  }

  /** The receiver has lost its journal: everything that was not consumed goes again. */
  #startAgain(): void {
    this.context.journal.note({ kind: "undelivered", to: this.to });
    this.sent.clear();
    this.waiting.clear();
    this.#granted = Math.min(firstWindowOctets, this.context.options.windowOctets);
    this.trip.progressed();
    for (const load of [...this.loads.values()]) {
      load.drop();
      const again = new Load(load.message, load.number, this.outstanding);
      again.isAccepted = load.isAccepted;
      this.loads.set(load.message.id, again);
      this.waiting.addHoles(again.resume());
      if (again.sentUpTo < again.span) this.waiting.addFresh(again);
    }
  }

  /** Whether it acknowledges what was not acknowledged before. */
  #onPackets({ cumulative, ranges }: AckFrame): boolean {
    const acked = new Intervals();
    if (cumulative > 0) acked.add(1, cumulative);
    for (const [from, to] of ranges) acked.add(from, to);
    let newest: Sent | undefined;
    for (const sent of this.sent.values()) {
      if (!acked.has(sent.number)) continue;
      newest = sent;
      this.sent.delete(sent.number);
      for (const { load, from, to } of sent.pieces) this.#onPiece(load, from, to);
    }
    if (!newest) return false;
    this.#pings = 0;
    this.trip.progressed();
    if (!newest.isLost) this.trip.measured(this.nowMs - newest.sentAtMs);
    this.#findHoles(newest.number);
    return true;
  }

  /** What was sent before something that arrived, and had time enough, is taken for lost. */
  #findHoles(newest: number): void {
    const sentBeforeMs = this.nowMs - this.trip.baseMs;
    for (const sent of this.sent.values()) {
      if (sent.number > newest) return;
      if (!sent.isInAir && sent.sentAtMs <= sentBeforeMs) this.#lose(sent);
    }
  }

  #onPiece(load: Load, from: number, to: number): void {
    if (load.isGone || load.isAcked) return;
    if (load.ack(from, to) === 0) return;
    if (!load.isAcked) return this.noteAcked(load, from, to);
    const { stream, sequence } = load.message;
    this.context.journal.note({ kind: "delivered", to: this.to, stream, sequence });
    if (!load.isVoid) this.tell(load.message, "delivered");
  }

  /** Whether it settles anything. */
  #onConsumed(stream: string, sequence: number): boolean {
    const messages = this.context.journal.state.out.get(this.to)?.get(stream)?.messages;
    const settled: Load[] = [];
    for (const message of messages?.values() ?? []) {
      if (message.sequence > sequence) break;
      const load = this.loads.get(message.id);
      if (load) settled.push(load);
    }
    if (settled.length === 0) return false;
    this.#pings = 0;
    this.context.journal.note({ kind: "settled", to: this.to, stream, sequence });
    for (const load of settled) {
      this.#drop(load);
      if (!load.isVoid) this.tell(load.message, "consumed");
    }
    return true;
  }

  #deadAtReceiver(stream: string, sequence: number): void {
    const message = this.context.journal.state.out
      .get(this.to)
      ?.get(stream)
      ?.messages.get(sequence);
    const load = message && this.loads.get(message.id);
    if (!message || !load || message.isVoid) return;
    this.context.journal.note({ kind: "delivered", to: this.to, stream, sequence });
    this.giveUp(load, "its receiver gave it up");
  }
}
