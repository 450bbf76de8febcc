/** The relay's POP3: passes a session on, and breaks it off where it hurts. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { hostPort } from "../../../src/client/wire.js";
import type { Dice } from "../../../src/drill/dice.js";
import type { Fates, SessionFault } from "./faults.js";

export interface Pop3SideOptions {
  readonly fates: Fates;
  readonly upstream: () => string;
}

export class Pop3Side {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(options: Pop3SideOptions) {
    this.#server = createServer((near) => {
      const far = connect(hostPort(options.upstream()));
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.once("close", () => this.#sockets.delete(socket));
      }
      new Session(near, far, options.fates);
    });
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        resolve(`127.0.0.1:${(this.#server.address() as { port: number }).port}`);
      });
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

class Session {
  #line = "";
  #user = "";
  #hasDeleted = false;
  /** What may still come back before the line is cut. */
  #octetsLeft = Infinity;
  #isMute = false;

  constructor(
    private readonly near: Socket,
    private readonly far: Socket,
    private readonly fates: Fates,
  ) {
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on("error", () => this.#end());
      socket.on("close", () => this.#end());
    }
    near.on("data", (chunk: Buffer) => this.#onCommands(chunk));
    far.on("data", (chunk: Buffer) => this.#onAnswers(chunk));
  }

  #end(): void {
    this.near.destroy();
    this.far.destroy();
  }

  #draw(fault: SessionFault): Dice | undefined {
    const dice = this.fates.ofSession(`pop3 ${this.#user}`, fault);
    if (dice !== undefined) this.fates.note(fault);
    return dice;
  }

  #onCommands(chunk: Buffer): void {
    const text = this.#line + chunk.toString("latin1");
    const lines = text.split("\r\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) if (!this.#mayPass(line)) return;
    this.far.write(chunk);
  }

  /** False when the line is cut and nothing passes any more. */
  #mayPass(line: string): boolean {
    const [verb = "", argument = ""] = line.toUpperCase().split(" ");
    if (verb === "USER" || verb === "AUTH") {
      if (verb === "USER") this.#user = argument;
      if (this.#draw("cut at login") === undefined) return true;
      this.#end();
      return false;
    }
    if (verb === "RETR" && this.#octetsLeft === Infinity) {
      this.#octetsLeft = this.#draw("cut in RETR")?.whole(0, 20_000) ?? Infinity;
    } else if (verb === "DELE") {
      const isFirst = !this.#hasDeleted;
      this.#hasDeleted = true;
      if (isFirst && this.#draw("cut at DELE")) this.#octetsLeft = 0;
    } else if (verb === "QUIT" && this.#hasDeleted) {
      if (this.#draw("QUIT lost")) {
        this.#end();
        return false;
      }
      if (this.#draw("QUIT unanswered")) this.#isMute = true;
    }
    return true;
  }

  #onAnswers(chunk: Buffer): void {
    if (this.#isMute) return this.#end();
    if (chunk.length >= this.#octetsLeft) {
      const passes = chunk.subarray(0, this.#octetsLeft);
      this.near.write(passes, () => this.#end());
      this.#isMute = true;
      return;
    }
    this.#octetsLeft -= chunk.length;
    if (!this.near.write(chunk)) {
      this.far.pause();
      this.near.once("drain", () => this.far.resume());
    }
  }
}
