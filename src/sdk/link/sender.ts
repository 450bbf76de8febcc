/**
 * What is sent to one receiver: packets are numbered, filled, submitted, and paced by what mail
 * servers allow. When a packet counts as acknowledged, and what follows if not, is for `PeerSender` and `BrokerSender`.
 */
import {
  type AckFrame,
  connectionId,
  type DataFrame,
  type Frame,
  type NackFrame,
  type PacketHeader,
  type UserId,
} from "../../ebm/index.js";
import type { OutMessage, OutStream } from "../journal/out-state.js";
import { BlockSize } from "./block-size.js";
import type { Bounce } from "./bounces.js";
import { Load, type Piece, type Tally } from "./load.js";
import { Pace } from "./pace.js";
import { PacketNumbers } from "./packet-numbers.js";
import { dataFrame, outgoingOf } from "./packing.js";
import type { ReceiptEvent } from "./ports.js";
import { type Verdict, verdictOf } from "./replies.js";
import { RoundTrip } from "./round-trip.js";
import type { SenderContext, Sent } from "./sent.js";
import { pieceOctetsMin, Waiting } from "./waiting.js";

/** A timer of Node holds 24 days. */
const waitMaxMs = 86_400_000;
const framesMax = 5_000;

export abstract class Sender {
  readonly connection: string;
  protected readonly waiting = new Waiting();
  protected readonly loads = new Map<string, Load>();
  protected readonly sent = new Map<number, Sent>();
  protected readonly trip: RoundTrip;
  protected readonly outstanding: Tally = { octets: 0 };
  readonly #block: BlockSize;
  protected inAir = 0;
  readonly #numbers: PacketNumbers;
  protected readonly pace = new Pace();
  #holdUntilMs = 0;
  /** Packets are made, and handed in, in the order in which they were filled. */
  #made: Promise<unknown> = Promise.resolve();
  #cancel: (() => void) | undefined;
  #armedAtMs = Infinity;
  #expiryAtMs = Infinity;
  protected isClosed = false;

