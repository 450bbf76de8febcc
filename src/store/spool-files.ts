import { link, open, rm } from "node:fs/promises";
import type { Files, SpoolFile } from "../replication/ports.js";

/** The spool on a real disk. Files are for the owner alone. */
export const spoolFiles: Files = {
  async create(path): Promise<SpoolFile> {
    const file = await open(path, "wx", 0o600);
    return {
      path,
      async append(chunk) {
        await file.writeFile(chunk);
      },
      async close() {
        await file.close();
      },
    };
  },
  async link(from, to) {
    await link(from, to);
  },
  async read(path, offset, length) {
    const file = await open(path, "r");
    try {
      const buffer = Buffer.allocUnsafe(length);
      const { bytesRead } = await file.read(buffer, 0, length, offset);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  },
  async remove(path) {
    await rm(path, { force: true });
  },
};
