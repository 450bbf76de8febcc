import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a directory and those above it, for the owner alone; true when it was not there.
 * Node's own `recursive` goes round for ever where a parent exists and yet refuses with ENOENT,
 * as /proc does.
 * @throws the error of mkdir(2), with its code
 */
export function makeDirectory(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "EEXIST" && statSync(path).isDirectory()) return false;
    const parent = dirname(path);
    if (code !== "ENOENT" || parent === path || !makeDirectory(parent)) throw error;
    mkdirSync(path, { mode: 0o700 });
    return true;
  }
}
