/** The network between simulated members: slow, lossy, cut in one direction or both. */
import {
  type PeerCaller,
  type PeerMessage,
  PeerUnavailableError,
} from "../../src/replication/ports.js";
import type { Caller } from "../../src/replication/peer-methods.js";
import type { Address, MemberUuid } from "../../src/shared/ids.js";
import { limits } from "../../src/shared/limits.js";
import type { SimulatedClock } from "./ring-network.js";

/** What answers at an address: one run of a member. */
export interface Host {
  readonly self: Caller;
  up: boolean;
  handle(from: Caller, method: string, message: PeerMessage): Promise<PeerMessage>;
  /** The connection from a member broke. */
  peerGone(uuid: MemberUuid): void;
}

interface Cut {
  readonly sinceMs: number;
}

/** Without an answer for so long, the transport takes a connection for broken. */
const keepaliveMs = 3_000;

export class ReplicationNetwork {
  /** Shares of the messages, either way, that are lost or very late. */
  lostShare = 0;
  lateShare = 0;
  /** Told what went over the wire, for the trace. */
  onMessage: (text: string) => void = () => undefined;
  /** An answer that came, or the failure in its place; a planted bug may say otherwise. */
  tamper: Tamper | undefined;

  readonly #hosts = new Map<Address, Host>();
  readonly #cuts = new Map<string, Cut>();
  readonly #lastArrivalMs = new Map<string, number>();

  constructor(
    private readonly clock: SimulatedClock,
    private readonly random: () => number,
  ) {}

  attach(host: Host): void {
    this.#hosts.set(host.self.addr, host);
  }

  /** A crash: connections break, which the others notice unless the cable is cut. */
  crashed(host: Host): void {
    for (const other of this.#hosts.values()) {
      if (other === host || this.#isCut(host.self.addr, other.self.addr)) continue;
      this.clock.after(this.#latencyMs(), () => other.up && other.peerGone(host.self.uuid));
    }
  }

  /** Cuts the cable in one direction. */
  cut(from: Address, to: Address): void {
    const sinceMs = this.clock.nowMs;
    this.#cuts.set(`${from} ${to}`, { sinceMs });
    this.clock.after(keepaliveMs, () => {
      if (this.#cuts.get(`${from} ${to}`)?.sinceMs !== sinceMs) return;
      const [a, b] = [this.#hosts.get(from), this.#hosts.get(to)];
      if (!a || !b) return;
      if (a.up) a.peerGone(b.self.uuid);
      if (b.up) b.peerGone(a.self.uuid);
    });
  }

  mend(): void {
    this.#cuts.clear();
  }

  #isCut(from: Address, to: Address): boolean {
    return this.#cuts.has(`${from} ${to}`);
  }

  /** What the transport of a member knows. */
  isDown(self: Address, peer: Address): boolean {
    if (this.#hosts.get(peer)?.up !== true) return true;
    const oldest = this.clock.nowMs - keepaliveMs;
    return [`${self} ${peer}`, `${peer} ${self}`].some((pair) => {
      const cut = this.#cuts.get(pair);
      return cut !== undefined && cut.sinceMs < oldest;
    });
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
      // Nothing happens any more to a member that crashed.
      const end = (run: () => void): void => {
        cancelDeadline();
        signal?.removeEventListener("abort", abort);
        if (host.up) run();
      };
      const fail = (reason: PeerUnavailableError["reason"]): void =>
        end(() => reject(new PeerUnavailableError(peer, reason, `${peer}: ${method}: ${reason}`)));
      const cancelDeadline = this.clock.after(deadlineMs, () => fail("deadline"));
      const abort = (): void => fail("deadline");
      signal?.addEventListener("abort", abort, { once: true });
      if (!host.up) return;
      this.#carry(host.self.addr, peer, () => {
        const target = this.#hosts.get(peer);
        if (target?.up !== true) return fail("unreachable");
        this.onMessage(`${host.self.addr} ${peer} ${method}`);
        target.handle(host.self, method, request).then(
          (reply) => {
            if (!target.up) return;
            const kind = (reply as { kind?: string }).kind ?? "";
            this.#carry(peer, host.self.addr, () => {
              this.onMessage(`${peer} ${host.self.addr} ${method} ${kind}`);
              end(() => resolve(reply));
            });
          },
          () => target.up && this.#carry(peer, host.self.addr, () => fail("failed")),
        );
      });
    });
  }

  /** One message: in order on its connection, unless it is lost. */
  #carry(from: Address, to: Address, arrive: () => void): void {
    if (this.#isCut(from, to) || this.random() < this.lostShare) return;
    const delayMs = this.random() < this.lateShare ? this.random() * 1_500 : this.#latencyMs();
    const pair = `${from} ${to}`;
    const atMs = Math.max(this.clock.nowMs + delayMs, this.#lastArrivalMs.get(pair) ?? 0);
    this.#lastArrivalMs.set(pair, atMs);
    this.clock.after(atMs - this.clock.nowMs, () => {
      if (!this.#isCut(from, to)) arrive();
    });
  }

  #latencyMs(): number {
    return 1 + this.random() * 9;
  }
}

export interface TamperedCall {
  readonly method: string;
  readonly request: PeerMessage;
  readonly answer: Promise<PeerMessage>;
  readonly nowMs: number;
}

export type Tamper = (call: TamperedCall) => Promise<PeerMessage>;
