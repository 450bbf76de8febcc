import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

export * from "./test-values.js";

/** A directory that is deleted after the test. */
export function temporaryDirectory(): string {
  const directory = fs.mkdtempSync(join(tmpdir(), "ringpost-store-"));
  onTestFinished(() => {
    fs.rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}
