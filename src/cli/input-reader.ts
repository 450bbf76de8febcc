/** Standard input of a script: a line for the password, then a body, or line after line. */
import { CliError } from "./errors.js";

/** Of a body, and of a line. */
const bodyOctetsMax = 64 * 1024 * 1024;

export class InputReader {
  readonly #chunks: AsyncIterator<unknown>;
  #rest = Buffer.alloc(0);
  #isOver = false;

  constructor(stdin: AsyncIterable<unknown>) {
    this.#chunks = stdin[Symbol.asyncIterator]();
  }

  /** Without its line end (LF or CRLF); undefined at the end. @throws CliError for one too long */
  async line(octetsMax = bodyOctetsMax): Promise<Buffer | undefined> {
    const pieces: Buffer[] = [];
    let octets = 0;
    for (;;) {
      const at = this.#rest.indexOf(0x0a);
      const piece = at < 0 ? this.#rest : this.#rest.subarray(0, at);
      pieces.push(piece);
      octets += piece.length;
      if (octets > octetsMax)
        throw new CliError(`a line on stdin is longer than ${octetsMax} octets`);
      if (at >= 0) {
        this.#rest = this.#rest.subarray(at + 1);
        break;
      }
      this.#rest = Buffer.alloc(0);
      if (!(await this.#more())) {
        if (octets === 0) return undefined;
        break;
      }
    }
    const line = Buffer.concat(pieces);
    return line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
  }

  /** All that is left. @throws CliError */
  async rest(): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let octets = 0;
    do {
      pieces.push(this.#rest);
      octets += this.#rest.length;
      this.#rest = Buffer.alloc(0);
      if (octets > bodyOctetsMax) {
        throw new CliError(`the body on stdin is longer than ${bodyOctetsMax} octets`);
      }
    } while (await this.#more());
    return Buffer.concat(pieces);
  }

  async #more(): Promise<boolean> {
    if (this.#isOver) return false;
    const { done, value } = await this.#chunks.next();
    this.#isOver = done === true;
    if (!this.#isOver) this.#rest = Buffer.from(value as Buffer);
    return !this.#isOver;
  }
}
