import type { Socket } from "node:net";
import type { Waited, Waits } from "./waits.js";

/** `late`: the client stopped reading. `over`: it is gone. */
export type Sent = "done" | "late" | "over";

/** Octets waiting for the client beyond which nothing more is made. */
const HIGH_WATER_OCTETS = 64 * 1024;

/** Octets after which other connections get their turn, however fast this client reads. */
const TURN_OCTETS = 256 * 1024;

/** What goes to the client: replies gathered into few writes, never more than it reads. */
export class Output {
  #socket: Socket;
  readonly #waits: Waits;
  readonly #stallMs: number;
  #corked = false;
  #octetsThisTurn = 0;
  #onDrain: (() => void) | undefined;

  constructor(socket: Socket, waits: Waits, stallMs: number) {
    this.#socket = socket;
    this.#waits = waits;
    this.#stallMs = stallMs;
    this.writeTo(socket);
  }

  /** From now on to another socket; nothing may be waiting for the last one. */
  writeTo(socket: Socket): void {
    this.#socket = socket;
    socket.on("drain", () => this.#onDrain?.());
  }

  /** Waits until all that was written has left. Not `done`: the client does not read, or is gone. */
  async emptied(): Promise<Sent> {
    this.flush();
    const waited = await this.#waits.event((done) => {
      this.#socket.write("", (error) => (error ? this.#waits.end() : done()));
    }, this.#stallMs);
    return waited.kind === "done" ? "done" : notDone(waited);
  }

  /** Strings have one octet per character. `taken`: the piece's memory is not used any more. */
  write(piece: string | Buffer, taken?: (error?: Error | null) => void): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      // Behind all that follows without waiting, before anything that does wait.
      process.nextTick(() => this.flush());
    }
    this.#octetsThisTurn += piece.length;
    if (typeof piece === "string") this.#socket.write(piece, "latin1");
    else this.#socket.write(piece, taken);
  }

  /**
   * Sends a piece and waits until nothing of it is kept here any more, so that its memory can be
   * used again. Not `done`: the client stopped reading, or is gone.
   */
  async send(piece: Buffer): Promise<Sent> {
    if (piece.length === 0) return "done";
    const waited = await this.#waits.event((done) => {
      // A write that failed means that the connection is gone; its `close` event comes later.
      this.write(piece, (error) => (error ? this.#waits.end() : done()));
      this.flush();
    }, this.#stallMs);
    return waited.kind === "done" ? this.#turn() : notDone(waited);
  }

  /** Hands over what was gathered. */
  flush(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#socket.uncork();
  }

  /** True when `drain` should be called before more is made. */
  get full(): boolean {
    return this.#behind || this.#octetsThisTurn >= TURN_OCTETS;
  }

  /** Waits until the client took what is waiting. Not `done`: it stopped reading, or is gone. */
  async drain(): Promise<Sent> {
    this.flush();
    if (this.#behind) {
      const waited = await this.#waits.event((done) => {
        this.#onDrain = done;
      }, this.#stallMs);
      this.#onDrain = undefined;
      if (waited.kind !== "done") return notDone(waited);
    }
    return this.#turn();
  }

  get #behind(): boolean {
    return this.#socket.writableLength >= HIGH_WATER_OCTETS;
  }

  async #turn(): Promise<Sent> {
    if (this.#octetsThisTurn < TURN_OCTETS) return "done";
    this.#octetsThisTurn = 0;
    const waited = await this.#waits.event((done) => setImmediate(done), this.#stallMs);
    return waited.kind === "done" ? "done" : notDone(waited);
  }
}

function notDone(waited: Waited<void>): Sent {
  return waited.kind === "late" ? "late" : "over";
}
