/** A member's real store (journal, recovery, compaction, views) over simulated files. */
import type { Copy } from "../../src/replication/delivery.js";
import type { Files } from "../../src/replication/ports.js";
import type { MessageId } from "../../src/shared/ids.js";
import type { Log } from "../../src/shared/log.js";
import type { Operation } from "../../src/shared/operation.js";
import type { Disk } from "../../src/shared/disk.js";
import { type DurableStore, openStore } from "../../src/store/index.js";
import type { StoreLimits } from "../../src/store/options.js";
import { SimulatedDisk } from "../../src/store/simulated-disk.js";
import type { StoreSystem } from "../../src/store/system.js";
import type {
  OpenedStore,
  OpenOptions,
  SimulatedStorage,
  StorageOptions,
} from "./replication-disks.js";
import { simulatedViews } from "./replication-views.js";

const directory = "/data";

export interface JournalOptions extends StorageOptions {
  /** What the store sees of its disk: for planted bugs. */
  readonly wrapDisk?: (disk: SimulatedDisk) => Disk;
}

export class JournalStorage implements SimulatedStorage {
  readonly #disk: SimulatedDisk;
  readonly #limits: Partial<StoreLimits>;
  /** What was written, to find it again on the disk. */
  readonly #bodies: { readonly digest: string; readonly bytes: Buffer }[] = [];
  /**
   * What a start finds at the end of a real journal, whose segments are ten thousand times as long:
   * there, a compaction does not come to the mails of the last seconds and forget their doubts.
   */
  readonly #unconfirmed = new Map<MessageId, Copy>();
  #isFull = false;

  constructor(private readonly options: JournalOptions) {
    const { dice } = options;
    this.#disk = new SimulatedDisk(dice.next);
    // Small, so that segments, checkpoints and views come and go within seconds.
    this.#limits = {
      segmentOctets: 6_000,
      inlineBodyOctetsMax: dice.chance(0.3) ? 6 : 1_000,
      tombstonesPerPack: 3,
      checkpointOctets: 4_000,
      checkpointIdleMs: 1_500,
      openViewsMax: 2,
      openViewDocumentsMax: 200,
      closeIdleAfterMs: 3_000,
      flushAfterMs: 400,
      flushClosedAfterMs: 1_000,
      pendingPerMailboxMax: 20,
      compactDeadShare: 0.3,
      compactAutomatically: dice.chance(0.5),
    };
  }

  async open(options: OpenOptions): Promise<OpenedStore> {
    const disk = this.#disk;
    disk.wait = (operation) => this.#latency(options, operation);
    disk.freeOctets = this.#isFull ? 0 : Infinity;
    const store = await openStore({
      directory,
      log: logFor(options),
      limits: this.#limits,
      disk: this.options.wrapDisk?.(disk) ?? disk,
      system: this.#system(options),
    });
    this.#remember(store);
    return {
      store,
      files: filesOn(disk),
      recent: this.#limits.compactAutomatically
        ? [...this.#unconfirmed.values()]
        : store.lastMessages,
      onFailure: (listener) => store.onFailure(listener),
    };
  }

  #latency(options: OpenOptions, operation: "sync" | "other"): Promise<void> {
    const { dice, flushMaxMs } = this.options;
    const ms = dice.next() * (operation === "sync" ? flushMaxMs : 0.2);
    return new Promise((resolve) => options.after(ms, resolve));
  }

  #system(options: OpenOptions): StoreSystem {
    const { dice } = this.options;
    const randomBytes = (octets: number): Buffer =>
      Buffer.from(Array.from({ length: octets }, () => dice.integer(256)));
    return {
      views: simulatedViews(this.#disk),
      viewDisk: this.#disk,
      nowMs: options.monotonicMs,
      every: (ms, run) => {
        let isOver = false;
        const again = (): void => {
          options.after(ms, () => {
            if (isOver) return;
            run();
            again();
          });
        };
        again();
        return () => {
          isOver = true;
        };
      },
      nextTurn: (run) => {
        options.after(0, run);
      },
      randomBytes,
      randomUuid: () => randomBytes(16).toString("hex"),
      take: () => Promise.resolve({ release: () => Promise.resolve() }),
    };
  }

  #remember(store: DurableStore): void {
    const write = store.write.bind(store);
    store.write = (operations, bodies = []) => {
      for (const body of bodies) if (body.kind === "bytes") this.#bodies.push(body);
      for (const operation of operations) this.#note(operation);
      return write(operations, bodies);
    };
  }

  #note(operation: Operation): void {
    if (operation.kind === "AddMessage") {
      const { mailbox, message } = operation;
      this.#unconfirmed.set(message.id, { mailbox, message });
    } else if (operation.kind === "ConfirmMessages") {
      for (const id of operation.ids) this.#unconfirmed.delete(id);
    }
  }

  crash(kind: "power" | "process"): void {
    if (kind === "power") this.#disk.crash();
    else this.#disk.restart();
  }

  setFull(full: boolean): void {
    this.#isFull = full;
    this.#disk.freeOctets = full ? this.options.dice.integer(3_000) : Infinity;
  }

  failSync(): void {
    this.#disk.failSyncs = true;
  }

  mend(): void {
    this.setFull(false);
    this.#disk.failSyncs = false;
  }

  flipBit(): string | undefined {
    const { dice } = this.options;
    const body = dice.pick(this.#bodies);
    if (!body) return undefined;
    const disk = this.#disk;
    for (const path of disk.paths()) {
      const isFile = path.endsWith(body.digest);
      if (!isFile && !path.endsWith(".log")) continue;
      const at = isFile ? 0 : disk.contentOf(path).indexOf(body.bytes);
      if (at < 0) continue;
      disk.flip(path, at + dice.integer(body.bytes.length));
      return `body ${body.digest.slice(0, 8)} in ${path}`;
    }
    return undefined;
  }
}

function logFor(options: OpenOptions): Log {
  const warn = (fields: object, message: string): void => {
    options.warn(`store: ${message} ${JSON.stringify(fields)}`);
  };
  return { debug: () => undefined, info: warn, warn, error: warn };
}

/** The spool on a simulated disk. */
function filesOn(disk: SimulatedDisk): Files {
  return {
    create: (path) => {
      const file = disk.open(path, "create");
      let octets = 0;
      return Promise.resolve({
        path,
        append: async (chunk) => {
          const position = octets;
          octets += chunk.length;
          const written = await file.writev([chunk], position);
          if (written < chunk.length) throw Object.assign(new Error("full"), { code: "ENOSPC" });
        },
        close: () => Promise.resolve(file.close()),
      });
    },
    link: (from, to) => disk.link(from, to),
    read: async (path, offset, length) => {
      const buffer = Buffer.allocUnsafe(length);
      return buffer.subarray(0, await disk.open(path, "read").read(buffer, offset));
    },
    remove: async (path) => {
      if (disk.exists(path)) await disk.unlink(path);
    },
  };
}
