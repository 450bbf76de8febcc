import fs from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import type Datastore from "nedb-promises";
import { errorCode } from "../shared/disk.js";

/** A document of a view. `value` is JSON text: nedb would walk an object key by key. */
export interface ViewDocument {
  readonly _id: string;
  readonly v: string;
  /** A number that is wanted without parsing `v`. */
  readonly n?: number;
}

/**
 * Around all that was written in one go. Appended lines are cut off from the end, so that what is known
 * to be on disk is in front; documents that are written anew lie in another order.
 */
const beginMark = "#begin";
const endMark = "#end";
const markOf = (_id: string): ViewDocument => ({ _id, v: "" });
export const isMark = ({ _id }: ViewDocument): boolean => _id === beginMark || _id === endMark;

/** The documents of a file that is written as a whole: cut off anywhere, it is known to be damaged. */
export const marked = (documents: readonly ViewDocument[]): ViewDocument[] => [
  markOf(beginMark),
  ...documents,
  markOf(endMark),
];

/** What of nedb is used beyond the typings of nedb-promises. */
interface Persistence {
  persistCachedDatabaseAsync?: () => Promise<void>;
  /** nedb's own datastore, which nedb-promises wraps. */
  readonly db: {
    _resetIndexes?: (documents?: ViewDocument[]) => void;
    readonly indexes: { readonly _id: { insert(documents: ViewDocument[]): void } };
  };
}

const require = createRequire(import.meta.url);
const datastores = require("nedb-promises") as typeof Datastore;

/**
 * nedb's loader splits lines at U+0085, U+2028 and U+2029 too, which JSON may contain as they are.
 * The CRC in front makes a damaged line known instead of silently missing.
 */
