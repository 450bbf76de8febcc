/** What replication is given, and how often it does what it does unasked. */
import type { Address, RingId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { FloorLimits } from "./floors.js";
import type { PaceLimits } from "./pace.js";
import type { Caller } from "./peer-methods.js";
import type { Clock, Files, PeerCaller, Randomness, Store } from "./ports.js";
import type { RingParameters } from "./roster.js";

export interface ReplicationTimings {
  readonly beatIntervalMs: number;
  /** A lock outlives the last sign of life of its front node by so much. */
  readonly leaseMs: number;
  readonly driveIntervalMs: number;
  readonly repairIntervalMs: number;
  readonly handOverIntervalMs: number;
  readonly evictAfterMs: number;
  readonly joinerSilentMs: number;
}

export const defaultTimings: ReplicationTimings = {
  beatIntervalMs: 500,
  leaseMs: 1_500,
  driveIntervalMs: 500,
  repairIntervalMs: 3_000,
  handOverIntervalMs: 2_000,
  evictAfterMs: 600_000,
  joinerSilentMs: 15_000,
};

export interface ReplicationOptions {
  readonly self: Caller & { readonly id: RingId };
  readonly ring: RingParameters;
  readonly store: Store;
  readonly files: Files;
  readonly caller: PeerCaller;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly log: Log;
  readonly timings: ReplicationTimings;
  /** How fast ranges and repairs are copied. */
  readonly pace?: PaceLimits;
  /** How soon tombstones are forgotten where much passes. */
  readonly floors?: FloorLimits;
  /** Known to be unreachable at this moment. */
  readonly isDown: (peer: Address) => boolean;
  /** What this member tells of itself when asked for its status. */
  readonly status: () => unknown;
}
