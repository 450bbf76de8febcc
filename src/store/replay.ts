import { join } from "node:path";
import type { MailboxName, MessageId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { StoredMessage } from "../shared/operation.js";
import { type Disk, errorCode, unlinkIfThere } from "../shared/disk.js";
import { indexName } from "./bodies.js";
import { type JournalPosition, segmentName } from "./journal.js";
import type { PendingOperation } from "./mailbox.js";
import type { JournaledOperation } from "./journaled-operation.js";
import { rewrite } from "./rewrite.js";
import { type Leisure, type ScannedRecord, type ScanResult, scanSegment } from "./segment-scan.js";
import type { BodyLocation } from "./segment-index.js";
import { bodyLocations, type State } from "./state.js";

/** The journal's files: which there are, and reading them from the beginning. */
export class Segments {
  /** Octets by segment, oldest first. Of the newest: what it had at the start. */
  readonly octets = new Map<number, number>();

  constructor(
    readonly options: {
      readonly disk: Disk;
      readonly directory: string;
      readonly salt: number;
      readonly log: Log;
    },
  ) {}

  path(segment: number): string {
    return join(this.options.directory, segmentName(segment));
  }

  /** Lists the segments; makes the first one where there is none. */
  async list(): Promise<void> {
    const { disk, directory } = this.options;
    const names = await disk.list(directory);
    const numbers = names.flatMap((name) => {
      const match = /^(\d{6,})\.log$/.exec(name);
      return match === null ? [] : [Number(match[1])];
    });
    for (const number of numbers.sort((a, b) => a - b)) {
      this.octets.set(number, this.#sizeOf(number));
    }
    const strayNames = new Set([...this.octets.keys()].map(indexName));
    for (const name of names) {
      const isStray = name.endsWith(".tmp") || (name.endsWith(".idx") && !strayNames.has(name));
      if (isStray) await unlinkIfThere(disk, join(directory, name));
    }
    if (numbers.length === 0) {
      disk.open(this.path(1), "create").close();
      this.octets.set(1, 0);
    }
    // Also for a segment that is there: a process that made it may have been killed before this.
    await disk.syncDirectory(directory);
  }

  #sizeOf(segment: number): number {
    const file = this.options.disk.open(this.path(segment), "read");
    const size = file.size();
    file.close();
    return size;
  }

  /** Visits the records of a segment and reports damaged places in the log. */
  async scan(
    segment: number,
    visit: (record: ScannedRecord) => void | Promise<void>,
    options: {
      readonly from?: number;
      readonly size?: number;
      readonly leisure?: Leisure | undefined;
    } = {},
  ): Promise<ScanResult> {
    const { disk, salt, log } = this.options;
    const file = disk.open(this.path(segment), "read");
    try {
      const size = options.size ?? file.size();
      const from = options.from ?? 0;
      const { leisure } = options;
      const result = await scanSegment({ file, from, size, salt, visit, leisure });
      for (const place of result.damaged) {
        log.error({ segment, ...place }, "the journal is damaged here; skipped");
      }
      return result;
    } finally {
      file.close();
    }
  }

  /** The bodies of a segment. */
  async bodies(segment: number): Promise<Map<string, BodyLocation>> {
    const bodies = new Map<string, BodyLocation>();
    await this.scan(segment, (record) => {
      for (const [digest, location] of locationsOf(record, segment)) bodies.set(digest, location);
    });
    return bodies;
  }

  /**
   * All durable operations on a mailbox, for a damaged view. Reads the whole journal, oldest first,
   * up to the end that it has when the scan gets there: a segment that a compaction deletes on the
   * way has its live records further on.
   */
  async operationsOn(
    mailbox: MailboxName,
    end: () => JournalPosition,
  ): Promise<PendingOperation[]> {
    const found: PendingOperation[] = [];
    await this.#scanAll(end, ({ header }) => {
      for (const operation of header.operations) {
        if (isOfMailbox(operation) && operation.mailbox === mailbox) found.push(operation);
      }
    });
    return found;
  }

  /** A message as it was added, deleted or not; undefined when no record of it is left. */
  async added(id: MessageId, end: () => JournalPosition): Promise<AddedMessage | undefined> {
    let found: AddedMessage | undefined;
    await this.#scanAll(end, ({ header }) => {
      for (const operation of header.operations) {
        if (operation.kind !== "AddMessage" || operation.message.id !== id) continue;
        found = { mailbox: operation.mailbox, message: operation.message };
      }
    });
    return found;
  }

  async #scanAll(
    end: () => JournalPosition,
    visit: (record: ScannedRecord) => void,
  ): Promise<void> {
    for (const segment of this.octets.keys()) {
      const { segment: newest, offset } = end();
      try {
        await this.scan(segment, visit, segment === newest ? { size: offset } : {});
      } catch (error) {
        if (errorCode(error) !== "ENOENT") throw error;
      }
    }
  }
}

export const isOfMailbox = (operation: JournaledOperation): operation is PendingOperation =>
  ["AddMessage", "RemoveMessage", "RaiseFloor"].includes(operation.kind);

export function locationsOf(record: ScannedRecord, segment: number) {
  const bodyOffset = record.bodyOffset - record.offset;
  return bodyLocations(record.header, { segment, offset: record.offset }, bodyOffset);
}

