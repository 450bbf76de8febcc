import { join } from "node:path";
import type {
  BodyRange,
  CatalogEntry,
  MailboxContents,
  MailboxSummary,
  Store,
} from "../replication/ports.js";
import type { Body } from "../shared/body.js";
import type { BodyDigest, MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type { Floor } from "../shared/floor.js";
import type { Log } from "../shared/log.js";
import type { Operation, RegisterState } from "../shared/operation.js";
import type { StoreFailedError } from "../shared/store-errors.js";
import type { Checkpoints } from "./checkpoint.js";
import { Compaction, type CompactionReport } from "./compaction.js";
import { Unhurried } from "./leisure.js";
import type { Leisure } from "./segment-scan.js";
import type { Disk } from "../shared/disk.js";
import type { Journal, SealedSegment } from "./journal.js";
import type { Layout } from "./layout.js";
import type { StoreLock } from "../shared/lock.js";
import type { StoreLimits } from "./options.js";
import { Recent } from "./recent.js";
import type { AddedMessage, Segments } from "./replay.js";
import type { State } from "./state.js";
import type { StoreSystem } from "./system.js";
import { Writer } from "./writer.js";

export interface StoreStats {
  readonly journalOctets: number;
  readonly segments: number;
  /** Estimate; a compaction finds out. */
  readonly deadOctets: number;
  readonly openViews: number;
  /** Messages and tombstones in the open views. */
  readonly openViewDocuments: number;
  /** Operations that are not in a view file yet. */
  readonly pendingOperations: number;
  readonly mailboxes: number;
  readonly registers: number;
  /** An fsync failed: nothing is acknowledged any more. */
  readonly failed: boolean;
}

/** The store of one node on its disk. */
export interface DurableStore extends Store {
  /** Made at the first start of the directory, and kept. */
  readonly identity: MemberUuid;
  /** What was added last before this start, oldest first: its acknowledgement may be unknown. */
  readonly lastMessages: readonly AddedMessage[];
  stats(): StoreStats;
  /** Rewrites segments with garbage now. @throws StoreFullError, StoreFailedError */
  compact(): Promise<CompactionReport>;
  /** Waits for writes, writes the views, releases the lock. */
  close(): Promise<void>;
  /** Called once, when an fsync failed; at once when that was before. */
  onFailure(listener: (error: StoreFailedError) => void): void;
}

export interface StoreParts {
  readonly identity: MemberUuid;
  readonly lastMessages: readonly AddedMessage[];
  readonly salt: number;
  readonly disk: Disk;
  readonly layout: Layout;
  readonly limits: StoreLimits;
  readonly log: Log;
  readonly system: StoreSystem;
  readonly lock: StoreLock;
  readonly segments: Segments;
  readonly state: State;
  readonly journal: Journal;
  readonly checkpoints: Checkpoints;
}

const tickMs = 250;
const retryCheckpointMs = 10_000;
const vouchedMax = 20_000;
/** What `compact()` asks of a segment; by itself the store waits for `compactDeadShare`. */
const explicitDeadShare = 0.1;
/** Segments of one run: its memory is that of their bodies' digests. */
const segmentsPerRunMax = 8;
/** More that wait to be compacted, and there is no time for rests. */
const leisurelySegmentsMax = 3;

export class JournalStore implements DurableStore {
  readonly identity: MemberUuid;
  readonly lastMessages: readonly AddedMessage[];
  readonly #writer: Writer;
  readonly #stopTicking: () => void;
  readonly #listeners: ((error: StoreFailedError) => void)[] = [];
  readonly #vouched = new Recent<number>(vouchedMax);
  #closing: Promise<void> | undefined;
  #checkpointing: Promise<void> | undefined;
  #compacting: Promise<unknown> | undefined;
  #leisure: Unhurried | undefined;
  #octetsSinceCheckpoint = 0;
  #lastWriteMs = 0;
  #noCheckpointBeforeMs = 0;

  constructor(private readonly parts: StoreParts) {
    this.identity = parts.identity;
    this.lastMessages = parts.lastMessages;
    this.#writer = new Writer({
      ...parts,
      spoolPath: () => this.spoolPath(),
      onWritten: (octets) => {
        this.#octetsSinceCheckpoint += octets;
        this.#lastWriteMs = this.parts.system.nowMs();
      },
    });
    this.#stopTicking = parts.system.every(tickMs, () => {
      this.#tick();
    });
  }

  write(operations: readonly Operation[], bodies: readonly Body[] = []): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(new Error("the store is closed"));
    return this.#writer.write(operations, bodies);
  }

  durable(): Promise<void> {
    return this.#writer.durable();
  }

  async contents(mailbox: MailboxName): Promise<MailboxContents> {
    await this.#landed(mailbox);
    return this.parts.state.mailboxes.contents(mailbox);
  }

  async summary(mailbox: MailboxName): Promise<MailboxSummary> {
    await this.#landed(mailbox);
    return this.parts.state.mailboxes.summary(mailbox);
  }

  async floor(mailbox: MailboxName): Promise<Floor | undefined> {
    await this.#landed(mailbox);
    return this.parts.state.mailboxes.withModel(mailbox, (model) => model.floor);
  }

  async #landed(mailbox: MailboxName): Promise<void> {
    const isFlying = this.parts.state.mailboxes.isFlying(mailbox);
    if (isFlying || this.#writer.isStaged(mailbox)) await this.#writer.settled();
  }

  hasMailbox(mailbox: MailboxName): boolean {
    return this.parts.state.mailboxes.has(mailbox) || this.#writer.isStaged(mailbox);
  }

  catalog(): Iterable<CatalogEntry> {
    return this.parts.state.mailboxes.catalog();
  }

  register(name: string): RegisterState | undefined {
    return this.parts.state.registers.get(name);
  }

  registers(): Iterable<readonly [string, RegisterState]> {
    return this.parts.state.registers.entries();
  }

  local(key: string): unknown {
    return this.parts.state.locals.get(key);
  }

  journaled(id: MessageId): Promise<AddedMessage | undefined> {
    return this.parts.segments.added(id, () => this.parts.journal.end);
  }

  async hasBody(digest: BodyDigest): Promise<boolean> {
    const { bodies } = this.parts.state;
    if (this.#writer.isFlying(digest)) await this.#writer.settled();
    if (!bodies.has(digest) && bodies.indexing) await bodies.indexed();
    const has = bodies.has(digest);
    if (has) this.#vouched.set(digest, this.parts.system.nowMs());
    return has;
  }

  async readBody(digest: BodyDigest, range?: BodyRange): Promise<Buffer | undefined> {
    if (this.#writer.isFlying(digest)) await this.#writer.settled();
    return this.parts.state.bodies.read(digest, range);
  }

  spoolPath(): string {
    return join(this.parts.layout.spool, this.parts.system.randomUuid());
  }

  stats(): StoreStats {
    const { journal, segments, state } = this.parts;
    const sealed = [...segments.octets].filter(([segment]) => segment < journal.end.segment);
    const { views, documents } = state.mailboxes.openViews;
    return {
      journalOctets: sealed.reduce((sum, [, octets]) => sum + octets, journal.end.offset),
      segments: sealed.length + 1,
      deadOctets: [...state.dead.values()].reduce((sum, octets) => sum + octets, 0),
      openViews: views,
      openViewDocuments: documents,
      pendingOperations: state.mailboxes.operationsWaiting,
      mailboxes: state.mailboxes.size,
      registers: state.registers.size,
      failed: journal.failure !== undefined,
    };
  }

  onFailure(listener: (error: StoreFailedError) => void): void {
    const { failure } = this.parts.journal;
    if (failure === undefined) this.#listeners.push(listener);
    else listener(failure);
  }

  /** The journal tells that an fsync failed. */
  failed(error: StoreFailedError): void {
    this.parts.log.error({ err: error }, "the disk failed: this node acknowledges nothing more");
    for (const listener of this.#listeners.splice(0)) listener(error);
  }

  /** The journal tells that it began a new segment. */
  sealed(sealed: SealedSegment): void {
    const { segments, state } = this.parts;
    segments.octets.set(sealed.segment, sealed.octets);
    segments.octets.set(sealed.segment + 1, 0);
    state.bodies.seal(sealed);
  }

  async compact(): Promise<CompactionReport> {
    this.#leisure?.end();
    while (this.#compacting !== undefined) await this.#compacting;
    return this.#exclusiveCompaction(async () => {
      await this.parts.journal.rotate();
      const report = await this.#compactAbove(explicitDeadShare);
      await this.#compaction().sweepFiles();
      return report;
    });
  }

  #exclusiveCompaction<T>(task: () => Promise<T>): Promise<T> {
    const running = task();
    const quiet = running.then(
      () => undefined,
      () => undefined,
    );
    this.#compacting = quiet.then(() => {
      this.#compacting = undefined;
    });
    return running;
  }

  #compaction(leisure?: Leisure): Compaction {
    const { limits } = this.parts;
    return new Compaction({
      ...this.parts,
      leisure,
      writer: this.#writer,
      isVouched: (digest) => {
        const sinceMs = this.#vouched.get(digest);
        return sinceMs !== undefined && this.parts.system.nowMs() - sinceMs < limits.vouchedBodyMs;
      },
    });
  }

  #segmentsAbove(share: number): number[] {
    const { journal, segments, state } = this.parts;
    return [...segments.octets].flatMap(([segment, octets]) => {
      const isSealed = segment < journal.end.segment;
      return isSealed && (state.dead.get(segment) ?? 0) > octets * share ? [segment] : [];
    });
  }

  async #compactAbove(share: number, leisure?: Leisure): Promise<CompactionReport> {
    const total = { segments: 0, copiedOctets: 0, freedOctets: 0 };
    const condemned = this.#segmentsAbove(share);
    if (condemned.length === 0) return total;
    await this.#checkpoint();
    while (condemned.length > 0) {
      const some = condemned.splice(0, segmentsPerRunMax);
      const done = await this.#compaction(leisure).run(some);
      total.segments += done.segments;
      total.copiedOctets += done.copiedOctets;
      total.freedOctets += done.freedOctets;
    }
    return total;
  }

  #tick(): void {
    const { limits, log, state } = this.parts;
    state.mailboxes.maintain();
    const now = this.parts.system.nowMs();
    const isIdle = now - this.#lastWriteMs > limits.checkpointIdleMs;
    const isDue =
      this.#octetsSinceCheckpoint >= limits.checkpointOctets ||
      (isIdle && this.#octetsSinceCheckpoint > 0);
    if (isDue && this.#checkpointing === undefined && now >= this.#noCheckpointBeforeMs) {
      this.#checkpoint().catch((error: unknown) => {
        this.#noCheckpointBeforeMs = this.parts.system.nowMs() + retryCheckpointMs;
        log.warn({ err: error }, "no checkpoint could be taken; the next start takes longer");
      });
    }
    if (!limits.compactAutomatically || this.#compacting !== undefined) return;
    if (this.parts.journal.failure !== undefined) return;
    if (this.#segmentsAbove(limits.compactDeadShare).length === 0) return;
    const condemned = (): number[] => this.#segmentsAbove(limits.compactDeadShare);
    const isUrgent = (): boolean => condemned().length > leisurelySegmentsMax;
    const leisure = new Unhurried(this.parts.system, isUrgent);
    this.#leisure = leisure;
    this.#exclusiveCompaction(() => this.#compactAbove(limits.compactDeadShare, leisure)).catch(
      (error: unknown) => {
        log.warn({ err: error }, "the journal could not be compacted; trying again");
      },
    );
  }

  /** One at a time; a caller gets one that began after its call. */
  async #checkpoint(): Promise<void> {
    while (this.#checkpointing !== undefined) await this.#checkpointing;
    const taking = this.#takeCheckpoint();
    this.#checkpointing = taking
      .catch(() => undefined)
      .then(() => {
        this.#checkpointing = undefined;
      });
    await taking;
  }

  async #takeCheckpoint(): Promise<void> {
    const octets = this.#octetsSinceCheckpoint;
    await this.parts.checkpoints.take(this.parts.journal.end);
    this.#octetsSinceCheckpoint -= octets;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { journal, lock, log, state } = this.parts;
    this.#stopTicking();
    this.#leisure?.end();
    try {
      await this.#writer.settled();
      await this.#compacting;
      await journal.drained();
      // Without a sound journal the views must not claim anything.
      if (journal.failure === undefined) await this.#checkpoint();
    } catch (error) {
      log.warn({ err: error }, "closed without a checkpoint; the next start takes longer");
    } finally {
      // Nothing may touch the directory after the lock is released.
      while (this.#checkpointing !== undefined) await this.#checkpointing;
      await state.mailboxes.close();
      await state.bodies.close();
      await journal.close();
      await lock.release();
    }
  }
}
