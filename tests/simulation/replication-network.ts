/** The network between simulated members: slow, lossy, doubling, out of order, cut or clogged. */
import {
  type PeerCaller,
  type PeerMessage,
  PeerUnavailableError,
} from "../../src/replication/ports.js";
import type { Caller } from "../../src/replication/peer-methods.js";
import type { Address, MemberUuid } from "../../src/shared/ids.js";
import { limits } from "../../src/shared/limits.js";
import { type Dice, diceFor, type SimulationClock } from "./replication-clock.js";

/** What answers at an address: one run of a member's process. */
export interface Host {
  readonly self: Caller;
  readonly up: boolean;
  /** Since when the process has done nothing, though it lives. */
  readonly frozenSinceMs: number | undefined;
  /** Runs in the process when it has time: never when it is dead, later when it is frozen. */
  perform(run: () => void): void;
  handle(from: Caller, method: string, message: PeerMessage): Promise<PeerMessage>;
  /** The connection from a member broke. */
  peerGone(uuid: MemberUuid): void;
}

/** One direction between two addresses. */
interface Link {
  readonly dice: Dice;
  /** Counts the connections: what was sent over a broken one does not arrive. */
  connection: number;
  cuts: number;
  /** Messages that wait for the end of a jam. */
  jam: (() => void)[] | undefined;
  /** Since when nothing gets through. */
  deafSinceMs: number | undefined;
  lastArrivalMs: number;
}

const never = { deafSinceMs: undefined, lastArrivalMs: 0 };

/** Without an answer for so long, the transport takes a connection for broken. */
const keepaliveMs = 3_000;

export class ReplicationNetwork {
  /** Shares of the messages, either way, that befalls it. */
  lostShare = 0;
  lateShare = 0;
  doubledShare = 0;
  overtakenShare = 0;
  /** Told what went over the wire, for the trace. */
  onMessage: (from: Address, to: Address, method: string, reply?: PeerMessage) => void = () =>
    undefined;
  /** An answer that came, or the failure in its place; a planted bug may say otherwise. */
  tamper: Tamper | undefined;

  readonly #hosts = new Map<Address, Host>();
  readonly #links = new Map<string, Link>();

  constructor(
    private readonly clock: SimulationClock,
    private readonly seed: number,
  ) {}

  attach(host: Host): void {
    this.#hosts.set(host.self.addr, host);
  }

