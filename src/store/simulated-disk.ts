import { dirname } from "node:path";
import type { Disk, DiskFile } from "../shared/disk.js";

/**
 * A disk for tests that keeps only what was synced: at `crash` every write, truncation and directory
 * change since the last sync is kept, lost or torn, as the seed decides. It can also run full, fail
 * its fsyncs, and stop dead after a number of operations.
 *
 * A failed fsync is Linux's: the pages that it did not write count as clean from then on. They can be
 * read until the power fails, but a later fsync passes them over, unless they are written again.
 */
interface SimulatedFile {
  /** Its octets, and room for more. */
  buffer: Buffer;
  length: number;
  /** What may not be on disk and all that came after it, each with what it took away. */
  changes: { readonly change: Change; readonly undo: Undo; state: ChangeState }[];
}

/** `passedOver`: by an fsync that failed. */
type ChangeState = "dirty" | "synced" | "passedOver";

type Change =
  | { readonly kind: "write"; readonly position: number; readonly data: Buffer }
  | { readonly kind: "truncate"; readonly octets: number };

interface Undo {
  readonly length: number;
  readonly position: number;
  readonly data: Buffer;
}

type NameChange =
  | { readonly kind: "set"; readonly path: string; readonly file: SimulatedFile }
  | { readonly kind: "delete"; readonly path: string };

function systemError(code: string): Error {
  return Object.assign(new Error(`${code} (simulated)`), { code });
}

/** Applies a change and answers how to take it back. */
function applyChange(file: SimulatedFile, change: Change): Undo {
  const { length } = file;
  const from = change.kind === "truncate" ? change.octets : change.position;
  const to = change.kind === "truncate" ? length : from + change.data.length;
  const data = Buffer.from(file.buffer.subarray(Math.min(from, length), Math.min(to, length)));
  if (change.kind === "truncate") file.length = Math.min(length, change.octets);
  else {
    grow(file, to);
    // A gap that a lost write has left reads as zeros.
    if (from > length) file.buffer.fill(0, length, from);
    change.data.copy(file.buffer, from);
    file.length = Math.max(length, to);
  }
  return { length, position: Math.min(from, length), data };
}

function undoChange(file: SimulatedFile, { length, position, data }: Undo): void {
  data.copy(file.buffer, position);
  file.length = length;
}

function syncFile(file: SimulatedFile, succeeds: boolean): void {
  for (const one of file.changes) {
    if (one.state !== "dirty") continue;
    if (succeeds) one.state = "synced";
    // A size is not in those pages: it stays dirty.
    else if (one.change.kind === "write") one.state = "passedOver";
  }
  if (file.changes.every(({ state }) => state === "synced")) file.changes = [];
}

function grow(file: SimulatedFile, octets: number): void {
  if (octets <= file.buffer.length) return;
  const larger = Buffer.alloc(Math.max(octets, 2 * file.buffer.length, 1_024));
  file.buffer.copy(larger, 0, 0, file.length);
  file.buffer = larger;
}

