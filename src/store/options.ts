import { limits as shared } from "../shared/limits.js";

/** Bounds and thresholds of the store. All have defaults; tests make them small. */
export interface StoreLimits {
  /** A segment of the journal is sealed when the next batch would make it longer. */
  readonly segmentOctets: number;
  /** Bodies up to this size lie in the journal, larger ones are files of their own. */
  readonly inlineBodyOctetsMax: number;
  /** Tombstones that are kept together, when no more than their ids is known. */
  readonly tombstonesPerPack: number;
  /** Journal written since the last checkpoint that asks for the next one. */
  readonly checkpointOctets: number;
  /** Quiet time after which a checkpoint is taken. */
  readonly checkpointIdleMs: number;
  /** Mailbox views kept open. */
  readonly openViewsMax: number;
  /** Messages and tombstones in open views, all together. */
  readonly openViewDocumentsMax: number;
  /** A view that nobody has read or written for so long is closed. */
  readonly closeIdleAfterMs: number;
  /** An open view is written to its file when an operation has waited this long. */
  readonly flushAfterMs: number;
  /** As `flushAfterMs` for a view that is not open: opening it costs more than waiting. */
  readonly flushClosedAfterMs: number;
  /** Operations of one mailbox that have it flushed at once. */
  readonly pendingPerMailboxMax: number;
  /** Operations not in view files yet: above it the oldest are flushed. */
  readonly pendingOperationsSoftMax: number;
  /** Above it, writes are not acknowledged before the flusher has caught up. */
  readonly pendingOperationsMax: number;
  /** A sealed segment is compacted when this share of it is estimated to be dead. */
  readonly compactDeadShare: number;
  /** The store looks for segments to compact by itself. */
  readonly compactAutomatically: boolean;
  /** How long a body that `hasBody` vouched for is kept though no message refers to it. */
  readonly vouchedBodyMs: number;
}

export const defaultStoreLimits: StoreLimits = {
  segmentOctets: 64 * 1024 * 1024,
  inlineBodyOctetsMax: shared.inlineBodyOctetsMax,
  tombstonesPerPack: 2_048,
  checkpointOctets: 128 * 1024 * 1024,
  checkpointIdleMs: 5_000,
  openViewsMax: 256,
  openViewDocumentsMax: 150_000,
  closeIdleAfterMs: 60_000,
  flushAfterMs: 2_000,
  flushClosedAfterMs: 30_000,
  pendingPerMailboxMax: 512,
  pendingOperationsSoftMax: 20_000,
  pendingOperationsMax: 60_000,
  compactDeadShare: 0.5,
  compactAutomatically: true,
  vouchedBodyMs: 60_000,
};

/** Bounds of one journal record, checked before anything is allocated. */
export const recordLimits = {
  headerOctetsMax: 16 * 1024 * 1024,
  bodyOctetsMax: 64 * 1024 * 1024,
  /** A write is split into several records at about this size. */
  splitHeaderOctets: 2 * 1024 * 1024,
  splitBodyOctets: 4 * 1024 * 1024,
} as const;
