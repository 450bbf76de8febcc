/**
 * The network between members, in our hands: each member calls the others through a CONNECT proxy
 * of its own, so every connection tells who calls whom and can be cut, without any privileges.
 *
 * `refuse` is a firewall that says so: connections of `from` to `to` are reset and new ones refused;
 * those the other way round work. `swallow` is a broken cable: nothing that `from` sends reaches
 * `to`, on whosever connection, and nobody is told. What was sent meanwhile is held back and arrives
 * when the cable is whole again, as TCP would repeat it.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { hostPort } from "../client/wire.js";

export type CutHow = "refuse" | "swallow";

/** Members are named by their ring addresses. */
export interface Link {
  readonly from: string;
  readonly to: string;
}

const linkName = ({ from, to }: Link): string => `${from}>${to}`;

export class Network {
  readonly #gates: Server[] = [];
  readonly #tunnels = new Set<Tunnel>();
  readonly #cuts = new Map<string, CutHow>();

  /** Opens the way out of a member; answers the proxy's URL, for its `grpc_proxy`. */
  async gateOf(member: string): Promise<string> {
    const gate = createServer((_, response) => void response.writeHead(405).end());
    gate.on("connect", ({ url = "" }, near: Duplex) => this.#open(member, url, near as Socket));
    gate.listen(0, "127.0.0.1");
    await once(gate, "listening");
    this.#gates.push(gate);
    return `http://127.0.0.1:${(gate.address() as AddressInfo).port}`;
  }

  /** Until `heal`. The other direction is a cut of its own. */
  cut(links: readonly Link[], how: CutHow): void {
    for (const link of links) this.#cuts.set(linkName(link), how);
    for (const tunnel of [...this.#tunnels]) tunnel.update();
  }

  /** All cuts are over. */
  heal(): void {
    this.#cuts.clear();
    for (const tunnel of [...this.#tunnels]) tunnel.update();
  }

  close(): void {
    for (const tunnel of [...this.#tunnels]) tunnel.destroy();
    for (const gate of this.#gates) gate.close();
  }

  #open(from: string, to: string, near: Socket): void {
    const cutOf = (link: Link): CutHow | undefined => this.#cuts.get(linkName(link));
    const tunnel = new Tunnel({ from, to }, near, cutOf, () => this.#tunnels.delete(tunnel));
    this.#tunnels.add(tunnel);
    tunnel.update();
  }
}

/** One connection of a member to another. */
class Tunnel {
  #far: Socket | undefined;
  #isOver = false;
  readonly #there: Pipe;
  readonly #back: Pipe;

  constructor(
    private readonly link: Link,
    private readonly near: Socket,
    private readonly cutOf: (link: Link) => CutHow | undefined,
    private readonly gone: () => void,
  ) {
    this.#there = new Pipe(near, () => this.destroy());
    this.#back = new Pipe(undefined, () => this.destroy());
    near.on("error", () => undefined);
  }

  /** What was cut or healed since? */
  update(): void {
    const { from, to } = this.link;
    if (this.cutOf({ from, to }) === "refuse") return this.destroy();
    const isDeafThere = this.cutOf({ from, to }) === "swallow";
    const isDeafBack = this.cutOf({ from: to, to: from }) === "swallow";
    // The handshake of TCP needs both ways.
    if (this.#far === undefined && !isDeafThere && !isDeafBack) this.#connect();
    this.#there.hold(isDeafThere);
    this.#back.hold(isDeafBack);
  }

  destroy(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.near.destroy();
    this.#far?.destroy();
    this.gone();
  }

  #connect(): void {
    const far = connect(hostPort(this.link.to));
    this.#far = far;
    far.setNoDelay(true);
    this.near.setNoDelay(true);
    far.on("error", () => undefined);
    far.once("close", () => {
      // Never connected: nobody listens there.
      if (this.#back.source === undefined) this.destroy();
    });
    far.once("connect", () => {
      this.near.write("HTTP/1.1 200 OK\r\n\r\n");
      this.#back.source = far;
      this.#there.connect(far);
      this.#back.connect(this.near);
      this.update();
    });
  }
}

/** One direction of a connection; while it is held, octets and ends wait. */
class Pipe {
  source: Socket | undefined;
  readonly #ended: () => void;
  #target: Socket | undefined;
  #isHeld = false;
  #hasEnded = false;
  #waiting: Buffer[] = [];

  constructor(source: Socket | undefined, ended: () => void) {
    this.source = source;
    this.#ended = ended;
    source?.once("close", () => this.#end());
  }

  connect(target: Socket): void {
    this.#target = target;
    const { source } = this;
    if (source === undefined) return;
    source.on("data", (chunk: Buffer) => this.#take(chunk));
    source.once("end", () => this.#end());
    source.once("close", () => this.#end());
  }

  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (isHeld) {
      this.source?.pause();
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const chunk of waiting) this.#take(chunk);
    if (this.#hasEnded) this.#end();
    else if (this.#target !== undefined) this.source?.resume();
  }

  #take(chunk: Buffer): void {
    const target = this.#target;
    if (this.#isHeld || target === undefined) {
      this.#waiting.push(chunk);
      return;
    }
    if (target.write(chunk)) return;
    this.source?.pause();
    target.once("drain", () => {
      if (!this.#isHeld) this.source?.resume();
    });
  }

  /** Its end is heard at the other side only while the way there is open. */
  #end(): void {
    this.#hasEnded = true;
    if (!this.#isHeld) this.#ended();
  }
}
