import { dirname, join } from "node:path";
import { isSunk } from "../shared/floor.js";
import type { MailboxName } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import { indexName } from "./bodies.js";
import { type Disk, unlinkIfThere } from "../shared/disk.js";
import type { Layout } from "./layout.js";
import { isPackable } from "./packed-removals.js";
import type { PendingOperation } from "./mailbox.js";
import type { MailboxModel } from "./mailbox-model.js";
import type { JournaledOperation } from "./journaled-operation.js";
import { isOfMailbox, locationsOf, type Segments } from "./replay.js";
import type { Leisure, ScanResult } from "./segment-scan.js";
import type { State } from "./state.js";
import type { Writer } from "./writer.js";

export interface CompactionReport {
  /** Segments that were deleted. */
  readonly segments: number;
  /** Octets that their live records took when copied. */
  readonly copiedOctets: number;
  readonly freedOctets: number;
}

export interface CompactionOptions {
  readonly disk: Disk;
  readonly layout: Layout;
  readonly log: Log;
  readonly segments: Segments;
  readonly state: State;
  readonly writer: Writer;
  /** Somebody was told lately that the node has this body, and may be about to refer to it. */
  readonly isVouched: (digest: string) => boolean;
  /** Default: there is no time. */
  readonly leisure?: Leisure | undefined;
}

/** Copies are waited for when this much is on the way. */
const copyOctetsMax = 4 * 1024 * 1024;
const removalsPerRecord = 2_000;

/**
 * Deletes sealed segments after copying forward what is still needed. Nothing is deleted before its
 * copy is durable, and only what is proven dead is not copied: a message with a tombstone, what is below a
 * mailbox's floor, anything of an older epoch or version, a body that no live message refers to and nobody asked for meanwhile.
 * Records do not depend on their order, so a crash at any point leaves only duplicates.
 *
 * The views must reflect the condemned segments (a checkpoint behind them).
 */
export class Compaction {
  /** Bodies whose place is in a condemned segment; true when they are needed. */
  readonly #bodies = new Map<string, boolean>();
  readonly #copied = new Set<string>();
  readonly #flying = new Set<Promise<void>>();
  #flyingOctets = 0;
  #copiedOctets = 0;

  constructor(private readonly options: CompactionOptions) {}

