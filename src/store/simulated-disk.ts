import { dirname } from "node:path";
import type { Disk, DiskFile } from "./disk.js";

/**
 * A disk for tests that keeps only what was synced: at `crash` every write, truncation and directory
 * change since the last sync is kept, lost or torn, as the seed decides. It can also run full, fail
 * its fsyncs, and stop dead after a number of operations.
 */
interface SimulatedFile {
  content: Buffer;
  /** Content at the last sync. */
  synced: Buffer;
  unsynced: Change[];
}

type Change =
  | { readonly kind: "write"; readonly position: number; readonly data: Buffer }
  | { readonly kind: "truncate"; readonly octets: number };

type NameChange =
  | { readonly kind: "set"; readonly path: string; readonly file: SimulatedFile }
  | { readonly kind: "delete"; readonly path: string };

function systemError(code: string): Error {
  return Object.assign(new Error(`${code} (simulated)`), { code });
}

function applyChange(content: Buffer, change: Change): Buffer {
  if (change.kind === "truncate") return Buffer.from(content.subarray(0, change.octets));
  const end = change.position + change.data.length;
  const next = Buffer.alloc(Math.max(content.length, end));
  content.copy(next);
  change.data.copy(next, change.position);
  return next;
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
  #life = 0;
  #stopAfter = Infinity;
  /** Octets that can still be written before ENOSPC. */
  freeOctets = Infinity;
  /** Every fsync fails with EIO. */
  failSyncs = false;
  operations = 0;

  constructor(private readonly random: () => number) {}

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
    this.#names = new Map(this.#syncedNames);
    for (const file of new Set(this.#names.values())) this.#crashFile(file);
  }

  #changeSynced(change: NameChange): void {
    if (change.kind === "set") this.#syncedNames.set(change.path, change.file);
    else this.#syncedNames.delete(change.path);
  }

  #crashFile(file: SimulatedFile): void {
    let content = file.synced;
    for (const change of file.unsynced) {
      const fate = this.random();
      if (fate < 0.4) continue;
      content = applyChange(content, fate < 0.7 ? change : this.#torn(change));
    }
    file.content = content;
    file.synced = content;
    file.unsynced = [];
  }

  #torn(change: Change): Change {
    if (change.kind === "truncate") return change;
    const data = Buffer.from(change.data);
    const at = Math.floor(this.random() * data.length);
    // Half of the tears are a page that was not written although the size was.
    if (this.random() < 0.5) return { ...change, data: data.subarray(0, at) };
    return { ...change, data: data.fill(0, at, Math.min(data.length, at + 512)) };
  }

  /** Flips one bit of a file, for good. */
  flip(path: string, octet: number): void {
    const file = this.#named(path);
    for (const content of [file.content, file.synced]) {
      if (octet < content.length) content[octet] = (content[octet] ?? 0) ^ 0x10;
    }
  }

  paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  contentOf(path: string): Buffer {
    return this.#named(path).content;
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

  async #asyncStep(life = this.#life): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
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
      const none = Buffer.alloc(0);
      this.#rename({ kind: "set", path, file: { content: none, synced: none, unsynced: [] } });
    }
    return this.#handle(this.#named(path));
  }

  #handle(file: SimulatedFile): DiskFile {
    const life = this.#life;
    const change = (one: Change) => {
      file.content = applyChange(file.content, one);
      file.unsynced.push(one);
    };
    const readSync = (into: Buffer, position: number) => {
      if (life !== this.#life) throw systemError("EIO");
      return file.content.copy(into, 0, position, position + into.length);
    };
    return {
      writev: async (buffers, position) => {
        await this.#asyncStep(life);
        const data = Buffer.concat(buffers);
        const fits = Math.min(data.length, this.freeOctets);
        if (fits === 0 && data.length > 0) throw systemError("ENOSPC");
        this.freeOctets -= fits;
        change({ kind: "write", position, data: data.subarray(0, fits) });
        return fits;
      },
      sync: async () => {
        await this.#asyncStep(life);
        if (this.failSyncs) throw systemError("EIO");
        file.synced = file.content;
        file.unsynced = [];
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
      size: () => file.content.length,
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
    return isNew;
  }

  async syncDirectory(directory: string): Promise<void> {
    await this.#asyncStep();
    if (this.failSyncs) throw systemError("EIO");
    for (const change of this.#nameChanges.get(directory) ?? []) this.#changeSynced(change);
    this.#nameChanges.delete(directory);
  }
}
