/**
 * A cable that can be cut, between one member and the others: the member makes its gRPC connections
 * through this CONNECT proxy (environment `grpc_proxy`), which forwards, refuses or swallows.
 */
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { hostPort } from "../tests/support/wire.js";

/** `reset`: connections break and new ones are refused. `silent`: nothing arrives any more. */
export type CutMode = "reset" | "silent";

interface Tunnel {
  readonly target: string;
  readonly ends: readonly Duplex[];
}

/** When TCP tries again after `sinceMs` of silence: doubled from a first wait. */
function untilRetransmission(sinceMs: number, firstMs: number): number {
  let atMs = firstMs;
  for (let waitMs = firstMs; atMs < sinceMs; ) {
    waitMs *= 2;
    atMs += waitMs;
  }
  return atMs - sinceMs;
}

export class Cable {
  readonly #server: Server = createServer();
  readonly #tunnels = new Set<Tunnel>();
  readonly #cuts = new Map<string, { readonly mode: CutMode; readonly atMs: number }>();
  /** Attempts to connect that hear nothing, and when they began. */
  readonly #waiting = new Map<() => void, { readonly target: string; readonly atMs: number }>();

  /** Answers the value of `grpc_proxy`. */
  listen(): Promise<string> {
    this.#server.on("connect", ({ url }, socket: Duplex, head) => {
      socket.on("error", () => socket.destroy());
      this.#open(url ?? "", socket, head);
    });
    this.#server.unref();
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
      });
    });
  }

  cut(target: string, mode: CutMode): void {
    this.#cuts.set(target, { mode, atMs: performance.now() });
    for (const tunnel of this.#tunnels) {
      if (tunnel.target !== target) continue;
      for (const end of tunnel.ends) {
        if (mode === "silent") end.pause();
        else (end as Socket).resetAndDestroy();
      }
    }
  }

  /** What was silent goes on when TCP would send again, attempts to connect likewise. */
  mend(): void {
    const nowMs = performance.now();
    for (const tunnel of this.#tunnels) {
      const cut = this.#cuts.get(tunnel.target);
      if (cut?.mode !== "silent") continue;
      const goOn = (): void => tunnel.ends.forEach((end) => void end.resume());
      setTimeout(goOn, untilRetransmission(nowMs - cut.atMs, 200)).unref();
    }
    for (const [goOn, { atMs }] of this.#waiting) {
      setTimeout(goOn, untilRetransmission(nowMs - atMs, 1_000)).unref();
    }
    this.#waiting.clear();
    this.#cuts.clear();
  }

  close(): void {
    this.#server.close();
    for (const { ends } of this.#tunnels) for (const end of ends) end.destroy();
  }

  #open(target: string, near: Duplex, head: Buffer): void {
    const cut = this.#cuts.get(target);
    if (cut?.mode === "reset") return void (near as Socket).resetAndDestroy();
    if (cut !== undefined) {
      const goOn = (): void => void (near.destroyed || this.#open(target, near, head));
      this.#waiting.set(goOn, { target, atMs: performance.now() });
      near.once("close", () => this.#waiting.delete(goOn));
      return;
    }
    const far = connect(hostPort(target));
    far.setNoDelay(true);
    const tunnel = { target, ends: [near, far] };
    this.#tunnels.add(tunnel);
    const over = (): void => {
      this.#tunnels.delete(tunnel);
      near.destroy();
      far.destroy();
    };
    for (const end of tunnel.ends) end.on("error", over).on("close", over);
    far.once("connect", () => {
      near.write("HTTP/1.1 200 OK\r\n\r\n");
      if (head.length > 0) far.write(head);
      near.on("data", (chunk: Buffer) => far.write(chunk));
      far.on("data", (chunk: Buffer) => near.write(chunk));
    });
  }
}
