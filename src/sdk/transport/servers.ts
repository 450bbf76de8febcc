/** The members that a client knows: which to use, and which to leave alone for a while. */
import type { ServerEndpoints } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { closedError } from "../waiting.js";
import { TransportError } from "./failure.js";

interface Server {
  readonly endpoints: ServerEndpoints;
  failures: number;
  /** Asked again from then on. */
  restUntilMs: number;
}

export interface ServersOptions {
  readonly endpoints: readonly ServerEndpoints[];
  /** What the ports of a server were derived from, by its SMTP endpoint; absent: they were named. */
  readonly derivedFrom?: ReadonlyMap<string, string>;
  readonly nowMs: () => number;
  readonly onFailover: (event: {
    readonly from: string;
    readonly to: string;
    readonly why: string;
  }) => void;
  readonly onStatus: (state: "connected" | "offline", server?: string) => void;
  /** Ends what is tried. */
  readonly signal: AbortSignal;
}

export interface Patience {
  /** For a connection; for its greeting three times that. */
  readonly connectMs: number;
  /** For a reply. */
  readonly stallMs: number;
}

const patiences: readonly Patience[] = [
  { connectMs: 1_000, stallMs: 10_000 },
  { connectMs: 5_000, stallMs: 30_000 },
];
export const patient: Patience = { connectMs: 10_000, stallMs: 60_000 };

const restMs = { first: 500, max: 30_000 } as const;
const serversMax = 256;

/**
 * One server is used for all until it fails; then the next in order. Who failed rests, longer each
 * time, but when all rest all are tried.
 */
export class Servers {
  readonly #options: ServersOptions;
  #list: readonly Server[];
  #current: Server | undefined;
  #state: "connected" | "offline" | undefined;

  constructor(options: ServersOptions) {
    this.#options = options;
    this.#list = options.endpoints.map(fresh);
    this.#current = this.#list[0];
  }

  get all(): readonly ServerEndpoints[] {
    return this.#list.map(({ endpoints }) => endpoints);
  }

  /** Adds members that the ring names, behind those that are known. */
  learn(endpoints: readonly ServerEndpoints[]): void {
    const known = new Set(this.#list.map((server) => server.endpoints.smtp));
    const added = endpoints.filter(({ smtp }) => !known.has(smtp)).map(fresh);
    this.#list = [...this.#list, ...added].slice(0, serversMax);
  }

  /**
   * Runs `use` with the server in use; with the next when it fails by a `TransportError`. When each
   * has failed, once more with more patience: they may be slow rather than gone. Any other error,
   * and any value, is the answer.
   * @throws RingpostError `unreachable`, with the last failure as its cause
   */
  async attempt<T>(
    use: (endpoints: ServerEndpoints, patience: Patience) => Promise<T>,
  ): Promise<T> {
    let failure: TransportError | undefined;
    let failed: Server | undefined;
    for (const patience of patiences) {
      for (const server of this.#inOrder()) {
        try {
          const value = await use(server.endpoints, patience);
          this.#worked(server, failure);
          return value;
        } catch (error) {
          if (this.#options.signal.aborted) throw closedError();
          if (!(error instanceof TransportError)) {
            this.#worked(server, failure);
            throw error;
          }
          failure = error;
          failed = server;
          this.#failed(server);
        }
      }
    }
    this.#say("offline");
    const why = `no server can be reached: ${failure?.message ?? "none is known"}${this.#hint(failure, failed)}`;
    throw new RingpostError("unreachable", why, true, { cause: failure });
  }

  /** What to do about it. A port in an error that nobody named is explained. */
  #hint(failure: TransportError | undefined, server: Server | undefined): string {
    if (/\bcertificate\b/i.test(failure?.message ?? "")) {
      return "; a certificate of an authority of your own is believed with tls: { ca }";
    }
    const from = server && this.#options.derivedFrom?.get(server.endpoints.smtp);
    if (from === undefined) return "";
    return `; this port is derived from ${from}: where it is another, name smtp and pop3`;
  }

  #inOrder(): readonly Server[] {
    const now = this.#options.nowMs();
    const from = Math.max(0, this.#current === undefined ? 0 : this.#list.indexOf(this.#current));
    const turned = [...this.#list.slice(from), ...this.#list.slice(0, from)];
    const awake = turned.filter(({ restUntilMs }) => restUntilMs <= now);
    return [...awake, ...turned.filter((server) => !awake.includes(server))];
  }

  #worked(server: Server, failure: TransportError | undefined): void {
    server.failures = 0;
    server.restUntilMs = 0;
    const before = this.#current;
    this.#current = server;
    if (before !== undefined && before !== server) {
      const why = failure?.message ?? "it failed before";
      this.#options.onFailover({ from: before.endpoints.smtp, to: server.endpoints.smtp, why });
    }
    this.#say("connected", server.endpoints.smtp);
  }

  #failed(server: Server): void {
    const rest = Math.min(restMs.first * 2 ** server.failures, restMs.max);
    server.failures += 1;
    server.restUntilMs = this.#options.nowMs() + rest;
  }

  #say(state: "connected" | "offline", server?: string): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onStatus(state, server);
  }
}

const fresh = (endpoints: ServerEndpoints): Server => ({ endpoints, failures: 0, restUntilMs: 0 });
