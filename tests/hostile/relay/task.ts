/** What a peer's process is told to do, and what it says. */
import type { ServerEndpoints } from "../../../src/ebm/index.js";
import type { CrashAt } from "./crashing-files.js";
import type { PlanOptions } from "./plan.js";

export interface PeerTask {
  readonly name: string;
  readonly password: string;
  readonly servers: readonly ServerEndpoints[];
  /** Its journal and its books. */
  readonly folder: string;
  /** Counts its processes. */
  readonly life: number;
  readonly plan: PlanOptions;
  /** Of its plan, so many. */
  readonly sendUpTo: number;
  /** At most so many are on their way. Default 64. */
  readonly unsettledMax?: number;
  /** It ends when its application has done so many more and what it sent is consumed; absent: never. */
  readonly endAfter?: number;
  /** It has a queue and an event, and waits for "go" before it sends. */
  readonly hasBroker: boolean;
  readonly isSetUp: boolean;
  readonly crashAt?: CrashAt;
  /** The journal is compacted when it has so many octets. */
  readonly compactFromOctets?: number;
}

/** `loaded`: it can be given a task. */
export type PeerWord = "loaded" | "declared" | "ready" | { readonly failed: string };
/** `stop`: it sends nothing new. */
export type PeerOrder = { readonly task: PeerTask } | "subscribe" | "go" | "stop";
