/** The file system under a journal, which is the death of its process at a chosen step. */
import { appendFileSync } from "node:fs";
import { basename } from "node:path";
import type { JournalFile, JournalFiles } from "../../../src/sdk/journal/ports.js";

/** A step of a life: by its number, or the nth of those with a name; both counted from 1. */
export type Moment = { readonly step: number } | { readonly what: string; readonly nth?: number };

export type CrashAt = Moment & {
  /** Where it is noted what that was. */
  readonly note: string;
};

/**
 * One of each kind of step, where a process that is killed leaves something else than at the one before it.
 * Some come only after what was left by the one in front of them.
 */
export const moments: readonly Moment[] = [
  { what: "after making a directory" },
  { what: "after fsync of a directory" },
  { what: "in the middle of a write to journal" },
  { what: "after cutting journal" },
  { what: "before a write to journal" },
  { what: "before a write to journal", nth: 3 },
  { what: "after a write to journal", nth: 2 },
  { what: "in the middle of a write to journal", nth: 4 },
  { what: "after fsync of journal" },
  { what: "after fsync of journal", nth: 4 },
  { what: "after journal.new is made" },
  { what: "in the middle of a write to journal.new" },
  { what: "after removing journal.new" },
  { what: "before fsync of journal.new" },
  { what: "before renaming journal.new" },
  { what: "after renaming journal.new" },
  { what: "after body is made" },
  { what: "in the middle of a write to body" },
  { what: "before fsync of body" },
  { what: "after fsync of body" },
  { what: "before removing body" },
  { what: "after removing body" },
];

export function crashingFiles(files: JournalFiles, crashAt: CrashAt): JournalFiles {
  let left = "step" in crashAt ? crashAt.step : (crashAt.nth ?? 1);
  const step = (what: string): boolean => {
    if ("what" in crashAt && what !== crashAt.what) return false;
    left -= 1;
    if (left === 0) appendFileSync(crashAt.note, `${what}\n`);
    return left === 0;
  };
  const die = (): void => void process.kill(process.pid, "SIGKILL");
  /** Killed before it, or when it is done and nobody has been told. */
  const around = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    if (step(`before ${what}`)) die();
    const value = await work();
    if (step(`after ${what}`)) die();
    return value;
  };
  /** By path; a file that is renamed goes on under its new name. */
  const kinds = new Map<string, { name: string }>();
  const kindOf = (path: string): string =>
    basename(path).startsWith("journal") ? basename(path) : "body";
  const wrapped = (file: JournalFile, kind: { readonly name: string }): JournalFile => ({
    ...file,
    writev: async (buffers, position) => {
      if (step(`in the middle of a write to ${kind.name}`)) {
        const whole = Buffer.concat(buffers);
        await file.writev([whole.subarray(0, Math.ceil(whole.length / 2))], position);
        die();
      }
      return around(`a write to ${kind.name}`, () => file.writev(buffers, position));
    },
    sync: () => around(`fsync of ${kind.name}`, () => file.sync()),
    truncate: (octets) => around(`cutting ${kind.name}`, () => file.truncate(octets)),
  });
  return {
    ...files,
    open: (path, mode) => {
      const kind = { name: kindOf(path) };
      if (mode === "create" && step(`before ${kind.name} is made`)) die();
      const file = wrapped(files.open(path, mode), kind);
      kinds.set(path, kind);
      if (mode === "create" && step(`after ${kind.name} is made`)) die();
      return file;
    },
    rename: async (from, to) => {
      await around(`renaming ${kindOf(from)}`, () => files.rename(from, to));
      const kind = kinds.get(from);
      if (kind) kind.name = kindOf(to);
    },
    unlink: (path) => around(`removing ${kindOf(path)}`, () => files.unlink(path)),
    mkdir: (directory) => around("making a directory", () => files.mkdir(directory)),
    syncDirectory: (directory) =>
      around("fsync of a directory", () => files.syncDirectory(directory)),
  };
}
