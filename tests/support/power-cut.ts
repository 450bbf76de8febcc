/** A disk that loses its power: what was not made durable by then is gone. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Skippable, undoAfterTest } from "./undo.js";

/**
 * EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (linux/fs/ext4/ext4.h): from this moment on
 * nothing is written any more, neither dirty pages nor the file system's own log; every call gets
 * EIO. What is in memory only is lost when the file system is unmounted.
 */
const shutDown = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
`;

export class PoweredDisk {
  readonly #home = mkdtempSync(join(tmpdir(), "ringpost-power-"));
  readonly folder = join(this.#home, "disk");
  readonly #image = join(this.#home, "image");

  private constructor() {}

  /** An ext4 of its own in a file. Skips the test where there can't be one. */
  static mount(context: Skippable, size = "64M"): PoweredDisk {
    const disk = new PoweredDisk();
    undoAfterTest(() => {
      spawnSync("umount", ["-l", disk.folder]);
      rmSync(disk.#home, { recursive: true, force: true });
    });
    mkdirSync(disk.folder);
    const made =
      run("truncate", "-s", size, disk.#image) && run("mkfs.ext4", "-q", "-F", disk.#image);
    if (!made) context.skip("needs mkfs.ext4");
    if (!disk.#mount()) context.skip("needs the right to mount an ext4 through a loop device");
    return disk;
  }

  /** Nothing that is not durable now will ever be. */
  cut(): void {
    const done = spawnSync("python3", ["-c", shutDown, this.folder], { encoding: "utf8" });
    if (done.status !== 0) throw new Error(`the disk could not be cut off: ${done.stderr}`);
  }

  /** The disk as it is found when the power is back. Nobody may use it meanwhile. */
  restore(): void {
    const back = run("umount", this.folder) && this.#mount();
    if (!back) throw new Error(`${this.folder} could not be mounted again`);
  }

  #mount(): boolean {
    return run("mount", "-o", "loop", this.#image, this.folder);
  }
}

function run(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}
