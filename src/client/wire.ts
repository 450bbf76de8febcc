import { connect, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";

const defaultDeadlineMs = 30_000;
const endOfLine = Buffer.from("\r\n");
const endOfData = Buffer.from("\r\n.\r\n");

/** The other side went away, or said nothing in time. What was under way may have happened. */
export class WireError extends Error {
  override readonly name = "WireError";
}

/** The other side said what its protocol does not allow. That is never an accident of the network. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** Splits `127.0.0.1:5025` or `[::1]:5025`. */
export function hostPort(addr: string): { host: string; port: number } {
  const colon = addr.lastIndexOf(":");
  const host = addr.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(addr.slice(colon + 1)) };
}

export interface WireOptions {
  /** For each read. Default 30 s. */
  readonly deadlineMs?: number | undefined;
  /** For the connection; default: as `deadlineMs`. */
  readonly connectMs?: number | undefined;
  /** TLS from the first octet (RFC 8314 §3.3). */
  readonly tls?: ConnectionOptions | undefined;
  /** Of one line or one dotted answer; more is a ProtocolError. Default: no bound. */
  readonly answerOctetsMax?: number | undefined;
}

/** A socket read by lines, strictly: lines end in CRLF, every read has a deadline. */
export class Wire {
  #buffer = Buffer.alloc(64 * 1024);
  #start = 0;
  #end = 0;
  #failure: WireError | undefined;
  /** Under TLS. */
  #bare: Socket | undefined;
  #wake: (() => void) | undefined;
  #socket: Socket;
  readonly #deadlineMs: number;
  readonly #answerOctetsMax: number;

  private constructor(socket: Socket, options: WireOptions) {
    this.#socket = socket;
    this.#deadlineMs = options.deadlineMs ?? defaultDeadlineMs;
    this.#answerOctetsMax = options.answerOctetsMax ?? Number.POSITIVE_INFINITY;
    socket.setNoDelay(true);
    this.#listen(socket);
  }

