/** What makes a message the body of a multi-line reply, RFC 1939 §3. */

const LF = 10;
const CR = 13;
const DOT = 46;
const LINE_END_DOT = Buffer.from("\r\n.");
const CRLF = Buffer.from("\r\n");

/** The reply's last line, and the same for a message whose last line has no end. */
export const terminator = Buffer.from(".\r\n");
const lineEndTerminator = Buffer.from("\r\n.\r\n");

/**
 * True when the message can be sent as it is: no line begins with a dot and the last one ends.
 * A line begins behind a CRLF only; a lone CR or LF is an octet like any other.
 */
export function needsNoStuffing(body: Buffer): boolean {
  return body[0] !== DOT && !body.includes(LINE_END_DOT) && endsLine(body);
}

function endsLine(body: Buffer): boolean {
  const { length } = body;
  return length === 0 || (body[length - 2] === CR && body[length - 1] === LF);
}

/** Dot-stuffs a message that comes in pieces cut anywhere. */
export class DotStuffer {
  /** Octets of CRLF that the last piece ended with: 2 at the beginning of a line. */
  #matched = 2;
  #scratch = Buffer.alloc(0);

  /**
   * The piece with dots doubled; the same Buffer when there are none, else one that is valid up to
   * the next call: a large mail made of dots must not leave its size in garbage.
   */
  push(piece: Buffer): Buffer {
    if (piece.length === 0) return piece;
    const first = this.#firstDot(piece);
    const out = first < 0 ? piece : this.#doubleDots(piece, first);
    this.#matched = this.#matchedAfter(piece);
    return out;
  }

  /** What ends the reply behind the last piece. */
  end(): Buffer {
    return this.#matched === 2 ? terminator : lineEndTerminator;
  }

  /** Index of the first dot to double, or -1. */
  #firstDot(piece: Buffer): number {
    if (this.#matched === 2 && piece[0] === DOT) return 0;
    if (this.#matched === 1 && piece[0] === LF && piece[1] === DOT) return 1;
    const at = piece.indexOf(LINE_END_DOT);
    return at < 0 ? -1 : at + 2;
  }

  /** Copies octet by octet: mail made of dots must not cost a search per line. */
  #doubleDots(piece: Buffer, first: number): Buffer {
    const octetsMax = piece.length + Math.ceil((piece.length - first + 2) / 3);
    if (this.#scratch.length < octetsMax) this.#scratch = Buffer.allocUnsafeSlow(octetsMax);
    const out = this.#scratch;
    piece.copy(out, 0, 0, first);
    let to = first;
    out[to++] = DOT;
    for (let at = first; at < piece.length; at++) {
      const octet = piece[at] ?? 0;
      if (octet === DOT && at > first && piece[at - 1] === LF && piece[at - 2] === CR) {
        out[to++] = DOT;
      }
      out[to++] = octet;
    }
    return out.subarray(0, to);
  }

  #matchedAfter(piece: Buffer): number {
    const last = piece[piece.length - 1];
    if (last === CR) return 1;
    if (last !== LF) return 0;
    const before = piece.length > 1 ? piece[piece.length - 2] === CR : this.#matched === 1;
    return before ? 2 : 0;
  }
}

/** Cuts a message after its header, the blank line and n lines of its body (TOP, RFC 1939 §7). */
export class TopCutter {
  #linesLeft: number;
  #inHeader = true;
  #lineOctets = 0;
  #afterCr = false;
  #done = false;

  constructor(lines: number) {
    this.#linesLeft = lines;
  }

  /** True when nothing more of the message is wanted. */
  get done(): boolean {
    return this.#done;
  }

  /** The part of the piece that belongs to the answer. */
  push(piece: Buffer): Buffer {
    let start = 0;
    for (let end = piece.indexOf(LF); end >= 0; end = piece.indexOf(LF, end + 1)) {
      const isLineEnd = end > 0 ? piece[end - 1] === CR : this.#afterCr;
      if (!isLineEnd) continue;
      this.#onLine(this.#lineOctets + (end + 1 - start) - CRLF.length);
      if (this.#done) return piece.subarray(0, end + 1);
      start = end + 1;
      this.#lineOctets = 0;
    }
    this.#lineOctets += piece.length - start;
    if (piece.length > 0) this.#afterCr = piece[piece.length - 1] === CR;
    return piece;
  }

  #onLine(octets: number): void {
    if (this.#inHeader) {
      if (octets > 0) return;
      this.#inHeader = false;
    } else {
      this.#linesLeft--;
    }
    this.#done = this.#linesLeft <= 0;
  }
}
