/** The real file system: files 0600, directories 0700. */
import fs from "node:fs";
import { promisify } from "node:util";
import { makeDirectory } from "../../shared/make-directory.js";
import type { JournalFile, JournalFiles } from "./ports.js";

const flags = { create: "wx+", write: "r+", read: "r" } as const;
const read = promisify(fs.read) as unknown as (
  ...args: [fd: number, into: Buffer, offset: number, length: number, position: number]
) => Promise<{ bytesRead: number }>;
const writev = promisify(fs.writev) as unknown as (
  ...args: [fd: number, buffers: readonly Buffer[], position: number]
) => Promise<{ bytesWritten: number }>;
const fdatasync = promisify(fs.fdatasync);
const fsync = promisify(fs.fsync);
const ftruncate = promisify(fs.ftruncate);

/** The kernel takes 1,024 at a time. */
const buffersMax = 1_000;

function nodeFile(fd: number): JournalFile {
  return {
    writev: async (buffers, position) => {
      const list = buffers.length > buffersMax ? [Buffer.concat(buffers)] : buffers;
      return (await writev(fd, list, position)).bytesWritten;
    },
    sync: () => fdatasync(fd),
    read: async (into, position) => (await read(fd, into, 0, into.length, position)).bytesRead,
    truncate: (octets) => ftruncate(fd, octets),
    size: () => fs.fstatSync(fd).size,
    close: () => fs.closeSync(fd),
  };
}

export const nodeFiles: JournalFiles = {
  open: (path, mode) => nodeFile(fs.openSync(path, flags[mode], 0o600)),
  exists: (path) => fs.existsSync(path),
  rename: (from, to) => fs.promises.rename(from, to),
  unlink: (path) => fs.promises.unlink(path),
  list: async (directory) => {
    try {
      return await fs.promises.readdir(directory);
    } catch (error) {
      if ((error as { code?: string }).code === "ENOENT") return [];
      throw error;
    }
  },
  mkdir: async (directory) => makeDirectory(directory),
  syncDirectory: async (directory) => {
    const fd = fs.openSync(directory, "r");
    try {
      await fsync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
};
