/** Folders that tests leave behind nowhere. Imports nothing of the room: every test file loads it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folders: string[] = [];

/** A folder that goes when the test file, or the process, is done. */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `ringpost-${name}-`));
  folders.push(folder);
  return folder;
}

export function removeTemporaryFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

// For the fuzzers. The workers of vitest are ended without this event.
process.once("exit", removeTemporaryFolders);