  #link(from: Address, to: Address): Link {
    const name = `${from} ${to}`;
    let link = this.#links.get(name);
    if (!link) {
      const dice = diceFor(this.seed, name);
      link = { dice, connection: 0, cuts: 0, jam: undefined, ...never };
      this.#links.set(name, link);
    }
    return link;
  }

  /** A crash: connections break, which the others notice unless the cable is cut. */
  crashed(host: Host): void {
    for (const other of this.#hosts.values()) {
      const link = this.#link(host.self.addr, other.self.addr);
      if (other === host || link.cuts > 0) continue;
      const { connection } = link;
      const notice = (): void => {
        if (link.connection !== connection) return;
        link.connection += 1;
        other.perform(() => other.peerGone(host.self.uuid));
      };
      // The end of the connection comes behind what was sent over it.
      const atMs = Math.max(this.clock.nowMs + latencyMs(link), link.lastArrivalMs);
      this.clock.after(atMs - this.clock.nowMs, () => {
        if (link.jam) link.jam.push(notice);
        else notice();
      });
    }
  }

  /** Cuts the cable in one direction. @returns mends it */
  cut(from: Address, to: Address): () => void {
    const link = this.#link(from, to);
    link.cuts += 1;
    this.#deaf(link, from, to);
    let isCut = true;
    return () => {
      if (!isCut || link.cuts === 0) return;
      isCut = false;
      link.cuts -= 1;
      this.#hears(link);
    };
  }

  /** Messages of one direction wait until the end of the jam, and come all at once. */
  clog(from: Address, to: Address): () => void {
    const link = this.#link(from, to);
    link.jam ??= [];
    this.#deaf(link, from, to);
    return () => this.#unclog(link);
  }

  #unclog(link: Link): void {
    const waiting = link.jam ?? [];
    link.jam = undefined;
    this.#hears(link);
    for (const arrive of waiting) this.clock.after(0, arrive);
  }

  #hears(link: Link): void {
    if (link.cuts === 0 && !link.jam) link.deafSinceMs = undefined;
  }

  #deaf(link: Link, from: Address, to: Address): void {
    if (link.deafSinceMs !== undefined) return;
    const sinceMs = this.clock.nowMs;
    link.deafSinceMs = sinceMs;
    this.clock.after(keepaliveMs, () => {
      if (link.deafSinceMs === sinceMs) this.#break(from, to);
    });
  }

  /** Both ends notice that the connection is no more. */
  #break(a: Address, b: Address): void {
    const [one, other] = [this.#hosts.get(a), this.#hosts.get(b)];
    if (!one || !other || one === other) return;
    this.#link(a, b).connection += 1;
    this.#link(b, a).connection += 1;
    one.perform(() => one.peerGone(other.self.uuid));
    other.perform(() => other.peerGone(one.self.uuid));
  }

  /** A process stopped; after a while the others take it for gone. */
  froze(host: Host): void {
    const sinceMs = host.frozenSinceMs;
    this.clock.after(keepaliveMs, () => {
      if (!host.up || host.frozenSinceMs === undefined || host.frozenSinceMs !== sinceMs) return;
      for (const addr of this.#hosts.keys()) this.#break(host.self.addr, addr);
    });
  }

  mendAll(): void {
    this.lostShare = 0;
    this.lateShare = 0;
    this.doubledShare = 0;
    this.overtakenShare = 0;
    for (const link of this.#links.values()) {
      link.cuts = 0;
      if (link.jam) this.#unclog(link);
      this.#hears(link);
    }
  }

  /** What the transport of a member knows. */
  isDown(self: Address, peer: Address): boolean {
    const host = this.#hosts.get(peer);
    if (host?.up !== true) return true;
    const oldest = this.clock.nowMs - keepaliveMs;
    const since = [
      host.frozenSinceMs,
      this.#link(self, peer).deafSinceMs,
      this.#link(peer, self).deafSinceMs,
    ];
    return since.some((sinceMs) => sinceMs !== undefined && sinceMs < oldest);
  }

  callerFor(host: Host): PeerCaller {
    return {
      call: (peer, method, request, options = {}) => {
        const deadlineMs = options.deadlineMs ?? limits.peerCallDeadlineMs;
        const sent = this.#call(host, peer, method, request, deadlineMs, options.signal);
        return this.tamper
          ? this.tamper({ method, request, answer: sent, nowMs: this.clock.nowMs })
          : sent;
      },
    };
  }

  #call(
    host: Host,
    peer: Address,
    method: string,
    request: PeerMessage,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<PeerMessage> {
    return new Promise((resolve, reject) => {
      const { addr } = host.self;
      const end = (run: () => void): void => {
        cancelDeadline();
        signal?.removeEventListener("abort", abort);
        run();
      };
      const fail = (reason: PeerUnavailableError["reason"]): void =>
        end(() => reject(unavailable(peer, method, reason)));
      const cancelDeadline = this.clock.after(deadlineMs, () =>
        host.perform(() => fail("deadline")),
      );
      const abort = (): void => fail("deadline");
      signal?.addEventListener("abort", abort, { once: true });
      if (!host.up) return;
      const answer = (target: Host, run: () => void): void => {
        if (target.up) this.#carry(peer, addr, () => host.perform(run));
      };
      this.#carry(addr, peer, () => {
        const target = this.#hosts.get(peer);
        if (target?.up !== true) return host.perform(() => fail("unreachable"));
        target.perform(() => {
          this.onMessage(addr, peer, method);
          target.handle(host.self, method, request).then(
            (reply) =>
              answer(target, () => {
                this.onMessage(peer, addr, method, reply);
                end(() => resolve(reply));
              }),
            () => answer(target, () => fail("failed")),
          );
        });
      });
    });
  }

  /** One message: in order on its connection, unless something befalls it. */
  #carry(from: Address, to: Address, arrive: () => void): void {
    const link = this.#link(from, to);
    const { dice } = link;
    if (link.cuts > 0 || (this.lostShare > 0 && dice.chance(this.lostShare))) return;
    const isLate = this.lateShare > 0 && dice.chance(this.lateShare);
    const sentMs = this.clock.nowMs + (isLate ? dice.next() * 1_500 : latencyMs(link));
    const isOvertaken = this.overtakenShare > 0 && dice.chance(this.overtakenShare);
    const atMs = isOvertaken ? sentMs + dice.next() * 800 : Math.max(sentMs, link.lastArrivalMs);
    if (!isOvertaken) link.lastArrivalMs = atMs;
    const { connection } = link;
    const arriveIfConnected = (): void => {
      if (link.connection === connection) arrive();
    };
    const deliver = (): void => {
      if (link.cuts > 0) return;
      if (link.jam) link.jam.push(arriveIfConnected);
      else arriveIfConnected();
    };
    this.clock.after(atMs - this.clock.nowMs, deliver);
    if (this.doubledShare === 0 || !dice.chance(this.doubledShare)) return;
    // The second comes soon, or when everybody has forgotten the first.
    this.clock.after(atMs - this.clock.nowMs + dice.next() ** 3 * 10_000, deliver);
  }
}

const latencyMs = (link: Link): number => 1 + link.dice.next() * 9;

/** Without a stack, which would cost more than the call. */
function unavailable(peer: Address, method: string, reason: PeerUnavailableError["reason"]): Error {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const error = new PeerUnavailableError(peer, reason, `${peer}: ${method}: ${reason}`);
  Error.stackTraceLimit = stackTraceLimit;
  return error;
}

export interface TamperedCall {
  readonly method: string;
  readonly request: PeerMessage;
  readonly answer: Promise<PeerMessage>;
  readonly nowMs: number;
}

export type Tamper = (call: TamperedCall) => Promise<PeerMessage>;
