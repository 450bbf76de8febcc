/** What waits to be sent to one receiver: holes first, then what is new, in the order of its stream. */
import type { Load, Piece } from "./load.js";

/** Pieces of a large message are not made smaller than this to fill a packet up. */
export const pieceOctetsMin = 1_024;

interface Line {
  readonly loads: Load[];
  head: number;
}

export class Waiting {
  /** By stream. */
  readonly #lines = new Map<string, Line>();
  #holes: Piece[] = [];
  /** Octets of what was never sent. */
  freshOctets = 0;
  /** A message of at most so many octets is not cut while there is something in front of it. */
  wholeOctets = 0;

  get hasHoles(): boolean {
    return this.#holes.length > 0;
  }

  get hasFresh(): boolean {
    return this.#next() !== undefined;
  }

  get first(): Load | undefined {
    return this.#holes[0]?.load ?? this.#next();
  }

  clear(): void {
    this.#lines.clear();
    this.#holes = [];
    this.freshOctets = 0;
  }

  addFresh(load: Load): void {
    const { stream } = load.message;
    const line = this.#lines.get(stream) ?? { loads: [], head: 0 };
    this.#lines.set(stream, line);
    line.loads.push(load);
    this.freshOctets += load.octetsFrom(load.sentUpTo);
  }

  addHoles(pieces: readonly Piece[]): void {
    this.#holes.push(...pieces);
  }

  /** Of all streams: what was begun, then by priority, then what came first. */
  #next(): Load | undefined {
    let best: Load | undefined;
    for (const [stream, line] of this.#lines) {
      const head = this.#headOf(line);
      if (!head) this.#lines.delete(stream);
      else if (!best || isBefore(head, best)) best = head;
    }
    return best;
  }

  #headOf(line: Line): Load | undefined {
    for (let load = line.loads[line.head]; load; load = line.loads[line.head]) {
      if (!load.isGone && load.sentUpTo < load.span) return load;
      if (load.sentUpTo < load.span) this.freshOctets -= load.octetsFrom(load.sentUpTo);
      line.head += 1;
      if (line.head > 1_000 && line.head * 2 > line.loads.length) {
        line.loads.splice(0, line.head);
        line.head = 0;
      }
    }
    return undefined;
  }

  /**
   * Pieces for one packet of `roomOctets`; of new octets not more than `window`. `framesMax` bounds the pieces.
   * `holesOnly`: a probe.
   */
  choose(options: {
    readonly roomOctets: number;
    readonly windowOctets: number;
    readonly framesMax: number;
    readonly holesOnly?: boolean;
  }): Piece[] {
    const pieces: Piece[] = [];
    let room = options.roomOctets;
    let window = options.windowOctets;
    for (
      let hole = this.#holes[0];
      hole && pieces.length < options.framesMax;
      hole = this.#holes[0]
    ) {
      const [cut, rest] = cutPiece(hole, room, pieces.length === 0);
      if (!cut) return pieces;
      pieces.push(cut);
      room -= cut.to - cut.from + cut.load.frameOctets;
      if (rest) this.#holes[0] = rest;
      else this.#holes.shift();
    }
    if (options.holesOnly === true) return pieces;
    for (let load = this.#next(); load && pieces.length < options.framesMax; load = this.#next()) {
      const whole = { load, from: load.sentUpTo, to: load.span };
      // A message that fits a packet is not cut to fill up this one.
      if (
        pieces.length > 0 &&
        load.octetsFrom(0) > room &&
        load.octetsFrom(0) <= Math.max(options.roomOctets, this.wholeOctets)
      ) {
        break;
      }
      const allowed = Math.min(whole.to, whole.from + window);
      if (allowed <= whole.from) break;
      const [cut] = cutPiece({ ...whole, to: allowed }, room, pieces.length === 0);
      if (!cut) break;
      const octets = cut.to - cut.from;
      pieces.push(cut);
      this.#begun(cut);
      room -= octets + load.frameOctets;
      window -= octets;
    }
    return pieces;
  }

  /** The next piece of a message, whatever window there is. */
  chooseOf(load: Load, roomOctets: number): Piece | undefined {
    if (load.sentUpTo >= load.span) return undefined;
    const [cut] = cutPiece({ load, from: load.sentUpTo, to: load.span }, roomOctets, true);
    if (cut) this.#begun(cut);
    return cut;
  }

  #begun({ load, from, to }: Piece): void {
    this.freshOctets -= to - from + (to === load.span ? load.frameOctets : 0);
    load.sentUpTo = to;
  }
}

function isBefore(a: Load, b: Load): boolean {
  if (a.sentUpTo > 0 !== b.sentUpTo > 0) return a.sentUpTo > 0;
  const priority = ({ message }: Load) => message.properties.priority ?? 4;
  if (priority(a) !== priority(b)) return priority(a) > priority(b);
  return a.number < b.number;
}

/** As much as there is room for, and the rest. The first piece of a packet always has an octet. */
function cutPiece(piece: Piece, roomOctets: number, isFirst: boolean): [Piece | undefined, Piece?] {
  const room = roomOctets - piece.load.frameOctets;
  const octets = piece.to - piece.from;
  if (octets <= room) return [piece];
  const least = isFirst ? 1 : pieceOctetsMin;
  if (room < least && !isFirst) return [undefined, piece];
  const at = piece.from + Math.max(least, room);
  if (at >= piece.to) return [piece];
  return [
    { ...piece, to: at },
    { ...piece, from: at },
  ];
}
