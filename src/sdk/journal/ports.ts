/** The files under a journal, small enough to be simulated with lost and torn writes. */
import type { KeyObject } from "node:crypto";
import type { Disk, DiskFile } from "../../shared/disk.js";

/** What the store of a member has, but for reads that block. */
export type JournalFile = Omit<DiskFile, "readSync">;

export type JournalFiles = Omit<Disk, "open"> & {
  open(...arguments_: Parameters<Disk["open"]>): JournalFile;
};

/** Who signs the packets of this store. A store that is lost is another device. */
export interface Identity {
  readonly device: string;
  /** Milliseconds since 1970 when the store was made. */
  readonly epoch: number;
  /** Ed25519. */
  readonly privateKey: KeyObject;
}

/** Small things that the client wants to find again: contacts, chats, records. */
export interface Values {
  get(key: string): unknown;
  /** JSON, at most 1 MiB; undefined removes. Durable when it resolves. */
  set(key: string, value: unknown): Promise<void>;
  keys(prefix: string): readonly string[];
}

/**
 * One client's store: opened by `openJournal` of `./journal.js`, handed to `createLink`, which uses more of it
 * than what is here for the client.
 */
export interface ClientJournal {
  readonly identity: Identity;
  readonly values: Values;
  /** Resolves when all that was written is durable and the lock is given back. */
  close(): Promise<void>;
}

export interface OpenJournalOptions {
  /** Made if it is not there. Absent: memory, lost with the process. */
  readonly directory?: string;
  /** Whose store it is: another user's is refused. */
  readonly user: string;
}
