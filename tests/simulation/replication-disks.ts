/** What lies under a simulated member: its disk, over all the runs of its process. */
import type { Copy } from "../../src/replication/delivery.js";
import type { Files, Store } from "../../src/replication/ports.js";
import type { StoreFailedError } from "../../src/shared/store-errors.js";
import type { Dice } from "./replication-clock.js";

/** A store as one run of a process has it. */
export interface OpenedStore {
  readonly store: Store;
  readonly files: Files;
  /** What was added last before this start, oldest first. */
  readonly recent: readonly Copy[];
  /** Called when a sync failed: the process has to end. */
  onFailure(listener: (error: StoreFailedError) => void): void;
}

export interface OpenOptions {
  /** Runs after so many ms, if the process lives and has time. */
  readonly after: (ms: number, run: () => void) => () => void;
  readonly monotonicMs: () => number;
  /** Told what is unusual. */
  readonly warn: (text: string) => void;
}

export interface SimulatedStorage {
  open(options: OpenOptions): Promise<OpenedStore>;
  /** `power`: what was not synced is there in part. `process`: all that was written is there. */
  crash(kind: "power" | "process"): void;
  /** While it is full, writes are refused. */
  setFull(full: boolean): void;
  /** The next sync fails, until the next crash. */
  failSync(): void;
  /** Nothing is wrong with it any more. */
  mend(): void;
  /** Damages a stored body. @returns what, or undefined when there is nothing to damage */
  flipBit(): string | undefined;
}

export interface StorageOptions {
  readonly dice: Dice;
  /** The longest that a sync takes. */
  readonly flushMaxMs: number;
}
