/** Members whose clock is wrong, by libfaketime. */
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Skippable, undoAfterTest } from "./undo.js";

const library = "faketime/libfaketime.so.1";

function findLibrary(): string | undefined {
  const folders = ["/usr/lib", ...subfolders("/usr/lib"), "/usr/local/lib"];
  return folders.map((folder) => join(folder, library)).find((path) => existsSync(path));
}

function subfolders(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name.includes("linux"))
    .map((entry) => join(folder, entry.name));
}

/** The wall clock of some processes, set to any time, also while they run. */
export class WrongClock {
  readonly #folder = mkdtempSync(join(tmpdir(), "ringpost-clock-"));
  readonly #file = join(this.#folder, "faketimerc");
  readonly #library: string;

  private constructor(path: string) {
    this.#library = path;
    undoAfterTest(() => rmSync(this.#folder, { recursive: true, force: true }));
  }

  /** Skips the test where libfaketime is not installed. `days`: wrong by so much. */
  static install(context: Skippable, days: number): WrongClock {
    const path = findLibrary();
    if (path === undefined) context.skip("libfaketime is not installed");
    const clock = new WrongClock(path ?? "");
    clock.set(days);
    return clock;
  }

  /** Of the processes that are to have this clock. Their monotonic clock stays as it is. */
  get env(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1",
    };
  }

  /** Sets the clock, which may be running, to `days` from now; negative: into the past. */
  set(days: number): void {
    // In one step: the file is read at every look at the clock.
    writeFileSync(`${this.#file}.new`, `${days < 0 ? "" : "+"}${days}d\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}
