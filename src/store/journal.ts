import { join } from "node:path";
import { StoreFailedError, StoreFullError } from "../shared/store-errors.js";
import { type Disk, type DiskFile, isFull, writeFully } from "../shared/disk.js";
import type { EncodedRecord } from "./record.js";

/** A place in the journal: everything in front of it is in older records. */
export interface JournalPosition {
  readonly segment: number;
  readonly offset: number;
}

export type AppendOutcome =
  | { readonly kind: "durable"; readonly position: JournalPosition }
  | { readonly kind: "refused"; readonly error: StoreFullError | StoreFailedError };

interface Append {
  readonly record: EncodedRecord;
  readonly settle: (outcome: AppendOutcome) => void;
}

export interface SealedSegment {
  readonly segment: number;
  readonly octets: number;
}

/** One batch is not made longer than this, so that no write waits for very much of others. */
const batchOctetsMax = 8 * 1024 * 1024;

export function segmentName(segment: number): string {
  return `${String(segment).padStart(6, "0")}.log`;
}

/**
 * The newest segment of the journal, being appended to. Group commit: what is queued in one turn of
 * the event loop, or while the disk is busy, is written with one writev and one fdatasync. Outcomes
 * are told in the order of the calls, after the fdatasync.
 */
export class Journal {
  #file: DiskFile;
  #segment: number;
  #octets: number;
  #queue: Append[] = [];
  #busy = false;
  #rotation: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #failure: StoreFailedError | undefined;
  #idle: (() => void)[] = [];

  constructor(
    private readonly options: {
      readonly disk: Disk;
      readonly directory: string;
      readonly segmentOctets: number;
      readonly nextTurn: (run: () => void) => void;
      /** The newest segment, its torn tail cut off; it exists. */
      readonly segment: number;
      readonly octets: number;
      readonly onSealed: (sealed: SealedSegment) => void;
      readonly onFailure: (error: StoreFailedError) => void;
    },
  ) {
    this.#segment = options.segment;
    this.#octets = options.octets;
    this.#file = options.disk.open(join(options.directory, segmentName(options.segment)), "write");
  }

  get failure(): StoreFailedError | undefined {
    return this.#failure;
  }

  /** Behind the last durable record. */
  get end(): JournalPosition {
    return { segment: this.#segment, offset: this.#octets };
  }

  /** Queues a record. `settle` is called once, later, in the order of the appends. */
  append(record: EncodedRecord, settle: (outcome: AppendOutcome) => void): void {
    this.#queue.push({ record, settle });
    this.#wake();
  }

  /**
   * Seals the newest segment, if it has anything, behind everything queued up to now.
   * @throws StoreFullError, StoreFailedError
   */
  async rotate(): Promise<void> {
    await this.drained();
    await new Promise<void>((resolve, reject) => {
      this.#rotation = { resolve, reject };
      this.#wake();
    });
  }

  /** Resolves when everything queued has been settled, either way. */
  drained(): Promise<void> {
    if (!this.#busy) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async close(): Promise<void> {
    await this.drained();
    this.#file.close();
  }

  #wake(): void {
    if (this.#busy) return;
    this.#busy = true;
    // The next turn, so that all that this turn queues shares the fdatasync.
    this.options.nextTurn(() => {
      void this.#run(); // #run catches everything: a disk error becomes an outcome.
    });
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0 || this.#rotation !== undefined) {
      try {
        if (this.#failure !== undefined) throw this.#failure;
        await this.#commit();
      } catch (error) {
        this.#refuseAll(error);
      }
    }
    this.#busy = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** The first records of the queue, as many as fit a batch and the segment. At least one. */
  #takeBatch(): Append[] {
    let octets = 0;
    let count = 0;
    for (const { record } of this.#queue) {
      const after = octets + record.octets;
      if (count > 0 && (after > batchOctetsMax || this.#overflows(after))) break;
      octets = after;
      count += 1;
    }
    return this.#queue.slice(0, count);
  }

  #overflows(octets: number): boolean {
    return this.#octets > 0 && this.#octets + octets > this.options.segmentOctets;
  }

  async #commit(): Promise<void> {
    const first = this.#queue[0];
    if (
      first === undefined ||
      this.#rotation !== undefined ||
      this.#overflows(first.record.octets)
    ) {
      if (this.#octets > 0) await this.#startSegment();
      this.#rotation?.resolve();
      this.#rotation = undefined;
      return;
    }
    const batch = this.#takeBatch();
    const buffers = batch.flatMap(({ record }) => record.buffers);
    try {
      await writeFully(this.#file, buffers, this.#octets);
    } catch (error) {
      await this.#cutBack();
      throw error;
    }
    await this.#sync(() => this.#file.sync());
    this.#queue.splice(0, batch.length);
    for (const { record, settle } of batch) {
      const position = { segment: this.#segment, offset: this.#octets };
      this.#octets += record.octets;
      settle({ kind: "durable", position });
    }
  }

  /** A refused batch must not be there after a crash: what got into the file is taken out again. */
  async #cutBack(): Promise<void> {
    await this.#sync(async () => {
      await this.#file.truncate(this.#octets);
      await this.#file.sync();
    });
  }

  /** A failed fsync says nothing about what is on disk, now or after another try: it is final. */
  async #sync(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      throw this.fail(error);
    }
  }

  /** Declares the disk failed, for ever. For an fsync outside of the journal too. */
  fail(error: unknown): StoreFailedError {
    if (this.#failure !== undefined) return this.#failure;
    this.#failure = new StoreFailedError(
      `the journal in ${this.options.directory} cannot be made durable: ${String(error)}`,
      { cause: error },
    );
    this.options.onFailure(this.#failure);
    return this.#failure;
  }

  async #startSegment(): Promise<void> {
    const { disk, directory } = this.options;
    const next = disk.open(join(directory, segmentName(this.#segment + 1)), "create");
    await this.#sync(() => disk.syncDirectory(directory));
    const sealed = { segment: this.#segment, octets: this.#octets };
    this.#file.close();
    this.#file = next;
    this.#segment += 1;
    this.#octets = 0;
    this.options.onSealed(sealed);
  }

  /**
   * Refuses everything queued, not the batch alone: what was queued behind it may rest on it (a
   * body that it brought, a register that it changed).
   */
  #refuseAll(cause: unknown): void {
    const error = isFull(cause)
      ? new StoreFullError(`no space left in ${this.options.directory}`, { cause })
      : this.fail(cause);
    this.#rotation?.reject(error);
    this.#rotation = undefined;
    for (const { settle } of this.#queue.splice(0)) settle({ kind: "refused", error });
  }
}
