/** A message on its way, and the pieces it is cut into. */
import { Intervals } from "../journal/intervals.js";
import type { OutMessage } from "../journal/out-state.js";

/** Octets `from` up to, and without, `to`. An empty message counts as one octet. */
export interface Piece {
  readonly load: Load;
  readonly from: number;
  readonly to: number;
}

/** Octets sent and not acknowledged, of all loads of a sender that are not dropped. */
export interface Tally {
  octets: number;
}

/** Of a frame beside its octets and properties, at most. */
const metaOctets = 320;

export class Load {
  readonly isVoid: boolean;
  /** What there is to acknowledge, in octets. */
  readonly span: number;
  /** Offsets counted from 1. */
  readonly acked = new Intervals();
  readonly accepted = new Intervals();
  ackedOctets = 0;
  #sentUpTo = 0;
  /** Another load has taken its place, or it is given up. */
  #isDropped = false;
  isAccepted = false;
  /** It may have been taken although nobody said so. */
  isUncertain = false;
  /** Of a void: its time is over, too. */
  isOver = false;
  /** Its receiver may have a part of it. */
  isInParts = false;
  readonly propertiesOctets: number;

  constructor(
    readonly message: OutMessage,
    /** Counts up: what was to be sent earlier has a lower one. */
    readonly number: number,
    private readonly tally: Tally = { octets: 0 },
  ) {
    this.isVoid = message.isVoid;
    this.span = message.isVoid ? 1 : Math.max(1, message.octets);
    this.propertiesOctets = this.isVoid ? 32 : JSON.stringify(message.properties).length;
  }

  /** Sent at least once up to here. */
  get sentUpTo(): number {
    return this.#sentUpTo;
  }

  set sentUpTo(octets: number) {
    if (!this.#isDropped) this.tally.octets += octets - this.#sentUpTo;
    this.#sentUpTo = octets;
  }

  drop(): void {
    if (!this.#isDropped) this.tally.octets -= this.#sentUpTo - this.ackedOctets;
    this.#isDropped = true;
  }

  /** Settled, or of no use any more. */
  get isGone(): boolean {
    return this.#isDropped || this.message.isRemoved;
  }

  get expiresAtMs(): number {
    return this.message.properties.expiresAtMs ?? Infinity;
  }

  get isAcked(): boolean {
    return this.ackedOctets === this.span;
  }

  /** Answers how many octets are newly acknowledged. */
  ack(from: number, to: number): number {
    const added = this.acked.add(from + 1, to);
    this.ackedOctets += added;
    if (!this.#isDropped) this.tally.octets -= added;
    return added;
  }

  /** As far as the journal knows it to be acknowledged. Answers what was left out on the way there. */
  resume(): readonly Piece[] {
    const { delivered, acked } = this.message;
    const ranges = delivered ? [[1, this.span] as const] : (acked?.ranges ?? []);
    // What makes room is not to wait for room.
    this.sentUpTo = this.isVoid ? this.span : (ranges.at(-1)?.[1] ?? 0);
    for (const [first, last] of ranges) this.ack(first - 1, last);
    return stillMissing([{ load: this, from: 0, to: this.sentUpTo }]);
  }

  /** To be sent from the first octet on that is not acknowledged. */
  rewind(): void {
    this.sentUpTo = this.acked.through;
  }

  octetsFrom(from: number): number {
    return this.span - from + metaOctets + this.propertiesOctets;
  }

  get frameOctets(): number {
    return metaOctets + this.propertiesOctets;
  }
}

/** What of pieces is not acknowledged yet. */
export function stillMissing(pieces: readonly Piece[]): Piece[] {
  return pieces.flatMap(({ load, from, to }) =>
    load.isGone
      ? []
      : load.acked.missing(from + 1, to).map(([a, b]) => ({ load, from: a - 1, to: b })),
  );
}
