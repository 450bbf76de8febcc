import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** From the package.json above this file; the built tree lies one folder deeper than the source. */
export function packageVersion(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    const path = join(folder, "package.json");
    if (existsSync(path)) {
      return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
    }
    if (folder === dirname(folder)) return "unknown";
  }
}
