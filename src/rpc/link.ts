import { performance } from "node:perf_hooks";
import type { Client } from "@grpc/grpc-js";
import { type PeerMessage, PeerUnavailableError } from "../replication/ports.js";
import type { Address } from "../shared/ids.js";
import { bounds } from "./bounds.js";
import { type Caller, type Exchange, openExchange } from "./exchange.js";
import { type Hello, type OutgoingItem, outgoingItem, type ReceivedAnswer } from "./frame.js";
import { failureText, packMessage, unpackMessage } from "./message.js";
import { Outbox } from "./outbox.js";

export interface LinkEvents {
  up(hello: Hello): void;
  down(reason: string): void;
}

export interface CallOptions {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Hears why a connection broke, and whether the member had been greeted on it. */
type Cut = (reason: string, wasUp: boolean) => void;

/** A call that nobody has answered yet. */
interface Outstanding {
  readonly method: string;
  readonly item: OutgoingItem;
  resolve(message: PeerMessage): void;
  /** Rejects; frees timer and listener. */
  fail(reason: PeerUnavailableError["reason"], message: string): void;
  release(): void;
}

/**
 * The way to one member. `connecting`: never reached yet, calls wait. `up`: greeted. `down`: calls
 * fail at once while it reconnects in the background. `closed`: for good.
 */
export class PeerLink {
  #state: "connecting" | "up" | "down" | "closed" = "connecting";
  #exchange: Exchange | undefined;
  #downReason = "";
  #reconnectMs: number = bounds.reconnectMsMin;
  #reconnectTimer: NodeJS.Timeout | undefined;
  #dialledAtMs = 0;
  #nextId = 0;
  readonly #outbox = new Outbox();
  readonly #outstanding = new Map<number, Outstanding>();
  /** Cuts unary calls that run over the connection. */
  readonly #cuts = new Set<Cut>();
  #usedAtMs = performance.now();

  constructor(
    readonly peer: Address,
    private readonly caller: Caller,
    private readonly events: LinkEvents,
  ) {
    this.#connect();
  }

  get state(): "connecting" | "up" | "down" | "closed" {
    return this.#state;
  }

  /** Since nobody called, in milliseconds. */
  get idleMs(): number {
    return performance.now() - this.#usedAtMs;
  }

  get framesSent(): number {
    return this.#outbox.framesSent;
  }

