/** Bugs of the store to plant: between the real store and its simulated disk. */
import { crc32 } from "node:zlib";
import type { Disk, DiskFile } from "../../src/shared/disk.js";
import { decodePrefix, magicBytes } from "../../src/store/record.js";
import type { SimulatedDisk } from "../../src/store/simulated-disk.js";

type OpenMode = Parameters<Disk["open"]>[1];

/** The disk, with some of its methods replaced. */
function replacing(disk: SimulatedDisk, methods: Partial<Disk>): Disk {
  return new Proxy(disk, {
    get: (target, name) => {
      if (Reflect.has(methods, name)) return Reflect.get(methods, name) as unknown;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** The disk, with the files of the journal changed. */
function withJournalFiles(
  disk: SimulatedDisk,
  change: (file: DiskFile, mode: OpenMode) => DiskFile,
): Disk {
  return replacing(disk, {
    open: (path, mode) => {
      const file = disk.open(path, mode);
      return path.endsWith(".log") ? change(file, mode) : file;
    },
  });
}

/** What is read of the journal goes through `change` first. */
const withReads = (disk: SimulatedDisk, change: (read: Buffer) => void): Disk =>
  withJournalFiles(disk, (file) => ({
    ...file,
    readSync: (into, position) => {
      const octets = file.readSync(into, position);
      change(into.subarray(0, octets));
      return octets;
    },
  }));

/** An fsync of the journal that only looks like one. */
export const withoutSync = (disk: SimulatedDisk): Disk =>
  withJournalFiles(disk, (file) => ({ ...file, sync: () => disk.wait("sync") }));

/** What is in the journal is not written there again. */
export const withoutRewriting = (disk: SimulatedDisk): Disk =>
  withJournalFiles(disk, (file) => ({
    ...file,
    writev: async (buffers, position) => {
      const octets = Buffer.concat(buffers);
      const there = Buffer.alloc(octets.length);
      const isThere = file.readSync(there, position) === octets.length && there.equals(octets);
      return isThere ? octets.length : file.writev(buffers, position);
    },
  }));

/** Names of new files are not made durable. */
export const withoutDirectorySync = (disk: SimulatedDisk): Disk =>
  replacing(disk, { syncDirectory: () => disk.wait("sync") });

const removal = Buffer.from('"RemoveMessage');

/** A replay takes records with deletions for damaged ones. */
export const forgettingTombstones = (disk: SimulatedDisk): Disk =>
  withReads(disk, (read) => {
    for (let at = read.indexOf(removal); at >= 0; at = read.indexOf(removal, at + 1)) {
      read[at + 1] = 0;
    }
  });

/** A replay finds every checksum right, whatever was torn. */
export const withoutChecksum = (disk: SimulatedDisk): Disk =>
  withReads(disk, (read) => {
    const salt = saltOf(disk);
    if (salt === undefined) return;
    for (let at = read.indexOf(magicBytes); at >= 0; at = read.indexOf(magicBytes, at + 1)) {
      const octets = decodePrefix(read, at, salt)?.octets;
      if (octets === undefined || at + octets > read.length) continue;
      read.writeUInt32BE(crc32(read.subarray(at + 8, at + octets), salt), at + 4);
    }
  });

function saltOf(disk: SimulatedDisk): number | undefined {
  const path = disk.paths().find((name) => name.endsWith("/version"));
  if (path === undefined) return undefined;
  return (JSON.parse(disk.contentOf(path).toString("utf8")) as { salt: number }).salt;
}
