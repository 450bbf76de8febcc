import type { Socket } from "node:net";
import { type Line, LineReader } from "./lines.js";

/** What the client sends, cut into lines; never more of it in memory than is good. */
export class Incoming {
  readonly #reader = new LineReader();
  readonly #onData = (chunk: Buffer): void => {
    this.#reader.push(chunk);
    if (this.#reader.full) this.#socket?.pause();
    this.#onInput?.();
  };
  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#onInput?.();
  };
  #socket: Socket | undefined;
  #ended = false;
  #onInput: (() => void) | undefined;

  /** The client sends no more. */
  get ended(): boolean {
    return this.#ended;
  }

  listen(socket: Socket): void {
    this.#socket = socket;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
  }

  /** Stops listening and forgets what has come and was not read yet. */
  forget(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.pause();
    while (socket.read() !== null);
    this.#reader.clear();
    this.#socket = undefined;
  }

  /** The next line, if it is there. */
  line(octetsMax: number): Line | undefined {
    return this.#reader.next(octetsMax);
  }

  /** Calls `onInput` at each change, up to the next call. */
  watch(onInput: (() => void) | undefined): void {
    this.#onInput = onInput;
    if (onInput !== undefined && this.#socket?.isPaused()) this.#socket.resume();
  }

  /** Reads on and drops all of it, so that the client's end is seen. */
  drop(): void {
    this.#socket?.off("data", this.#onData);
    this.#socket?.resume();
  }
}
