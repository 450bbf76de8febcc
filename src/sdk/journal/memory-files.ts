/** Files that live as long as the process, for a client without a store. */
import type { JournalFile, JournalFiles } from "./ports.js";

interface Content {
  buffer: Buffer;
  length: number;
}

export function memoryFiles(): JournalFiles {
  const files = new Map<string, Content>();
  const named = (path: string): Content => {
    const content = files.get(path);
    if (!content) throw Object.assign(new Error(`no file ${path}`), { code: "ENOENT" });
    return content;
  };
  return {
    open: (path, mode) => {
      if (mode === "create") {
        if (files.has(path)) throw Object.assign(new Error(`${path} exists`), { code: "EEXIST" });
        files.set(path, { buffer: Buffer.alloc(0), length: 0 });
      }
      return memoryFile(named(path));
    },
    exists: (path) => files.has(path),
    rename: async (from, to) => {
      files.set(to, named(from));
      files.delete(from);
    },
    unlink: async (path) => {
      named(path);
      files.delete(path);
    },
    list: async (directory) =>
      [...files.keys()]
        .filter((path) => path.startsWith(`${directory}/`))
        .map((path) => path.slice(directory.length + 1)),
    mkdir: async () => false,
    syncDirectory: async () => undefined,
  };
}

function memoryFile(content: Content): JournalFile {
  return {
    writev: async (buffers, position) => {
      const octets = buffers.reduce((sum, { length }) => sum + length, 0);
      reserve(content, position + octets);
      let at = position;
      for (const buffer of buffers) at += buffer.copy(content.buffer, at);
      content.length = Math.max(content.length, at);
      return octets;
    },
    sync: async () => undefined,
    read: async (into, position) => content.buffer.copy(into, 0, position, content.length),
    truncate: async (octets) => {
      content.length = Math.min(content.length, octets);
    },
    size: () => content.length,
    close: () => undefined,
  };
}

function reserve(content: Content, octets: number): void {
  if (octets <= content.buffer.length) return;
  const larger = Buffer.alloc(Math.max(octets, 2 * content.buffer.length, 1_024));
  content.buffer.copy(larger, 0, 0, content.length);
  content.buffer = larger;
}
