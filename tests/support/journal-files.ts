/** The journal of a member that does not run, as a careless disk would change it. */
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Member } from "./member.js";

/** Of the newest segment. */
export function newestSegment(member: Member): string {
  const folder = join(member.dataDir, "journal");
  const name = readdirSync(folder)
    .filter((file) => file.endsWith(".log"))
    .sort()
    .at(-1);
  if (name === undefined) throw new Error(`member ${member.id} has no journal`);
  return join(folder, name);
}

/** Where in the journal a text is that a mail contains. */
export function findInJournal(member: Member, mark: string): { path: string; at: number } {
  const folder = join(member.dataDir, "journal");
  for (const name of readdirSync(folder).filter((file) => file.endsWith(".log"))) {
    const path = join(folder, name);
    const at = readFileSync(path).indexOf(mark);
    if (at >= 0) return { path, at };
  }
  throw new Error(`${mark} is not in the journal of ${member.id}`);
}

export function flipBit({ path, at }: { path: string; at: number }): void {
  const octet = readFileSync(path)[at] ?? 0;
  const file = openSync(path, "r+");
  writeSync(file, Buffer.from([octet ^ 1]), 0, 1, at);
  closeSync(file);
}