  async run(condemned: readonly number[]): Promise<CompactionReport> {
    const { state, writer } = this.options;
    state.bodies.watched = new Set();
    try {
      // What was begun before the watch is in the views after this.
      await writer.settled();
      const sound = await this.#findBodies(condemned);
      await this.#mark();
      let freedOctets = 0;
      for (const segment of sound) freedOctets += await this.#compact(segment);
      return { segments: sound.length, copiedOctets: this.#copiedOctets, freedOctets };
    } finally {
      state.bodies.watched = undefined;
      await Promise.allSettled(this.#flying);
    }
  }

  /** Segments with damaged places stay as they are: there may be something to save. */
  async #findBodies(condemned: readonly number[]): Promise<number[]> {
    const { state } = this.options;
    const sound: number[] = [];
    for (const segment of condemned) {
      const found: string[] = [];
      const { damaged, end } = await this.#scan(segment, (record) => {
        for (const [digest, { offset }] of locationsOf(record, segment)) {
          const place = state.bodies.locate(digest);
          // Otherwise it was written again later, and this one is not used.
          if (place?.segment === segment && place.offset === offset) found.push(digest);
        }
      });
      if (damaged.length > 0 || end !== this.options.segments.octets.get(segment)) continue;
      for (const digest of found) this.#bodies.set(digest, false);
      sound.push(segment);
    }
    return sound;
  }

  #scan(segment: number, visit: Parameters<Segments["scan"]>[1]): Promise<ScanResult> {
    const { segments, leisure } = this.options;
    return segments.scan(segment, visit, { leisure });
  }

  async #mark(): Promise<void> {
    const { mailboxes } = this.options.state;
    if (this.#bodies.size === 0) return;
    for (const name of mailboxes.names()) {
      await mailboxes.withModel(name, (model) => {
        for (const digest of model.bodies()) {
          if (this.#bodies.has(digest)) this.#bodies.set(digest, true);
        }
      });
    }
  }

  #isNeeded(digest: string): boolean {
    const { state, isVouched } = this.options;
    if (!this.#bodies.has(digest)) return false;
    return (
      this.#bodies.get(digest) === true ||
      state.bodies.watched?.has(digest) === true ||
      isVouched(digest)
    );
  }

  async #compact(segment: number): Promise<number> {
    const { segments, state, disk, layout, log } = this.options;
    const before = this.#copiedOctets;
    const dead = await this.#deadOperations(segment);
    const files = new Set<string>();
    let passes = 0;
    for (;;) {
      await this.#copy(segment, dead, files);
      // From here to `forgetSegment` nothing is awaited: no one can come to need a body in between.
      if (![...this.#here(segment)].some((digest) => this.#isUncopied(digest))) break;
      if (++passes > 100) throw new Error(`segment ${segment} does not yield a body it had`);
    }
    const octets = segments.octets.get(segment) ?? 0;
    state.bodies.forgetSegment(segment);
    for (const digest of [...this.#here(segment)]) this.#bodies.delete(digest);
    segments.octets.delete(segment);
    state.dead.delete(segment);
    await disk.unlink(segments.path(segment));
    await unlinkIfThere(disk, join(layout.journal, indexName(segment)));
    await disk.syncDirectory(layout.journal);
    for (const digest of files) await this.#unlinkFile(digest);
    const copied = this.#copiedOctets - before;
    log.info({ segment, octets, copied }, "a segment of the journal was compacted");
    return octets - copied;
  }

  *#here(segment: number): Iterable<string> {
    const { bodies } = this.options.state;
    for (const digest of this.#bodies.keys()) {
      if (bodies.locate(digest)?.segment === segment) yield digest;
    }
  }

  #isUncopied(digest: string): boolean {
    return this.#isNeeded(digest) && !this.#copied.has(digest);
  }

  async #unlinkFile(digest: string): Promise<void> {
    const { writer } = this.options;
    await writer.inFileTurn(digest, () => writer.unlinkUnknown(digest));
  }

  /**
   * Keys of what is over of a segment, mailbox by mailbox: messages that have a tombstone or are below the
   * floor, tombstones below it, and lower floors.
   */
  async #deadOperations(segment: number): Promise<Set<string>> {
    const { state } = this.options;
    const byMailbox = new Map<MailboxName, PendingOperation[]>();
    await this.#scan(segment, ({ header }) => {
      for (const operation of header.operations) {
        if (!isOfMailbox(operation)) continue;
        const operations = byMailbox.get(operation.mailbox);
        if (operations === undefined) byMailbox.set(operation.mailbox, [operation]);
        else operations.push(operation);
      }
    });
    const dead = new Set<string>();
    for (const [mailbox, operations] of byMailbox) {
      await state.mailboxes.withModel(mailbox, (model) => {
        for (const operation of operations)
          if (isOver(model, operation)) dead.add(keyOf(operation));
      });
    }
    return dead;
  }

  /** Copies the operations (once) and the needed bodies of a segment; resolves when durable. */
  async #copy(segment: number, dead: Set<string>, files: Set<string>): Promise<void> {
    const isFirst = !this.#copied.has(`segment ${segment}`);
    this.#copied.add(`segment ${segment}`);
    // Those of many records go together, which takes little room.
    const removals: JournaledOperation[] = [];
    await this.#scan(segment, (record) => {
      const live = isFirst
        ? record.header.operations.filter((operation) => this.#isLive(operation, dead))
        : [];
      const operations = live.filter((operation) => !isPackable(operation));
      removals.push(...live.filter(isPackable));
      if (removals.length >= removalsPerRecord) this.#append(removals.splice(0), [], []);
      const bodies: [string, Buffer][] = [];
      for (const [digest, { offset, octets }] of locationsOf(record, segment)) {
        if (offset === undefined || !this.#isUncopied(digest)) continue;
        const from = offset - record.bodyOffset;
        bodies.push([digest, Buffer.from(record.body.subarray(from, from + octets))]);
        this.#copied.add(digest);
      }
      const keptFiles = record.header.files.filter(([digest]) => {
        files.add(digest);
        if (!this.#isUncopied(digest)) return false;
        this.#copied.add(digest);
        return true;
      });
      if (operations.length + bodies.length + keptFiles.length === 0) return undefined;
      this.#append(operations, bodies, keptFiles);
      return this.#flyingOctets > copyOctetsMax ? this.#landed() : undefined;
    });
    if (removals.length > 0) this.#append(removals, [], []);
    await this.#landed();
  }

  #append(
    operations: readonly JournaledOperation[],
    bodies: readonly (readonly [string, Buffer])[],
    files: readonly (readonly [string, number])[],
  ): void {
    const octets =
      operations.reduce((sum, each) => sum + (isPackable(each) ? 24 : 700), 0) +
      bodies.reduce((sum, [, bytes]) => sum + bytes.length, 0);
    this.#flyingOctets += octets;
    this.#copiedOctets += octets;
    this.#flying.add(this.options.writer.appendCopy(operations, bodies, files));
  }

  /** @throws StoreFullError, StoreFailedError: then nothing is deleted */
  async #landed(): Promise<void> {
    const flying = [...this.#flying];
    this.#flyingOctets = 0;
    await Promise.all(flying);
    for (const copy of flying) this.#flying.delete(copy);
  }

  #isLive(operation: JournaledOperation, dead: ReadonlySet<string>): boolean {
    const { mailboxes, registers, locals } = this.options.state;
    switch (operation.kind) {
      case "PutRegister":
        return registers.isCurrent(operation.register, operation.version);
      case "PutLocal":
        return locals.isCurrent(operation.key, operation.version);
      case "ConfirmMessages":
        // Copies of these mails are marked as such, so nobody takes them for new ones.
        return false;
      case "DropMailbox":
        return operation.epoch >= mailboxes.epochOf(operation.mailbox);
      case "AddMessage":
      case "RemoveMessage":
      case "RaiseFloor": {
        if (operation.epoch < mailboxes.epochOf(operation.mailbox)) return false;
        const key = keyOf(operation);
        // One copy of a duplicate is enough: an equal record was copied by this run.
        if (dead.has(key) || this.#copied.has(key)) return false;
        this.#copied.add(key);
        return true;
      }
    }
  }

  /** Deletes body files that no record names: a crash can leave one. */
  async sweepFiles(): Promise<void> {
    const { disk, layout } = this.options;
    for (const directory of await disk.list(layout.bodies)) {
      for (const digest of await disk.list(join(layout.bodies, directory))) {
        if (/^[0-9a-f]{64}$/.test(digest)) await this.#unlinkFile(digest);
      }
    }
    await disk.syncDirectory(dirname(layout.bodies));
  }
}

function keyOf(operation: PendingOperation): string {
  const { kind, mailbox } = operation;
  if (kind === "AddMessage") return `add ${mailbox} ${operation.message.id}`;
  if (kind === "RemoveMessage") return `remove ${mailbox} ${operation.tombstone.id}`;
  return `floor ${mailbox} ${operation.floor.below}`;
}

/** Does nothing depend on it any more? What makes it so is durable, and copied in its turn. */
function isOver(model: MailboxModel, operation: PendingOperation): boolean {
  if (operation.kind === "AddMessage") return model.stateOf(operation.message.id) === "removed";
  if (operation.kind === "RemoveMessage") return isSunk(model.floor, operation.tombstone.id);
  return model.floor !== undefined && operation.floor.below < model.floor.below;
}