/** A message as it was added to a mailbox. */
export interface AddedMessage {
  readonly mailbox: MailboxName;
  readonly message: StoredMessage;
}

/** The messages at the end of the journal whose acknowledgement may have been lost. */
export class LastMessages {
  readonly #messages = new Map<MessageId, AddedMessage>();

  constructor(private readonly max: number) {}

  note({ header }: Pick<ScannedRecord, "header">): void {
    if (header.copied) return;
    for (const operation of header.operations) {
      if (operation.kind === "ConfirmMessages") {
        for (const id of operation.ids) this.#messages.delete(id);
      } else if (operation.kind === "AddMessage") {
        const { mailbox, message } = operation;
        this.#messages.set(message.id, { mailbox, message });
      }
    }
    for (const id of this.#messages.keys()) {
      if (this.#messages.size <= this.max) return;
      this.#messages.delete(id);
    }
  }

  /** Oldest first. */
  list(): AddedMessage[] {
    return [...this.#messages.values()];
  }
}

/** So much of the journal's end holds all that was under way at a crash. */
const lastMessagesOctets = 4 * 1024 * 1024;

/** Brings `state` up to the end of the journal. Returns where the next record goes. */
export async function replay(options: {
  readonly segments: Segments;
  readonly state: State;
  readonly last: LastMessages;
  /** The views reflect what is in front of it; undefined: nothing. */
  readonly from: JournalPosition | undefined;
}): Promise<JournalPosition> {
  const { segments, state, last } = options;
  const newest = [...segments.octets.keys()].at(-1) ?? 1;
  const from = reachable(segments, options.from);
  state.mailboxes.replaying = true;
  for (const [segment, octets] of segments.octets) {
    if (segment === newest) continue;
    const indexed = state.bodies.openSealed({ segment, octets });
    if (indexed && segment < from.segment) continue;
    const bodies = new Map<string, BodyLocation>();
    await segments.scan(segment, (record) => {
      for (const [digest, location] of locationsOf(record, segment)) bodies.set(digest, location);
      return replayRecord(state, record, { segment, from });
    });
    if (!indexed) await state.bodies.adopt({ segment, octets }, bodies);
  }
  for (const segment of beforeNewest(segments, newest)) {
    await segments.scan(segment, (record) => last.note(record));
  }
  const end = await replayNewest(segments, { state, last }, newest, from);
  state.mailboxes.replaying = false;
  return end;
}

/** Segments in front of the newest that belong to the journal's end: compaction leaves short ones. */
function beforeNewest(segments: Segments, newest: number): number[] {
  const found: number[] = [];
  let octets = segments.octets.get(newest) ?? 0;
  for (const [segment, size] of [...segments.octets].reverse()) {
    if (segment === newest) continue;
    if (octets >= lastMessagesOctets) break;
    found.unshift(segment);
    octets += size;
  }
  return found;
}

/** A checkpoint in front of which the journal has gone is not one of this journal. */
function reachable(segments: Segments, from: JournalPosition | undefined): JournalPosition {
  const octets = from === undefined ? undefined : segments.octets.get(from.segment);
  if (from !== undefined && octets !== undefined && octets >= from.offset) return from;
  if (from !== undefined) {
    segments.options.log.warn({ ...from }, "the checkpoint is not in the journal: replaying all");
  }
  return { segment: 0, offset: 0 };
}

function replayRecord(
  state: State,
  record: ScannedRecord,
  at: { readonly segment: number; readonly from: JournalPosition },
): Promise<void> | undefined {
  const { segment, from } = at;
  const isOld = segment < from.segment || (segment === from.segment && record.offset < from.offset);
  if (isOld) return undefined;
  const { operations } = record.header;
  const share = Math.ceil((record.bodyOffset - record.offset) / Math.max(1, operations.length));
  for (const operation of operations) state.replay(operation, segment, share);
  return state.mailboxes.isCrowded ? state.mailboxes.room() : undefined;
}

async function replayNewest(
  segments: Segments,
  { state, last }: { readonly state: State; readonly last: LastMessages },
  segment: number,
  from: JournalPosition,
): Promise<JournalPosition> {
  const { disk, log } = segments.options;
  const octets = segments.octets.get(segment) ?? 0;
  const { end } = await segments.scan(segment, (record) => {
    last.note(record);
    for (const [digest, location] of locationsOf(record, segment)) {
      state.bodies.add(digest, location);
    }
    return replayRecord(state, record, { segment, from });
  });
  // In front of a checkpoint all is on disk: what cannot be read there is damaged, not torn.
  const known = segment === from.segment ? from.offset : 0;
  if (end < known) log.error({ segment, from: end, to: known }, "the journal is damaged here");
  const offset = Math.max(end, known);
  const file = disk.open(segments.path(segment), "write");
  try {
    if (offset < octets) {
      log.warn({ segment, from: offset, to: octets }, "the journal ends in a torn record: cut off");
      await file.truncate(offset);
    }
    await rewrite(file, { from: known, to: offset, log });
    await file.sync();
  } finally {
    file.close();
  }
  return { segment, offset };
}
