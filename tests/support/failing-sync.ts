/** A disk whose fsyncs fail, for one process: by a library in front of libc. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Skippable, undoAfterTest } from "./undo.js";

const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void) {
  const char *flag = getenv("FAILING_SYNC");
  if (flag == NULL || access(flag, F_OK) != 0) return 0;
  errno = EIO;
  return 1;
}

int fsync(int fd) {
  int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
  return fails() ? -1 : next(fd);
}

int fdatasync(int fd) {
  int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");
  return fails() ? -1 : next(fd);
}
`;

export class FailingSync {
  readonly #folder = mkdtempSync(join(tmpdir(), "ringpost-sync-"));
  readonly #flag = join(this.#folder, "fails");
  readonly #library = join(this.#folder, "failing-sync.so");

  private constructor() {
    undoAfterTest(() => rmSync(this.#folder, { recursive: true, force: true }));
  }

  /** Skips the test where there is no C compiler. */
  static build(context: Skippable): FailingSync {
    const sync = new FailingSync();
    const args = ["-shared", "-fPIC", "-x", "c", "-o", sync.#library, "-", "-ldl"];
    spawnSync("gcc", args, { input: source, stdio: ["pipe", "ignore", "ignore"] });
    if (!existsSync(sync.#library)) context.skip("needs gcc");
    return sync;
  }

  /** Of the process whose fsyncs are to fail when it is said. */
  get env(): Readonly<Record<string, string>> {
    return { LD_PRELOAD: this.#library, FAILING_SYNC: this.#flag };
  }

  /** From now on each fsync ends with EIO. */
  fail(): void {
    writeFileSync(this.#flag, "");
  }

  mend(): void {
    rmSync(this.#flag);
  }
}