function toLine(json: string): string {
  const safe = json.replace(
    /[\u0085\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `${crc32(safe).toString(16).padStart(8, "0")} ${safe}`;
}

/** The JSON of a line, or undefined when it is damaged. */
function fromLine(line: string): string | undefined {
  const json = line.slice(9);
  const sound = line[8] === " " && Number.parseInt(line.slice(0, 8), 16) === crc32(json);
  return sound ? json : undefined;
}

export interface LoadedView {
  readonly documents: ViewDocument[];
  readonly damaged: boolean;
  readonly soundOctets: number;
}

/** Documents in a file. The journal has them all: the file may lag, and may be lost. */
export interface ViewFile {
  readonly path: string;
  /** How many there are, as far as is known without reading. */
  readonly documents: number;
  /**
   * Reads the documents. `damaged` tells that lines in front of good ones are broken: the content
   * is incomplete. A broken tail is what a crash leaves; `soundOctets` lie in front of it.
   */
  load(): Promise<LoadedView>;
  /**
   * Adds documents and removes ids, in that order. The caller knows that added ids are new.
   * Not durable before `sync`.
   */
  change(added: ViewDocument[], removed: string[]): Promise<void>;
  /** Rewrites the file when most of its lines are void. */
  tidy(): Promise<void>;
  /** Replaces documents by id. A crash in between leaves neither: the journal has them. */
  replace(documents: ViewDocument[]): Promise<void>;
  /** Makes all changes survive a power cut. */
  sync(): Promise<number>;
  /** Forgets the memory copy; the file stays. */
  close(): void;
  unlink(): Promise<void>;
}

export interface ViewFiles {
  at(path: string): ViewFile;
  /** As `ViewFile.sync`, for a file that is closed. Resolves to the octets that are safe now. */
  sync(path: string): Promise<number>;
}

/** The real ones. */
export const nedbViews: ViewFiles = {
  at: (path) => new NedbViewFile(path),
  sync: (path) => syncPath(path),
};

/**
 * A nedb datastore in a file. nedb appends without fsync, so `sync` exists; it rewrites the file at
 * every load with four fsyncs, so that is left out unless there is something to clean up; and it
 * shows what it could not append, so a failed append has the file rewritten before the next.
 */
class NedbViewFile implements ViewFile {
  #store: Datastore<ViewDocument> | undefined;
  #lines = 0;
  #documents = 0;
  #rewriteNeeded = false;

  constructor(readonly path: string) {}

  get documents(): number {
    return this.#documents;
  }

  async load(): Promise<LoadedView> {
    this.#store = undefined;
    // A new file is made by the first append, so that reading needs no space on the disk.
    const there = fs.existsSync(this.path) || fs.existsSync(`${this.path}~`);
    if (!there) return { documents: [], damaged: false, soundOctets: 0 };
    return this.#open();
  }

  async #open(): Promise<LoadedView> {
    let broken = 0;
    let damaged = false;
    let soundOctets = 0;
    this.#lines = 0;
    const store = datastores.create({
      filename: this.path,
      corruptAlertThreshold: 1,
      modes: { fileMode: 0o600, dirMode: 0o700 },
      afterSerialization: toLine,
      beforeDeserialization: (line: string) => {
        this.#lines += 1;
        const json = fromLine(line);
        if (json === undefined) broken += 1;
        else if (broken > 0) damaged = true;
        else soundOctets += Buffer.byteLength(line) + 1;
        return json ?? "broken";
      },
    } as Parameters<typeof datastores.create>[0]) as Datastore<ViewDocument>;
    const all = await loadInSteps(store);
    const documents = all.filter((document) => !isMark(document));
    // Cut off in what was written as a whole, where nothing is in the order of its coming.
    if (documents.length !== all.length && !all.some(({ _id }) => _id === endMark)) damaged = true;
    this.#store = store;
    this.#documents = documents.length;
    this.#rewriteNeeded = broken > 0;
    return { documents, damaged, soundOctets };
  }

  async change(added: ViewDocument[], removed: string[]): Promise<void> {
    const fresh = this.#store === undefined ? await this.#reopen(added) : added;
    const store = this.#store;
    if (store === undefined) return;
    try {
      if (this.#rewriteNeeded) await this.#rewrite(store);
      for (const some of inSteps(fresh)) await store.insertMany(some);
      const gone = await removeAll(store, removed);
      this.#lines += added.length + removed.length;
      this.#documents += fresh.length - gone;
    } catch (error) {
      // nedb's memory and its file may differ now: start again from the file.
      this.#store = undefined;
      throw error;
    }
  }

  /** Loads, and leaves out what the file has already: a failed append may have got that far. */
  async #reopen(added: ViewDocument[]): Promise<ViewDocument[]> {
    const { documents } = await this.#open();
    if (documents.length === 0) return added;
    const there = new Set(documents.map(({ _id }) => _id));
    return added.filter(({ _id }) => !there.has(_id));
  }

  async tidy(): Promise<void> {
    const store = this.#store;
    if (store === undefined || this.#lines < 200 || this.#lines < 2 * this.#documents) return;
    await this.#rewrite(store);
  }

  async replace(documents: ViewDocument[]): Promise<void> {
    if (documents.length === 0) return;
    const ids = documents.map(({ _id }) => _id);
    await this.change([], ids);
    await this.change(documents, []);
    await this.tidy();
  }

  async #rewrite(store: Datastore<ViewDocument>): Promise<void> {
    const all = (store as unknown as { getAllData(): ViewDocument[] }).getAllData();
    const documents = all.filter((document) => !isMark(document));
    await writeInSteps(this.path, marked(documents));
    this.#lines = this.#documents;
    this.#rewriteNeeded = false;
  }

  sync(): Promise<number> {
    return syncPath(this.path);
  }

  close(): void {
    this.#store = undefined;
  }

  async unlink(): Promise<void> {
    this.#store = undefined;
    await fs.promises.rm(this.path, { force: true });
    await fs.promises.rm(`${this.path}~`, { force: true });
  }
}

/**
 * nedb's load puts all documents into its index in one go, and then rewrites the file. Instead, they
 * are put there where it would write.
 */
async function loadInSteps(store: Datastore<ViewDocument>): Promise<ViewDocument[]> {
  const persistence = store.persistence as unknown as Persistence;
  const { db } = persistence;
  let read: ViewDocument[] = [];
  db._resetIndexes = (documents = []) => {
    read = documents;
  };
  persistence.persistCachedDatabaseAsync = async () => {
    for (const some of inSteps(read)) {
      db.indexes._id.insert(some);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await store.load();
  delete db._resetIndexes;
  delete persistence.persistCachedDatabaseAsync;
  return read;
}

/** As nedb's compaction, which makes all lines in one go. A file with "~" is what it would leave. */
async function writeInSteps(path: string, documents: readonly ViewDocument[]): Promise<void> {
  const temporary = `${path}~`;
  try {
    const handle = await fs.promises.open(temporary, "w", 0o600);
    try {
      for (const some of inSteps(documents)) {
        const lines = some.map((document) => `${toLine(JSON.stringify(document))}\n`);
        await handle.appendFile(lines.join(""));
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.promises.rename(temporary, path);
  } catch (error) {
    await fs.promises.rm(temporary, { force: true });
    throw error;
  }
  await syncPath(dirname(path));
}

/**
 * What nedb is asked to do in one go, so that others get a turn in between. It compares each document
 * with each id of a removal, too, so that the effort for many would grow with the square.
 */
const stepDocuments = 250;

function* inSteps<T>(all: readonly T[]): Iterable<T[]> {
  for (let at = 0; at < all.length; at += stepDocuments) yield all.slice(at, at + stepDocuments);
}

async function removeAll(store: Datastore<ViewDocument>, ids: readonly string[]): Promise<number> {
  let gone = 0;
  for (const some of inSteps(ids)) {
    gone += await store.remove({ _id: { $in: some } }, { multi: true });
  }
  return gone;
}

/**
 * fsync of a file and of the entry that names it. Resolves to the octets that are safe now: none
 * when the file is not there.
 */
async function syncPath(path: string): Promise<number> {
  let octets = 0;
  for (const target of [path, dirname(path)]) {
    let handle: fs.promises.FileHandle;
    try {
      handle = await fs.promises.open(target, "r");
    } catch (error) {
      if (errorCode(error) === "ENOENT") continue;
      throw error;
    }
    try {
      if (target === path) octets = (await handle.stat()).size;
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  return octets;
}
