/** The file system under a journal, which is the death of its process at a chosen step. */
import { appendFileSync } from "node:fs";
import { basename } from "node:path";
import type { JournalFile, JournalFiles } from "../../../src/sdk/journal/ports.js";

export interface CrashAt {
  /** Counted from 1. */
  readonly step: number;
  /** Where it is noted what that was. */
  readonly note: string;
}

export function crashingFiles(files: JournalFiles, { step: last, note }: CrashAt): JournalFiles {
  let steps = 0;
  const step = (what: string): boolean => {
    steps += 1;
    if (steps === last) appendFileSync(note, `${what}\n`);
    return steps === last;
  };
  const die = (): void => void process.kill(process.pid, "SIGKILL");
  /** Killed before it, or when it is done and nobody has been told. */
  const around = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    if (step(`before ${what}`)) die();
    const value = await work();
    if (step(`after ${what}`)) die();
    return value;
  };
  const kindOf = (path: string): string =>
    basename(path).startsWith("journal") ? basename(path) : "body";
  const wrapped = (file: JournalFile, name: string): JournalFile => ({
    ...file,
    writev: async (buffers, position) => {
      if (step(`in the middle of a write to ${name}`)) {
        const whole = Buffer.concat(buffers);
        await file.writev([whole.subarray(0, Math.ceil(whole.length / 2))], position);
        die();
      }
      return around(`a write to ${name}`, () => file.writev(buffers, position));
    },
    sync: () => around(`fsync of ${name}`, () => file.sync()),
    truncate: (octets) => around(`cutting ${name}`, () => file.truncate(octets)),
  });
  return {
    ...files,
    open: (path, mode) => {
      if (mode === "create" && step(`before ${kindOf(path)} is made`)) die();
      const file = wrapped(files.open(path, mode), kindOf(path));
      if (mode === "create" && step(`after ${kindOf(path)} is made`)) die();
      return file;
    },
    rename: (from, to) => around(`renaming ${kindOf(from)}`, () => files.rename(from, to)),
    unlink: (path) => around(`removing ${kindOf(path)}`, () => files.unlink(path)),
    mkdir: (directory) => around("making a directory", () => files.mkdir(directory)),
    syncDirectory: (directory) =>
      around("fsync of a directory", () => files.syncDirectory(directory)),
  };
}