/** Numbers in [0, 1) from a seed (mulberry32), so that every failure can be replayed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class SimulatedDisk implements Disk {
  #names = new Map<string, SimulatedFile>();
  #syncedNames = new Map<string, SimulatedFile>();
  #nameChanges = new Map<string, NameChange[]>();
  #directories = new Set<string>();
  #syncedDirectories = new Set<string>();
  #life = 0;
  #stopAfter = Infinity;
  /** Octets that can still be written before ENOSPC. */
  freeOctets = Infinity;
  /** Every fsync fails with EIO. */
  failSyncs = false;
  operations = 0;

  constructor(
    private readonly random: () => number,
    /** What an operation waits for before it takes place. */
    public wait: (operation: "sync" | "other") => Promise<void> = () =>
      new Promise((resolve) => setImmediate(resolve)),
  ) {}

  /** After `operations` more, everything fails, as for a process that is dead. */
  stopAfter(operations: number): void {
    this.#stopAfter = this.operations + operations;
  }

  get stopped(): boolean {
    return this.operations >= this.#stopAfter;
  }

  /** The process is gone, the machine is not: everything written is there, synced or not. */
  restart(): void {
    this.#life += 1;
    this.#stopAfter = Infinity;
    this.freeOctets = Infinity;
    this.failSyncs = false;
  }

  /** The power comes back: what was not synced is there in part. */
  crash(): void {
    this.restart();
    for (const changes of this.#nameChanges.values()) {
      const kept = Math.floor(this.random() * (changes.length + 1));
      for (const change of changes.slice(0, kept)) this.#changeSynced(change);
    }
    this.#nameChanges.clear();
    this.#loseDirectories();
    this.#names = new Map(this.#syncedNames);
    for (const file of new Set(this.#names.values())) this.#crashFile(file);
  }

  /** A directory whose name is lost goes with all that is in it. */
  #loseDirectories(): void {
    for (const directory of this.#directories) {
      if (this.#syncedDirectories.has(directory) || this.random() >= 0.5) continue;
      this.#directories.delete(directory);
      for (const path of this.#syncedNames.keys()) {
        if (path.startsWith(`${directory}/`)) this.#syncedNames.delete(path);
      }
    }
  }

  #changeSynced(change: NameChange): void {
    if (change.kind === "set") this.#syncedNames.set(change.path, change.file);
    else this.#syncedNames.delete(change.path);
  }

  #crashFile(file: SimulatedFile): void {
    const { changes } = file;
    for (const { undo } of [...changes].reverse()) undoChange(file, undo);
    for (const { change, state } of changes) {
      const fate = state === "synced" ? 0.5 : this.random();
      if (fate >= 0.4) applyChange(file, fate < 0.7 ? change : this.#torn(change, file));
    }
    file.changes = [];
  }

  #torn(change: Change, file: SimulatedFile): Change {
    if (change.kind === "truncate") return change;
    const data = Buffer.from(change.data);
    const at = Math.floor(this.random() * data.length);
    // Half of the tears are a page that was not written although the size was.
    if (this.random() < 0.5) return { ...change, data: data.subarray(0, at) };
    const hole = data.subarray(at, at + 512).fill(0);
    const from = change.position + at;
    file.buffer.copy(hole, 0, Math.min(from, file.length), Math.min(from + 512, file.length));
    return { ...change, data };
  }

  /** Flips one bit of a file, for good. */
  flip(path: string, octet: number): void {
    const { buffer, length } = this.#named(path);
    if (octet < length) buffer[octet] = (buffer[octet] ?? 0) ^ 0x10;
  }

  paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  /** Not a copy: valid until the file changes. */
  contentOf(path: string): Buffer {
    const { buffer, length } = this.#named(path);
    return buffer.subarray(0, length);
  }

  #named(path: string): SimulatedFile {
    const file = this.#names.get(path);
    if (file === undefined) throw systemError("ENOENT");
    return file;
  }

  #step(life = this.#life): void {
    this.operations += 1;
    if (life !== this.#life || this.stopped) throw systemError("EIO");
  }

  async #asyncStep(life = this.#life, operation: "sync" | "other" = "other"): Promise<void> {
    await this.wait(operation);
    this.#step(life);
  }

  #rename(change: NameChange): void {
    const directory = dirname(change.path);
    const changes = this.#nameChanges.get(directory) ?? [];
    changes.push(change);
    this.#nameChanges.set(directory, changes);
    if (change.kind === "set") this.#names.set(change.path, change.file);
    else this.#names.delete(change.path);
  }

  open(path: string, mode: "create" | "write" | "read"): DiskFile {
    this.#step();
    if (mode === "create") {
      if (this.#names.has(path)) throw systemError("EEXIST");
      if (this.freeOctets <= 0) throw systemError("ENOSPC");
      const file = { buffer: Buffer.alloc(0), length: 0, changes: [] };
      this.#rename({ kind: "set", path, file });
    }
    return this.#handle(this.#named(path));
  }

  #handle(file: SimulatedFile): DiskFile {
    const life = this.#life;
    const change = (one: Change) => {
      file.changes.push({ change: one, undo: applyChange(file, one), state: "dirty" });
    };
    const readSync = (into: Buffer, position: number) => {
      if (life !== this.#life) throw systemError("EIO");
      return file.buffer.copy(into, 0, position, Math.min(file.length, position + into.length));
    };
    return {
      writev: async (buffers, position) => {
        await this.#asyncStep(life);
        const data = Buffer.concat(buffers);
        // What is written over has its space already.
        const over = Math.min(data.length, Math.max(0, file.length - position));
        const fits = Math.min(data.length, over + this.freeOctets);
        if (fits === 0 && data.length > 0) throw systemError("ENOSPC");
        this.freeOctets -= Math.max(0, fits - over);
        change({ kind: "write", position, data: data.subarray(0, fits) });
        return fits;
      },
      sync: async () => {
        await this.#asyncStep(life, "sync");
        syncFile(file, !this.failSyncs);
        if (this.failSyncs) throw systemError("EIO");
      },
      read: async (into, position) => {
        await this.#asyncStep(life);
        return readSync(into, position);
      },
      readSync,
      truncate: async (octets) => {
        await this.#asyncStep(life);
        change({ kind: "truncate", octets });
      },
      size: () => file.length,
      close: () => undefined,
    };
  }

  exists(path: string): boolean {
    return this.#names.has(path);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#asyncStep();
    const file = this.#named(from);
    this.#rename({ kind: "set", path: to, file });
    this.#rename({ kind: "delete", path: from });
  }

  /** A second name for the same octets. */
  async link(from: string, to: string): Promise<void> {
    await this.#asyncStep();
    this.#rename({ kind: "set", path: to, file: this.#named(from) });
  }

  async unlink(path: string): Promise<void> {
    await this.#asyncStep();
    this.#named(path);
    this.#rename({ kind: "delete", path });
  }

  async list(directory: string): Promise<string[]> {
    await this.#asyncStep();
    const prefix = `${directory}/`;
    const names = [...this.#names.keys(), ...this.#directories]
      .filter((path) => path.startsWith(prefix))
      .map((path) => path.slice(prefix.length).split("/")[0] ?? "");
    return [...new Set(names)];
  }

  async mkdir(directory: string): Promise<boolean> {
    await this.#asyncStep();
    const isNew = !this.#directories.has(directory);
    this.#directories.add(directory);
    // What the tests begin with is there.
    if (!this.#directories.has(dirname(directory))) this.#syncedDirectories.add(directory);
    return isNew;
  }

  async syncDirectory(directory: string): Promise<void> {
    await this.#asyncStep(undefined, "sync");
    if (this.failSyncs) throw systemError("EIO");
    for (const change of this.#nameChanges.get(directory) ?? []) this.#changeSynced(change);
    this.#nameChanges.delete(directory);
    for (const path of this.#directories) {
      if (dirname(path) === directory) this.#syncedDirectories.add(path);
    }
  }
}