  /** @throws PeerUnavailableError */
  call(method: string, request: PeerMessage, options: CallOptions): Promise<PeerMessage> {
    this.#usedAtMs = performance.now();
    const obstacle = this.#obstacle(options.signal);
    if (obstacle !== undefined) return Promise.reject(obstacle);
    const id = this.#freeId();
    let item: OutgoingItem;
    try {
      const { header, blobs } = packMessage(request);
      const deadlineAtMs = this.#usedAtMs + options.deadlineMs;
      item = outgoingItem({ kind: "call", id, text: method, header, blobs, deadlineAtMs });
    } catch (error) {
      return Promise.reject(this.#error("failed", `${method}: ${failureText(error)}`));
    }
    return new Promise((resolve, reject) => {
      this.#outstanding.set(id, this.#enlist(item, options, resolve, reject));
      this.#outbox.push(item);
    });
  }

  /**
   * The connection for a unary call; `cut` hears when and why it breaks. `done` takes `cut` back.
   * @throws PeerUnavailableError
   */
  borrow(cut: Cut): { readonly client: Client; done(): void } {
    this.#usedAtMs = performance.now();
    const obstacle = this.#obstacle(undefined);
    if (obstacle !== undefined) throw obstacle;
    if (this.#exchange === undefined) throw this.#error("unreachable", "not connected");
    this.#cuts.add(cut);
    return { client: this.#exchange.client, done: () => this.#cuts.delete(cut) };
  }

  /**
   * The member has just greeted us, so it can be reached: no reason to wait for the next attempt,
   * nor for one whose first packet was lost and is sent again after seconds.
   */
  redial(): void {
    if (this.#state !== "down" && this.#state !== "connecting") return;
    const isUnderWay = this.#exchange !== undefined;
    if (isUnderWay && performance.now() - this.#dialledAtMs < bounds.redialMs) return;
    clearTimeout(this.#reconnectTimer);
    this.#exchange?.close();
    this.#connect();
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#downReason = "this member is closing its connections";
    clearTimeout(this.#reconnectTimer);
    this.#exchange?.close();
    this.#exchange = undefined;
    this.#failAll(this.#downReason, true);
  }

  #error(reason: PeerUnavailableError["reason"], message: string): PeerUnavailableError {
    return new PeerUnavailableError(this.peer, reason, `${this.peer}: ${message}`);
  }

  /** Why a call cannot even be queued. */
  #obstacle(signal: AbortSignal | undefined): PeerUnavailableError | undefined {
    if (this.#state === "closed") return this.#error("closed", this.#downReason);
    if (this.#state === "down") return this.#error("unreachable", this.#downReason);
    if (signal?.aborted === true) return this.#error("deadline", "aborted before it was sent");
    const full =
      this.#outbox.octets > bounds.queueOctetsMax ||
      this.#outstanding.size >= bounds.callsOutstandingMax;
    return full ? this.#error("unreachable", "overloaded: too much waits for it") : undefined;
  }

  #freeId(): number {
    do this.#nextId = (this.#nextId + 1) >>> 0;
    while (this.#outstanding.has(this.#nextId));
    return this.#nextId;
  }

  #enlist(
    item: OutgoingItem,
    { deadlineMs, signal }: CallOptions,
    resolve: (message: PeerMessage) => void,
    reject: (error: PeerUnavailableError) => void,
  ): Outstanding {
    const release = () => {
      this.#outstanding.delete(item.id);
      this.#outbox.drop(item);
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    const fail = (reason: PeerUnavailableError["reason"], message: string) => {
      release();
      reject(this.#error(reason, message));
    };
    const onAbort = () => fail("deadline", `${item.text} aborted`);
    const timer = setTimeout(
      () => fail("deadline", `no answer to ${item.text} within ${deadlineMs} ms`),
      deadlineMs,
    );
    signal?.addEventListener("abort", onAbort, { once: true });
    return { method: item.text, item, resolve, fail, release };
  }

  #connect(): void {
    this.#dialledAtMs = performance.now();
    try {
      this.#exchange = this.#open();
    } catch (error) {
      // gRPC throws for an address that it cannot parse.
      this.#reconnectTimer = setTimeout(() => this.#broken(failureText(error)));
    }
  }

  #open(): Exchange {
    const exchange: Exchange = openExchange(this.peer, this.caller, {
      greeted: (hello) => {
        this.#state = "up";
        this.#reconnectMs = bounds.reconnectMsMin;
        this.#outbox.open(exchange.write);
        this.events.up(hello);
      },
      answers: (answers) => {
        for (const answer of answers) this.#settle(answer);
      },
      broken: (reason) => this.#broken(reason),
    });
    return exchange;
  }

  #settle(answer: ReceivedAnswer): void {
    // Unknown: its caller gave up.
    const call = this.#outstanding.get(answer.id);
    if (call === undefined) return;
    if (answer.failure !== "") return call.fail("failed", `${call.method}: ${answer.failure}`);
    let message: PeerMessage;
    try {
      message = unpackMessage(answer.header, answer.blobs);
    } catch (error) {
      return call.fail("failed", `answer to ${call.method}: ${failureText(error)}`);
    }
    call.release();
    call.resolve(message);
  }

  #broken(reason: string): void {
    const before = this.#state;
    this.#exchange = undefined;
    this.#state = "down";
    this.#downReason = reason;
    this.#failAll(reason, before === "up");
    const delayMs = this.#reconnectMs;
    this.#reconnectMs = Math.min(delayMs * 2, bounds.reconnectMsMax);
    this.#reconnectTimer = setTimeout(() => this.#connect(), delayMs);
    // A process that has nothing else to do need not stay for a peer that is gone.
    this.#reconnectTimer.unref();
    if (before !== "down") this.events.down(reason);
  }

  #failAll(reason: string, wasUp: boolean): void {
    for (const call of [...this.#outstanding.values()]) {
      const unsent = this.#outbox.has(call.item);
      if (unsent) call.fail("unreachable", reason);
      else call.fail("closed", `connection lost before the answer to ${call.method}: ${reason}`);
    }
    this.#outbox.close();
    for (const cut of [...this.#cuts]) cut(reason, wasUp);
    this.#cuts.clear();
  }
}
