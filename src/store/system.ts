import { randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import type { Disk } from "../shared/disk.js";
import type { Layout } from "./layout.js";
import { type StoreLock, takeLock } from "../shared/lock.js";
import { makeDirectory } from "../shared/make-directory.js";
import { nodeDisk } from "../shared/node-disk.js";
import { nedbViews, type ViewFiles } from "./view-file.js";

/** What the store needs of the world besides the journal's disk. The simulation brings its own. */
export interface StoreSystem {
  readonly views: ViewFiles;
  /** Where the views and their checkpoint lie. */
  readonly viewDisk: Disk;
  /** Monotonic. */
  nowMs(): number;
  /** Calls `run` every so many ms until it is stopped. Does not keep the process alive. */
  every(ms: number, run: () => void): () => void;
  /** Calls `run` in the next turn, so that all that is asked for in this one goes together. */
  nextTurn(run: () => void): void;
  randomBytes(octets: number): Buffer;
  randomUuid(): string;
  /** Makes the directory and takes it for this process. @throws StoreLockedError */
  take(layout: Layout): Promise<StoreLock>;
}

export const nodeSystem: StoreSystem = {
  views: nedbViews,
  viewDisk: nodeDisk,
  nowMs: () => performance.now(),
  every: (ms, run) => {
    const timer = setInterval(run, ms);
    timer.unref();
    return () => clearInterval(timer);
  },
  nextTurn: (run) => {
    setImmediate(run);
  },
  randomBytes,
  randomUuid: randomUUID,
  take: (layout) => {
    for (const directory of [layout.directory, join(layout.views, "mailboxes")]) {
      makeDirectory(directory);
    }
    return takeLock(layout.directory, layout.lock);
  },
};
