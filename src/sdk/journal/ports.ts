/** The files under a journal, small enough to be simulated with lost and torn writes. */
import type { KeyObject } from "node:crypto";

export interface JournalFile {
  /** Writes the buffers one after the other from `position`; resolves to the octets written. */
  writev(buffers: readonly Buffer[], position: number): Promise<number>;
  /** fdatasync. */
  sync(): Promise<void>;
  read(into: Buffer, position: number): Promise<number>;
  truncate(octets: number): Promise<void>;
  size(): number;
  close(): void;
}

export interface JournalFiles {
  /** `create` fails when the file exists; `write` and `read` when it does not. Files are 0600. */
  open(path: string, mode: "create" | "write" | "read"): JournalFile;
  exists(path: string): boolean;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Names in a directory; empty when there is no such directory. */
  list(directory: string): Promise<string[]>;
  /** With parents, mode 0700. True when it was made now. */
  mkdir(directory: string): Promise<boolean>;
  /** Makes creations, renames and deletions in a directory survive a power cut. */
  syncDirectory(directory: string): Promise<void>;
}

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
