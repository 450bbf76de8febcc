/** A disk that is small enough to be full. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Skippable, undoAfterTest } from "./undo.js";

export class SmallDisk {
  readonly folder = mkdtempSync(join(tmpdir(), "ringpost-small-"));
  readonly #ballast = join(this.folder, "ballast");

  private constructor() {}

  /** Skips the test where nothing may be mounted. `size` as mount(8) knows it: `16m`. */
  static mount(context: Skippable, size: string): SmallDisk {
    const disk = new SmallDisk();
    const options = ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", disk.folder];
    const mounted = spawnSync("mount", options);
    undoAfterTest(() => {
      if (mounted.status === 0) spawnSync("umount", ["-l", disk.folder]);
      rmSync(disk.folder, { recursive: true, force: true });
    });
    if (mounted.status !== 0) context.skip("needs the right to mount a tmpfs");
    return disk;
  }

  /** Leaves not one octet. */
  fill(): void {
    const ballast = openSync(this.#ballast, "w");
    try {
      for (let piece = 1024 * 1024; piece >= 1; ) {
        try {
          if (writeSync(ballast, Buffer.alloc(piece)) < piece) piece = Math.floor(piece / 2);
        } catch (error) {
          if ((error as { code?: string }).code !== "ENOSPC") throw error;
          piece = Math.floor(piece / 2);
        }
      }
    } finally {
      closeSync(ballast);
    }
  }

  free(): void {
    rmSync(this.#ballast);
  }
}
