/**
 * Adapter, part 1: how the client's octets are cut into commands and mail data.
 *
 * Replaces the input side of smtp-server's stream (3.21.6), which takes a bare LF in data as
 * content, leaves the dot of `.x` lines in place, spends an event-loop turn per dotted line, copies
 * each mail through a PassThrough, and runs a line that the end of the connection has cut off.
 */
import { SMTPStream } from "smtp-server/lib/smtp-stream.js";
import { Unstuffer } from "./unstuff.js";

/** Takes the data of one mail. */
export interface DataSink {
  /** Content, dots undone. Nothing more comes until the promise, if any, is resolved. */
  write(content: Buffer): Promise<void> | undefined;
  /** The end of data has come. Commands go on after `resume`. */
  end(result: { readonly bareLineEnd: boolean }, resume: () => void): void;
}

const LF = 0x0a;
const CR = 0x0d;
/** Commands in one go before others get a turn. */
const commandsPerTurn = 100;

const nothing = Buffer.alloc(0);

type Next = (error?: Error | null) => void;

export class SmtpParser extends SMTPStream {
  /** Octets that commands and data were made of, of all `receivedOctets`. */
  consumedOctets = 0;
  /** A line with its end; may change from line to line. */
  lineOctetsMax: number;
  /** Called when the client has ended its side and all before was handled. */
  onend: (() => void) | undefined;
  /** Called for a line over the limit, in place of `oncommand`. */
  onlongline: ((resume: () => void) => void) | undefined;

  #chunk: Buffer = nothing;
  #at = 0;
  #next: Next | undefined;
  #pumping = false;
  #again = false;
  #commandsInTurn = 0;
  /** Beginning of a line whose end has not come; undefined while a long line is skipped. */
  #partial: Buffer | undefined = Buffer.alloc(0);
  #sink: DataSink | undefined;
  #unstuffer = new Unstuffer();

  constructor({ lineOctetsMax }: { readonly lineOctetsMax: number }) {
    super();
    this.lineOctetsMax = lineOctetsMax;
  }

  /** Octets that have come in, whether they were handled yet or not. */
  get receivedOctets(): number {
    // The stream counts the chunk that is being worked on until all of it was.
    return this.consumedOctets - this.#at + this.writableLength;
  }

  /** True while more of the client's input is at hand. */
  get hasInput(): boolean {
    return this.#at < this.#chunk.length;
  }

  /** From here on the input is the content of a mail, until its end. */
  receiveData(sink: DataSink): void {
    this.#sink = sink;
    this.#unstuffer = new Unstuffer();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding | "buffer", next: Next): void {
    this.#chunk = chunk;
    this.#at = 0;
    this.#next = next;
    this.#commandsInTurn = 0;
    this.#pump();
  }

  /** The library runs what is left as a command here; a line without its end is not one. */
  override _flushData(): void {
    this.onend?.();
  }

  /** Steps until something has to be waited for. Handlers may resume before they return. */
  readonly #pump = (): void => {
    this.#again = true;
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#again) {
        this.#again = false;
        this.#step();
      }
    } finally {
      this.#pumping = false;
    }
  };

  #step(): void {
    if (this.isClosed || this.#at >= this.#chunk.length) {
      const next = this.#next;
      this.#next = undefined;
      this.#chunk = nothing;
      this.#at = 0;
      next?.();
      return;
    }
    if (this.#sink !== undefined) {
      this.#stepData(this.#sink);
      return;
    }
    if (++this.#commandsInTurn > commandsPerTurn) {
      this.#commandsInTurn = 0;
      setImmediate(this.#pump);
      return;
    }
    this.#stepLine();
  }

  #stepData(sink: DataSink): void {
    const { content, end } = this.#unstuffer.feed(this.#chunk, this.#at);
    this.#advance(end ?? this.#chunk.length);
    if (end !== undefined) this.#sink = undefined;
    const written = sink.write(content);
    const proceed = () => {
      if (end === undefined) this.#pump();
      else sink.end({ bareLineEnd: this.#unstuffer.bareLineEnd }, this.#pump);
    };
    if (written === undefined) proceed();
    else void written.then(proceed); // A sink's promise never rejects.
  }

  #stepLine(): void {
    const end = this.#chunk.indexOf(LF, this.#at);
    const piece = this.#chunk.subarray(this.#at, end < 0 ? this.#chunk.length : end);
    this.#advance(end < 0 ? this.#chunk.length : end + 1);
    const line = this.#join(piece);
    if (end < 0) {
      this.#partial = line;
      this.#pump();
      return;
    }
    this.#partial = Buffer.alloc(0);
    if (line === undefined) {
      if (this.onlongline === undefined) this.#pump();
      else this.onlongline(this.#pump);
      return;
    }
    const bare = line.at(-1) === CR ? line.subarray(0, -1) : line;
    this.oncommand(bare, this.#pump);
  }

  /** The line so far; undefined once it is over the limit. */
  #join(piece: Buffer): Buffer | undefined {
    if (this.#partial === undefined) return undefined;
    if (this.#partial.length + piece.length + 1 > this.lineOctetsMax) return undefined;
    return this.#partial.length === 0 ? piece : Buffer.concat([this.#partial, piece]);
  }

  #advance(to: number): void {
    this.consumedOctets += to - this.#at;
    this.#at = to;
  }
}
