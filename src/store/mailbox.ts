import { createHash } from "node:crypto";
import { join } from "node:path";
import type { MailboxName } from "../shared/ids.js";
import type { StoredMessage } from "../shared/operation.js";
import type { MailboxModel } from "./mailbox-model.js";
import { emptyTotals, type Totals } from "./totals.js";
import type { JournaledOperation } from "./journaled-operation.js";
import type { ViewFile } from "./view-file.js";

export type MailboxOperation = Extract<
  JournaledOperation,
  { kind: "AddMessage" | "RemoveMessage" | "RaiseFloor" | "DropMailbox" }
>;
export type PendingOperation = Exclude<MailboxOperation, { kind: "DropMailbox" }>;

export interface OpenView {
  readonly model: MailboxModel;
  readonly file: ViewFile;
  /** Monotonic ms. */
  usedMs: number;
  /**
   * Made anew from the journal. Nothing of it is in the file, which is replaced as a whole: a part of
   * the new one, after a power cut, would look like what is known to be in the old one.
   */
  rebuilt: boolean;
}

/** What is in memory of every mailbox, read or not: a catalog entry and what is pending. */
export interface Mailbox {
  readonly name: MailboxName;
  /** Operations of lower epochs are void, see `JournaledOperation`. */
  epoch: number;
  /** As `epoch`, counting drops that are not durable yet. */
  nextEpoch: number;
  /** Of the view file as it was closed. The open view knows better. */
  totals: Totals;
  /**
   * Octets of the view file that are known to be on disk: with fewer, or damage in them, the file
   * has lost something. Files shrink only right before this is written again.
   */
  syncedOctets: number;
  /** False after a crash until the view was opened: the file may be ahead of `totals`. */
  exact: boolean;
  /** Operations on the way to the disk. */
  flying: number;
  /** Durable operations that no view reflects yet; empty while the view is open. */
  pending: PendingOperation[];
  /** Monotonic ms since when something waits to be written to the view file. */
  waitingSinceMs: number | undefined;
  view: OpenView | undefined;
  /** Tail of the queue of those who open, flush or close the view: one at a time. */
  turn: Promise<unknown>;
}

export function newMailbox(name: MailboxName): Mailbox {
  return {
    name,
    epoch: 0,
    nextEpoch: 0,
    totals: emptyTotals,
    syncedOctets: 0,
    exact: true,
    flying: 0,
    pending: [],
    waitingSinceMs: undefined,
    view: undefined,
    turn: Promise.resolve(),
  };
}

/** Runs `task` after the tasks of this mailbox before it. */
export function inTurn<T>(mailbox: Mailbox, task: () => Promise<T>): Promise<T> {
  const result = mailbox.turn.then(task);
  mailbox.turn = result.catch(() => undefined);
  return result;
}

export function totalsOf(mailbox: Mailbox): Totals {
  return mailbox.view?.model.totals ?? mailbox.totals;
}

/** Operations that are not in the view file. */
export function waitingOf(mailbox: Mailbox): number {
  return mailbox.pending.length + (mailbox.view?.model.unwritten ?? 0);
}

export function isEmpty(mailbox: Mailbox): boolean {
  // Of nothing at all the digest is zero; a floor alone has one.
  const isNothing = totalsOf(mailbox).digest === 0n;
  return isNothing && mailbox.flying + mailbox.pending.length === 0 && mailbox.exact;
}

/** The view file: a hash of the name, since names may hold anything, and the epoch. */
export function viewPath(directory: string, mailbox: Mailbox): string {
  const hex = createHash("sha256").update(mailbox.name).digest("hex").slice(0, 40);
  return join(directory, "mailboxes", hex.slice(0, 2), `${hex}-${mailbox.epoch}.db`);
}

/** What the catalog view keeps of a mailbox. */
export function toCatalogText(mailbox: Mailbox): string {
  const { digest, messages, tombstones, octets } = totalsOf(mailbox);
  const { epoch, syncedOctets } = mailbox;
  return JSON.stringify([epoch, digest.toString(16), messages, tombstones, octets, syncedOctets]);
}

export function fromCatalogText(name: MailboxName, text: string): Mailbox {
  const [epoch, digest, messages, tombstones, octets, syncedOctets] = JSON.parse(text) as [
    number,
    string,
    number,
    number,
    number,
    number,
  ];
  const totals = { digest: BigInt(`0x${digest}`), messages, tombstones, octets };
  return { ...newMailbox(name), epoch, nextEpoch: epoch, totals, syncedOctets };
}

/** Answers the messages that the operation has ended. */
export function applyTo(
  model: MailboxModel,
  operation: PendingOperation,
): readonly StoredMessage[] {
  if (operation.kind === "RaiseFloor") return model.raise(operation.floor);
  if (operation.kind === "RemoveMessage") return model.remove(operation.tombstone) ?? [];
  model.add(operation.message);
  return [];
}
