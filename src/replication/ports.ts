/** What replication needs from the world. Implemented by `store/`, `rpc/` and the simulation. */
import type { Body } from "../shared/body.js";
import type { Address, BodyDigest, MailboxName, MessageId } from "../shared/ids.js";
import type { Floor } from "../shared/floor.js";
import type { Operation, RegisterState, StoredMessage, Tombstone } from "../shared/operation.js";

/** Everything a node knows of one mailbox. */
export interface MailboxContents {
  /** Live messages in order of id. */
  readonly messages: readonly StoredMessage[];
  readonly tombstones: readonly Tombstone[];
  readonly floor?: Floor | undefined;
  readonly summary: MailboxSummary;
}

/**
 * Equal sets have equal digests: the sum modulo 2^128 of a hash of each (id, live | removed) and of the floor.
 * 32 hex digits; the empty set is all zeros.
 */
export interface MailboxSummary {
  readonly digest: string;
  readonly messages: number;
  readonly tombstones: number;
  /** Octets of the live messages as they are read: body plus trace. */
  readonly octets: number;
}

export interface CatalogEntry extends MailboxSummary {
  readonly mailbox: MailboxName;
  /** Operations that the summary does not reflect yet; `Store.contents` settles them. */
  readonly pending: boolean;
}

export interface BodyRange {
  readonly offset: number;
  readonly length: number;
  /** May be used for the octets, and hold what is answered; of at least `length`. */
  readonly into?: Buffer;
}

/** The durable state of this node. Its journal is the truth, everything else a view of it. */
export interface Store {
  /**
   * Journals operations and the bodies that they refer to; resolves when they are on disk.
   * What `register`, `local` and `contents` answer reflects a write from the moment of the call;
   * `durable()` tells when it can be relied on.
   * @throws StoreFullError (disk full: nothing was written, later writes may succeed),
   *   StoreFailedError (fsync failed: this node must not acknowledge anything any more)
   */
  write(operations: readonly Operation[], bodies?: readonly Body[]): Promise<void>;
  /**
   * Resolves when all that was written before this call is on disk.
   * @throws StoreFullError (some of it was refused; the rest is on disk), StoreFailedError
   */
  durable(): Promise<void>;

  /** The contents of a mailbox, with every write up to now applied. Empty for an unknown one. */
  contents(mailbox: MailboxName): Promise<MailboxContents>;
  /** As `contents`, of which nothing is read but the sums. */
  summary(mailbox: MailboxName): Promise<MailboxSummary>;
  /** The mailbox's floor as it is applied here. */
  floor(mailbox: MailboxName): Promise<Floor | undefined>;
  /** True when the node keeps anything of the mailbox. No I/O. */
  hasMailbox(mailbox: MailboxName): boolean;
  /** All mailboxes of which the node keeps anything. No I/O; may lag where `pending`. */
  catalog(): Iterable<CatalogEntry>;

  register(name: string): RegisterState | undefined;
  registers(): Iterable<readonly [name: string, state: RegisterState]>;
  local(key: string): unknown;

  /**
   * A message as it was added, should the journal still have it although it was deleted. Reads all
   * of the journal; undefined when there is nothing of it (any more).
   */
  journaled(id: MessageId): Promise<{ mailbox: MailboxName; message: StoredMessage } | undefined>;

  hasBody(digest: BodyDigest): Promise<boolean>;
  /**
   * Up to `length` octets from `offset`. Undefined when the node does not have the body.
   * @throws BodyCorruptError when the whole body was asked for and its SHA-256 does not match.
   */
  readBody(digest: BodyDigest, range?: BodyRange): Promise<Buffer | undefined>;
  /** A fresh file name in the store's spool; what is left there at a restart is deleted. */
  spoolPath(): string;
}

/** The JSON part of a message between members, plus raw bytes that travel beside it. */
export interface PeerMessage {
  readonly blobs?: readonly Buffer[];
}

/** A call that got no answer. What it asked for may have happened all the same. */
export class PeerUnavailableError extends Error {
  override readonly name = "PeerUnavailableError";
  constructor(
    readonly peer: Address,
    /** `unreachable`: there is no connection (known at once); `deadline`: no answer in time. */
    readonly reason: "unreachable" | "deadline" | "closed" | "failed",
    message: string,
  ) {
    super(message);
  }
}

export interface PeerCaller {
  /**
   * Calls `method` at the member that answers at `peer`, over the one long-lived stream to it.
   * @throws PeerUnavailableError
   */
  call(
    peer: Address,
    method: string,
    request: PeerMessage,
    options?: { readonly deadlineMs?: number; readonly signal?: AbortSignal },
  ): Promise<PeerMessage>;
}

export interface Clock {
  /** Milliseconds since 1970; may jump. For what people read. */
  wallMs(): number;
  /** Milliseconds since some moment; never goes back. For deadlines and leases. */
  monotonicMs(): number;
  /** Resolves after `ms`, or rejects when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Randomness {
  /** `n` random octets. */
  bytes(n: number): Buffer;
}

/** A spool file being written. */
export interface SpoolFile {
  readonly path: string;
  append(chunk: Buffer): Promise<void>;
  close(): Promise<void>;
}

/** The files that large bodies pass through; all lie in the store's spool. */
export interface Files {
  create(path: string): Promise<SpoolFile>;
  /** A second name for the same bytes, at `to`. */
  link(from: string, to: string): Promise<void>;
  /** Fewer octets than asked for only at the end of the file. */
  read(path: string, offset: number, length: number): Promise<Buffer>;
  /** Missing files are fine. */
  remove(path: string): Promise<void>;
}