  constructor(
    protected readonly context: SenderContext,
    readonly to: UserId,
  ) {
    this.connection = connectionId(context.origin, to);
    const { options, journal } = context;
    this.trip = new RoundTrip(options.pollMs, journal.state.trips.get(to));
    this.#block = new BlockSize(options.blockOctets);
    this.#numbers = new PacketNumbers({
      ...{ journal, connection: this.connection },
      reserved: () => this.turn({ acksDue: true }),
    });
    for (const stream of this.streams()) {
      for (const message of stream.messages.values()) {
        if (!message.isVoid || this.sendsVoids) this.#restore(message);
      }
    }
    this.context.ports.clock.after(0, () => this.turn());
  }

  #restore(message: OutMessage): void {
    const load = new Load(message, this.context.nextNumber(), this.outstanding);
    load.isUncertain = true;
    load.isInParts = load.span > pieceOctetsMin;
    this.loads.set(message.id, load);
    this.#expiryAtMs = Math.min(this.#expiryAtMs, load.expiresAtMs);
    this.waiting.addHoles(load.resume());
    if (load.sentUpTo < load.span) this.waiting.addFresh(load);
  }

  protected streams(): OutStream[] {
    return [...(this.context.journal.state.out.get(this.to)?.values() ?? [])];
  }

  /** Of a packet's frames, at most. */
  protected get blockOctets(): number {
    return this.#block.octetsAt(this.nowMs);
  }

  protected get nowMs(): number {
    return this.context.ports.clock.nowMs();
  }

  /** A message that is durable in the journal. */
  add(message: OutMessage): void {
    const load = new Load(message, this.context.nextNumber(), this.outstanding);
    if (!this.waiting.hasFresh) this.#holdUntilMs = this.nowMs + this.context.options.lingerMs;
    this.loads.set(message.id, load);
    this.#expiryAtMs = Math.min(this.#expiryAtMs, load.expiresAtMs);
    this.waiting.addFresh(load);
    this.turn();
  }

  /** Acknowledgements are due: with data, or alone. */
  acknowledge(): void {
    this.turn({ acksDue: true });
  }

  retry(): void {
    this.pace.reset();
    this.turn();
  }

  close(): void {
    this.isClosed = true;
    this.#disarm();
  }

  abstract onAck(frame: AckFrame, header: PacketHeader): void;
  abstract onNack(frame: NackFrame): void;
  /** True when the bounce is of a packet of ours. */
  abstract onBounce(bounce: Bounce): boolean;
  /** What else there is to do now; answers when to look again. */
  protected abstract check(nowMs: number): number;
  protected abstract onVerdict(sent: Sent, verdict: Verdict): void;
  protected abstract get inAirMax(): number;
  protected abstract get windowOctets(): number;
  /** Gives one message up. */
  protected abstract giveUp(load: Load, why: string): void;
  /** What was given up goes to the receiver as well, as a message that is none. */
  protected get sendsVoids(): boolean {
    return true;
  }
  protected mayExpire(_load: Load): boolean {
    return true;
  }
  protected get mayDispatch(): boolean {
    return true;
  }
  protected get packetFramesMax(): number {
    return framesMax;
  }
  /** Of the next packet's frames. */
  protected get roomOctets(): number {
    return this.blockOctets;
  }
  /** So much has to wait for a packet to leave while another is on its way. */
  protected get companyOctets(): number {
    return this.roomOctets;
  }

  protected turn({ acksDue = false } = {}): void {
    if (this.isClosed) return;
    const nowMs = this.nowMs;
    // Before: what is not waited for any more may be over.
    const checkAtMs = this.check(nowMs);
    this.#expire(nowMs);
    this.#pump(nowMs, acksDue);
    this.#arm(checkAtMs, nowMs);
  }

  /** `nowMs`: the time at which it was seen what there is to do. What is due only since then needs the timer, too. */
  #arm(checkAtMs: number, nowMs: number): void {
    let atMs = Math.min(checkAtMs, Math.max(this.#expiryAtMs, nowMs + 1_000));
    if (this.waiting.hasHoles || this.waiting.hasFresh) {
      if (this.pace.pausedUntilMs > nowMs) atMs = Math.min(atMs, this.pace.pausedUntilMs);
      else if (this.#holdUntilMs > nowMs) atMs = Math.min(atMs, this.#holdUntilMs);
    }
    // A turn that comes too early does no harm, and timers are not for nothing.
    if (this.#armedAtMs <= atMs && atMs < Infinity) return;
    this.#disarm();
    if (atMs === Infinity) return;
    const ms = Math.min(Math.max(0, atMs - nowMs), waitMaxMs);
    this.#armedAtMs = nowMs + ms;
    this.#cancel = this.context.ports.clock.after(ms, () => {
      this.#disarm();
      this.turn();
    });
  }

  #disarm(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#armedAtMs = Infinity;
  }

  /** Some may be given up now that were not to be before. */
  protected lookForExpired(): void {
    this.#expiryAtMs = 0;
  }

  #expire(nowMs: number): void {
    if (nowMs < this.#expiryAtMs) return;
    this.#expiryAtMs = Infinity;
    for (const load of [...this.loads.values()]) {
      if (load.isGone || (load.isVoid && load.isOver)) continue;
      const atMs = load.expiresAtMs;
      if (atMs > nowMs) this.#expiryAtMs = Math.min(this.#expiryAtMs, atMs);
      else if (this.mayExpire(load)) this.giveUp(load, this.#timeIsOver);
      else this.#expiryAtMs = Math.min(this.#expiryAtMs, nowMs + 1_000);
    }
  }

  /** Who was refused until then is told what for: the queue is full, nobody answers. */
  get #timeIsOver(): string {
    const { trouble } = this.pace;
    return `its time is over${trouble === undefined ? "" : `; the last try: ${trouble}`}`;
  }

  #pump(nowMs: number, acksDue: boolean): void {
    while (!this.isClosed && this.mayDispatch && this.inAir < this.inAirMax) {
      const sendsData = nowMs >= this.pace.pausedUntilMs && this.#isTime(nowMs);
      if (!sendsData && !acksDue) return;
      if (!this.#numbers.hasNext) return;
      const pieces = sendsData ? this.#choose() : [];
      const acks = pieces.length > 0 || acksDue ? this.context.takeAcks(this.to) : [];
      if (pieces.length === 0 && acks.length === 0) return;
      acksDue = false;
      this.dispatch(pieces, acks);
    }
  }

  #isTime(nowMs: number): boolean {
    const { waiting } = this;
    if (waiting.hasHoles || waiting.freshOctets >= this.roomOctets) return true;
    const isEnough = this.inAir === 0 || waiting.freshOctets >= this.companyOctets;
    return isEnough && waiting.hasFresh && nowMs >= this.#holdUntilMs;
  }

  #choose(): Piece[] {
    const { windowOctets, roomOctets, packetFramesMax: framesMax } = this;
    return this.waiting.choose({ roomOctets, windowOctets, framesMax });
  }

  /**
   * Asks for an acknowledgement without sending anything again: a frame without octets. `stuck`: with its next piece,
   * whatever window there is.
   */
  protected ping(load: Load, stuck?: Load): void {
    if (!this.#numbers.hasNext) return;
    const nothing = { load, from: load.span, to: load.span };
    const piece = stuck && this.waiting.chooseOf(stuck, this.roomOctets);
    this.dispatch([piece ?? nothing], this.context.takeAcks(this.to));
  }

  protected dispatch(pieces: readonly Piece[], acks: readonly Frame[]): Sent {
    const number = this.#numbers.take();
    const sent: Sent = {
      ...{ number, pieces, acks: acks.length > 0, blockOctets: this.blockOctets },
      messageId: `${this.context.ports.dice(16).toString("hex")}.ebm@ringpost.invalid`,
      ...{ sentAtMs: this.nowMs, isInAir: true, isLost: false },
    };
    if (pieces.some(({ from, to }) => to > from)) this.sent.set(number, sent);
    for (const { load, from, to } of pieces) load.isInParts ||= to - from < load.span;
    this.inAir += 1;
    void this.#submit(sent, acks, this.floorAt(number));
    return sent;
  }

  /** Everything below is acknowledged or was sent again: forgotten here, so that nobody need tell of it. */
  protected floorAt(number: number): number {
    let floor = number;
    for (const { number: each, isLost } of this.sent.values()) {
      if (!isLost) floor = Math.min(floor, each);
    }
    for (const each of [...this.sent.keys()]) if (each < floor) this.sent.delete(each);
    return floor;
  }

  async #submit(sent: Sent, acks: readonly Frame[], floor: number): Promise<void> {
    let verdict: Verdict;
    const making = this.#made.then(() => this.#framesOf(sent.pieces));
    this.#made = making.catch(() => undefined);
    try {
      const frames = [...acks, ...(await making)];
      const type = sent.pieces.length > 0 ? "data" : "acknowledgement";
      const { origin, journal } = this.context;
      const outgoing = outgoingOf({
        ...{ to: this.to, origin, floor, frames, messageId: sent.messageId, nowMs: this.nowMs },
        index: { connection: this.connection, packet: sent.number, type },
        privateKey: journal.identity.privateKey,
      });
      verdict = this.isClosed
        ? { kind: "unknown", why: "closed" }
        : verdictOf(await this.context.ports.carrier.submit(outgoing));
    } catch (error) {
      // A body that can't be read, or a carrier that broke its word.
      verdict = { kind: "unknown", why: String(error) };
    }
    if (this.isClosed) return;
    this.inAir -= 1;
    sent.isInAir = false;
    sent.sentAtMs = this.nowMs;
    if (sent.acks && verdict.kind !== "accepted" && verdict.kind !== "taken") {
      this.context.acksLost(this.to);
    }
    this.onVerdict(sent, verdict);
    this.turn();
  }

  /** After a refusal for size. False when it can't be cut any smaller. */
  protected halve({ pieces, blockOctets: octetsMax }: Sent): boolean {
    if (pieces.every(({ from, to }) => to === from)) return false;
    const octets = pieces.reduce(
      (sum, { load, from, to }) => sum + to - from + load.frameOctets,
      0,
    );
    return this.#block.refused({ octets, octetsMax }, this.nowMs);
  }

  async #framesOf(pieces: readonly Piece[]): Promise<DataFrame[]> {
    const frames: DataFrame[] = [];
    const streams = new Set<string>();
    for (const piece of pieces) {
      const { stream } = piece.load.message;
      const frame = dataFrame({
        ...{ piece, journal: this.context.journal },
        base: streams.has(stream) ? undefined : this.baseOf(stream),
      });
      frames.push(frame instanceof Promise ? await frame : frame);
      streams.add(stream);
    }
    return frames;
  }

  /** Everything below is settled. */
  protected baseOf(stream: string): number | undefined {
    const known = this.context.journal.state.out.get(this.to)?.get(stream);
    if (!known) return undefined;
    return known.messages.keys().next().value ?? known.next;
  }

  protected tell(message: OutMessage, state: ReceiptEvent["state"], why?: string): void {
    const event = { id: message.id, to: this.to, state };
    this.context.tell(why === undefined ? event : { ...event, why });
  }

  /** Of a message that is not there as a whole: the next process goes on from here. */
  protected noteAcked({ message }: Load, from: number, to: number): void {
    const { stream, sequence } = message;
    const octets = [from + 1, to] as const;
    this.context.journal.note({ kind: "acked", to: this.to, stream, sequence, octets });
  }

  protected noteAccepted(sent: Sent): void {
    for (const { load, from, to } of sent.pieces) {
      load.accepted.add(from + 1, to);
      if (load.isAccepted || load.isVoid || !load.accepted.covers(1, load.span)) continue;
      load.isAccepted = true;
      this.tell(load.message, "accepted");
    }
  }
}