  #listen(socket: Socket): void {
    socket.on("data", (chunk: Buffer) => this.#append(chunk));
    socket.on("error", (error) => this.#fail(`socket: ${error.message}`));
    socket.on("close", () => this.#fail("connection closed"));
  }

  /**
   * From here on all is TLS. What came in clear behind the answer that led here is nobody's word
   * (RFC 2595 §4), and ends the connection.
   */
  async secure(options: ConnectionOptions): Promise<void> {
    const bare = this.#socket;
    this.#bare = bare;
    for (const event of ["data", "error", "close"]) bare.removeAllListeners(event);
    if (this.#end > this.#start) {
      bare.destroy();
      throw new ProtocolError("octets between the answer and TLS");
    }
    const secured = connectTls({ ...options, socket: bare });
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        secured.destroy();
        reject(new WireError(`no TLS within ${this.#deadlineMs} ms`));
      }, this.#deadlineMs);
      const ended = (why: string) => {
        clearTimeout(timer);
        secured.destroy();
        reject(new WireError(`TLS: ${why}`));
      };
      secured.once("error", (error) => ended(error.message));
      secured.once("close", () => ended("connection closed"));
      secured.once("secureConnect", () => {
        clearTimeout(timer);
        secured.removeAllListeners("error").removeAllListeners("close");
        resolve();
      });
    });
    this.#socket = secured;
    this.#listen(secured);
  }

  /** A number is the deadline of the connection and of each read. */
  static async connect(addr: string, given: number | WireOptions = {}): Promise<Wire> {
    const options = typeof given === "number" ? { deadlineMs: given } : given;
    const connectMs = options.connectMs ?? options.deadlineMs ?? defaultDeadlineMs;
    const wire = new Wire(await dial(addr, connectMs), options);
    if (options.tls === undefined) return wire;
    try {
      await wire.secure(options.tls);
      return wire;
    } catch (error) {
      wire.destroy();
      throw error;
    }
  }

  write(data: string | Buffer): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#socket.write(typeof data === "string" ? Buffer.from(data, "latin1") : data);
  }

  /** One line as latin1, without its CRLF. */
  async line(): Promise<string> {
    const found = await this.#find(endOfLine, 0);
    const line = this.#buffer.toString("latin1", this.#start, found);
    if (line.includes("\n") || line.includes("\r"))
      throw new ProtocolError(`bare CR or LF: ${line}`);
    this.#start = found + endOfLine.length;
    return line;
  }

  /** Data up to CRLF "." CRLF, each line with its CRLF, byte-stuffing undone (RFC 1939 §3). */
  async dotted(): Promise<Buffer> {
    if (await this.#startsWithDotLine()) return Buffer.alloc(0);
    const found = await this.#find(endOfData, 0);
    const data = Buffer.from(this.#buffer.subarray(this.#start, found + endOfLine.length));
    this.#start = found + endOfData.length;
    return unstuff(data);
  }

  /** Resolves when the other side has closed the connection. */
  async closed(): Promise<void> {
    while (this.#failure === undefined) await this.#more();
  }

  /** Ends the connection as one that gets lost: with a reset. */
  reset(): void {
    (this.#bare ?? this.#socket).resetAndDestroy();
  }

  /** Ends the connection without a word. */
  destroy(): void {
    this.#socket.destroy();
  }

  async #startsWithDotLine(): Promise<boolean> {
    while (this.#end - this.#start < 3) await this.#more();
    if (this.#buffer.toString("latin1", this.#start, this.#start + 3) !== ".\r\n") return false;
    this.#start += 3;
    return true;
  }

  async #find(needle: Buffer, skip: number): Promise<number> {
    let from = skip;
    for (;;) {
      const window = this.#buffer.subarray(this.#start, this.#end);
      const at = window.indexOf(needle, from);
      if (at >= 0) return this.#start + at;
      from = Math.max(skip, window.length - needle.length + 1);
      if (window.length > this.#answerOctetsMax) {
        this.#socket.destroy();
        throw new ProtocolError(`an answer of more than ${this.#answerOctetsMax} octets`);
      }
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(() => {
        this.#socket.destroy();
        this.#fail(`nothing within ${this.#deadlineMs} ms`);
      }, this.#deadlineMs);
    });
    clearTimeout(timer);
  }

  #append(chunk: Buffer): void {
    if (this.#end + chunk.length > this.#buffer.length) {
      const live = this.#end - this.#start;
      const roomy = Buffer.alloc(Math.max(64 * 1024, 2 * (live + chunk.length)));
      this.#buffer.copy(roomy, 0, this.#start, this.#end);
      this.#buffer = roomy;
      this.#start = 0;
      this.#end = live;
    }
    this.#end += chunk.copy(this.#buffer, this.#end);
    this.#wake?.();
  }

  #fail(why: string): void {
    this.#failure ??= new WireError(why);
    this.#wake?.();
  }
}

function dial(addr: string, deadlineMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(hostPort(addr));
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new WireError(`${addr}: no connection within ${deadlineMs} ms`));
    }, deadlineMs);
    socket.once("error", (error) => {
      clearTimeout(timer);
      reject(new WireError(`${addr}: ${error.message}`));
    });
    socket.once("connect", () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}

/** Doubles a dot that begins a line and adds the end of data (RFC 5321 §4.5.2). */
export function stuff(mail: Buffer): Buffer {
  const whole = mail.length === 0 || mail.subarray(-2).equals(endOfLine);
  const parts: Buffer[] = [];
  let from = 0;
  if (mail[0] === 0x2e) parts.push(Buffer.from("."));
  for (let at = mail.indexOf("\r\n."); at >= 0; at = mail.indexOf("\r\n.", at + 2)) {
    parts.push(mail.subarray(from, at + 2), Buffer.from("."));
    from = at + 2;
  }
  parts.push(mail.subarray(from), Buffer.from(whole ? ".\r\n" : "\r\n.\r\n"));
  return Buffer.concat(parts);
}

function unstuff(data: Buffer): Buffer {
  const parts: Buffer[] = [];
  let from = data[0] === 0x2e ? 1 : 0;
  for (let at = data.indexOf("\r\n."); at >= 0; at = data.indexOf("\r\n.", at + 2)) {
    parts.push(data.subarray(from, at + 2));
    from = at + 3;
  }
  parts.push(data.subarray(from));
  return Buffer.concat(parts);
}
