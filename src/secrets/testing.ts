/** What the tests of this room share. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

/** An empty folder that is gone after the tests of the file. */
export function folderForTests(): string {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-secrets-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
