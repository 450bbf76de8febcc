/** What the ring needs from the world, what it can be told, and what it tells. */
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { LookupResult } from "./lookup.js";
import type { MemberRef, RingParameters } from "./member.js";
import type { RingMessage } from "./message.js";
import type { StepFunction } from "./step.js";

export interface RingPorts {
  /**
   * Sends a request and resolves to the reply, which the ring checks itself.
   * Rejects when the peer cannot be reached or is silent past the deadline.
   */
  call(
    addr: Address,
    message: RingMessage,
    options: { readonly deadlineMs: number },
  ): Promise<unknown>;
  /** Runs `run` once after `ms`; returns what cancels it. */
  setTimer(ms: number, run: () => void): () => void;
  /** Uniform in [0, 1). */
  random(): number;
  /** The known members changed; they are given back as `RingOptions.known` after a restart. */
  persistCache(members: readonly MemberRef[]): void;
  readonly log: Log;
}

/** Defaults of the options below. */
export const ringDefaults = {
  successorListLength: 4,
  stabilizeIntervalMs: 500,
  fingerIntervalMs: 250,
  cacheIntervalMs: 1_000,
  callDeadlineMs: 500,
  joinDeadlineMs: 10_000,
  intervalJitter: 0.25,
} as const;

export interface RingOptions {
  readonly self: MemberRef;
  readonly parameters: RingParameters;
  /** L = max(replicas + 1, this). */
  readonly successorListLength?: number;
  /** Members known from earlier runs. */
  readonly known?: readonly MemberRef[];
  readonly stabilizeIntervalMs?: number;
  /** One finger is refreshed at a time. */
  readonly fingerIntervalMs?: number;
  /** How often known members outside the neighbourhood are tried, to find a split ring. */
  readonly cacheIntervalMs?: number;
  readonly callDeadlineMs?: number;
  /** How long `start` goes on trying. */
  readonly joinDeadlineMs?: number;
  /** Each interval is drawn from U[1 − j, 1 + j] times its length, so that members do not march. */
  readonly intervalJitter?: number;
  /** Membership, predecessor, successors or fingers changed. */
  readonly onChange?: () => void;
  /**
   * The neighbours keep refusing this member because another live one has its id (two joined at
   * the same moment). It should stop and join under another id.
   */
  readonly onDuplicate?: (reason: string) => void;
  /** The logic; simulations put broken ones here. */
  readonly step?: StepFunction;
}

export type StartMode =
  /** Explicit first start of a new ring. */
  | { readonly kind: "first" }
  | { readonly kind: "join"; readonly entries: readonly Address[] }
  /**
   * Restart with data: joins through the known members and the entries. When none of them is in a
   * ring (everything was restarted) it comes up without successors and keeps looking for them.
   */
  | { readonly kind: "resume"; readonly entries?: readonly Address[] };

type RingJoinErrorCode = "duplicate-id" | "wrong-ring" | "no-entry" | "stopped";

/** Why a node could not become a member. `message` is one line for the user. */
export class RingJoinError extends Error {
  override readonly name = "RingJoinError";
  constructor(
    readonly code: RingJoinErrorCode,
    message: string,
  ) {
    super(message);
  }
}

export interface RingSnapshot {
  readonly self: MemberRef;
  /** False before it has joined and after `stop`. */
  readonly member: boolean;
  readonly predecessor: MemberRef | undefined;
  /** Clockwise, the own member never among them; empty when alone or cut off. */
  readonly successors: readonly MemberRef[];
  /** `bits` entries, finger 0 first; those not known yet stand in as the first successor. */
  readonly fingers: readonly MemberRef[];
  readonly known: readonly MemberRef[];
}

export interface Ring {
  /** Once. @throws RingJoinError; the ring is stopped then, make a new one to try again. */
  start(mode: StartMode): Promise<void>;
  /** Answers a request from another member. Never throws, whatever the message is. */
  handle(message: unknown): RingMessage;
  lookup(key: RingId): Promise<LookupResult>;
  snapshot(): RingSnapshot;
  /** A connection to `addr` broke: checks at once rather than at the next tick. */
  suspect(addr: Address): void;
  /** A connection to `addr` stands: if the ring was split, the way back may lead through it. */
  welcome(addr: Address): void;
  /** True when the last call to that member went unanswered. */
  isSilent(uuid: MemberUuid): boolean;
  /** Candidates, e.g. from the roster. Each is adopted only after it has answered. */
  learn(members: readonly MemberRef[]): void;
  /** The member left or was evicted by agreement. */
  forget(uuid: MemberUuid): void;
  /** Stops answering and cancels all timers; nobody is told (crash-stop). */
  stop(): void;
}
