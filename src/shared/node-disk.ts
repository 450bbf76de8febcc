import fs from "node:fs";
import { promisify } from "node:util";
import { type Disk, type DiskFile, errorCode } from "./disk.js";
import { makeDirectory } from "./make-directory.js";

const fileMode = 0o600;
const flags = { create: "wx+", write: "r+", read: "r" } as const;

const writevAsync = promisify(fs.writev) as unknown as (
  fd: number,
  buffers: readonly NodeJS.ArrayBufferView[],
  position: number,
) => Promise<{ bytesWritten: number }>;
const readAsync = promisify(fs.read) as unknown as (
  fd: number,
  buffer: Buffer,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead: number }>;
const fdatasyncAsync = promisify(fs.fdatasync);
const fsyncAsync = promisify(fs.fsync);
const ftruncateAsync = promisify(fs.ftruncate);

/** Writes of more buffers than this are joined first: the kernel takes 1,024 at a time. */
const buffersMax = 1_000;

function nodeFile(fd: number): DiskFile {
  return {
    writev: async (buffers, position) => {
      const list = buffers.length > buffersMax ? [Buffer.concat(buffers)] : buffers;
      return (await writevAsync(fd, list, position)).bytesWritten;
    },
    sync: () => fdatasyncAsync(fd),
    read: async (into, position) => (await readAsync(fd, into, 0, into.length, position)).bytesRead,
    readSync: (into, position) => fs.readSync(fd, into, 0, into.length, position),
    truncate: (octets) => ftruncateAsync(fd, octets),
    size: () => fs.fstatSync(fd).size,
    close: () => {
      fs.closeSync(fd);
    },
  };
}

/** fsync of a directory: its entries, not its files. */
async function syncDirectory(directory: string): Promise<void> {
  const fd = fs.openSync(directory, "r");
  try {
    await fsyncAsync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** The real file system. Files are 0600, directories 0700. */
export const nodeDisk: Disk = {
  open: (path, mode) => nodeFile(fs.openSync(path, flags[mode], fileMode)),
  exists: (path) => fs.existsSync(path),
  rename: (from, to) => fs.promises.rename(from, to),
  unlink: (path) => fs.promises.unlink(path),
  list: async (directory) => {
    try {
      return await fs.promises.readdir(directory);
    } catch (error) {
      if (errorCode(error) === "ENOENT") return [];
      throw error;
    }
  },
  mkdir: async (directory) => makeDirectory(directory),
  syncDirectory,
};
