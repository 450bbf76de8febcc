/** The file system under a journal, which is the death of its process at a chosen step. */
import { appendFileSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { JournalFile, JournalFiles } from "../../../src/sdk/journal/ports.js";

/** A few polls of a peer, so that others hear of it. */
const hangsMs = 600;

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
  { what: "before fsync of journal", nth: 2 },
  { what: "before fsync of journal", nth: 5 },
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
  let at = "";
  const step = (what: string): boolean => {
    if ("what" in crashAt && what !== crashAt.what) return false;
    left -= 1;
    if (left === 0) at = what;
    return left === 0;
  };
  // Noted when it dies: its work may be done, and it with it, while the disk hangs.
  const die = (): void => {
    appendFileSync(crashAt.note, `${at}\n`);
    process.kill(process.pid, "SIGKILL");
  };
  /** The disk hangs, then it is dead: in between the program can say what is not true yet. */
  const hang = (): Promise<void> => sleep(hangsMs).then(die);
  /** Killed before it, or when it is done and nobody has been told. */
  const around = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    if (step(`before ${what}`)) await hang();
    const value = await work();
    if (step(`after ${what}`)) die();
    return value;
  };
  /** By path; a file that is renamed goes on under its new name. */
  const kinds = new Map<string, { name: string }>();
  const kindOf = (path: string): string =>
    basename(path).startsWith("journal") ? basename(path) : "body";
  const wrapped = (file: JournalFile, kind: { readonly name: string }): JournalFile => {
    let durableOctets = file.size();
    return {
      ...file,
      writev: async (buffers, position) => {
        if (step(`in the middle of a write to ${kind.name}`)) {
          const whole = Buffer.concat(buffers);
          await file.writev([whole.subarray(0, Math.ceil(whole.length / 2))], position);
          await hang();
        }
        return around(`a write to ${kind.name}`, () => file.writev(buffers, position));
      },
      sync: async () => {
        if (step(`before fsync of ${kind.name}`)) {
          await sleep(hangsMs);
          // Had the power gone, this would be.
          await file.truncate(Math.min(durableOctets, file.size()));
          die();
        }
        const octets = file.size();
        await file.sync();
        durableOctets = octets;
        if (step(`after fsync of ${kind.name}`)) die();
      },
      truncate: (octets) => around(`cutting ${kind.name}`, () => file.truncate(octets)),
    };
  };
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
