const LF = 10;
const CR = 13;

export type Line =
  /** One octet per character (latin1), without the line end. */
  | { readonly kind: "line"; readonly text: string }
  /** Longer than allowed: told once, skipped up to its end. */
  | { readonly kind: "lineTooLong" };

const tooLong: Line = { kind: "lineTooLong" };

/** Waiting input beyond which a client is not read from. */
const WAITING_OCTETS_MAX = 16 * 1024;

/** Cuts what a client sends into lines. A line ends at CRLF; a bare LF is tolerated. */
export class LineReader {
  #chunks: Buffer[] = [];
  #at = 0;
  #skipping = false;

  push(chunk: Buffer): void {
    if (chunk.length > 0) this.#chunks.push(chunk);
  }

  /** True while so much is waiting that the socket should be paused. */
  get full(): boolean {
    const octets = this.#chunks.reduce((sum, chunk) => sum + chunk.length, -this.#at);
    return octets > WAITING_OCTETS_MAX;
  }

  /** The next line, or undefined when its end has not come yet. `octetsMax` includes the end. */
  next(octetsMax: number): Line | undefined {
    if (this.#skipping && !this.#skip()) return undefined;
    if (this.#chunks.length > 1) this.#join();
    const chunk = this.#chunks[0];
    if (chunk === undefined) return undefined;
    const end = chunk.indexOf(LF, this.#at);
    const octets = (end < 0 ? chunk.length : end + 1) - this.#at;
    if (octets > octetsMax || (end < 0 && octets === octetsMax)) {
      this.#skipping = true;
      this.#skip();
      return tooLong;
    }
    if (end < 0) return undefined;
    const stop = end > this.#at && chunk[end - 1] === CR ? end - 1 : end;
    const text = chunk.toString("latin1", this.#at, stop);
    this.#consume(end + 1);
    return { kind: "line", text };
  }

  /** Forgets what is waiting. */
  clear(): void {
    this.#chunks = [];
    this.#at = 0;
    this.#skipping = false;
  }

  #join(): void {
    const [first, ...others] = this.#chunks;
    if (first === undefined) return;
    this.#chunks = [Buffer.concat([first.subarray(this.#at), ...others])];
    this.#at = 0;
  }

  #consume(upTo: number): void {
    const chunk = this.#chunks[0];
    if (chunk !== undefined && upTo >= chunk.length) {
      this.#chunks.shift();
      this.#at = 0;
    } else {
      this.#at = upTo;
    }
  }

  /** Drops octets up to the line's end. False when that has not come yet. */
  #skip(): boolean {
    for (let chunk = this.#chunks[0]; chunk !== undefined; chunk = this.#chunks[0]) {
      const end = chunk.indexOf(LF, this.#at);
      this.#consume(end < 0 ? chunk.length : end + 1);
      if (end >= 0) {
        this.#skipping = false;
        return true;
      }
    }
    return false;
  }
}
