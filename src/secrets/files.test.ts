import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readSecret, SecretError, writeSecret } from "./files.js";
import { folderForTests } from "./testing.js";

const folder = folderForTests();
const isRoot = process.getuid?.() === 0;

function secretFile(name: string, mode: number): string {
  const path = join(folder, name);
  writeFileSync(path, "secret");
  // Without the umask.
  chmodSync(path, mode);
  return path;
}

const modeOf = (path: string): number => statSync(path).mode & 0o777;

describe("writing", () => {
  test("only the owner may read the file, and only the owner may look into its folder", async () => {
    const path = join(folder, "made", "key");
    const umask = process.umask(0);
    try {
      await writeSecret(path, "one");
    } finally {
      process.umask(umask);
    }
    expect(modeOf(path)).toBe(0o600);
    expect(modeOf(join(folder, "made"))).toBe(0o700);
    await writeSecret(path, "two");
    expect(await readSecret(path)).toBe("two");
    expect(readdirSync(join(folder, "made"))).toEqual(["key"]);
  });

  test("a draft that was cut short, and a folder that was opened, are no obstacle", async () => {
    const path = join(folder, "again", "key");
    mkdirSync(join(folder, "again"), { mode: 0o755 });
    writeFileSync(`${path}.draft`, "half", { mode: 0o644 });
    await writeSecret(path, "whole");
    expect(modeOf(path)).toBe(0o600);
    expect(modeOf(join(folder, "again"))).toBe(0o700);
    expect(await readSecret(path)).toBe("whole");
  });
});

describe("reading", () => {
  test.each([0o640, 0o604, 0o620, 0o601, 0o666])(
    "mode %o is refused; chmod mends it",
    async (mode) => {
      const path = secretFile(`open-${mode.toString(8)}`, mode);
      await expect(readSecret(path)).rejects.toThrow(SecretError);
      await expect(readSecret(path)).rejects.toThrow(`chmod 600 ${path}`);
      chmodSync(path, 0o600);
      expect(await readSecret(path)).toBe("secret");
    },
  );

  test("one that is not there is undefined", async () => {
    expect(await readSecret(join(folder, "none"))).toBeUndefined();
    expect(await readSecret(join(secretFile("a-file", 0o600), "below"))).toBeUndefined();
  });

  test("what is no file is refused, and nobody waits for its writer", async () => {
    const path = join(folder, "pipe");
    execFileSync("mkfifo", ["-m", "600", path]);
    await expect(readSecret(path)).rejects.toThrow(`${path} is not a file`);
  });

  test.skipIf(!isRoot)("that of another user is refused, also for root", async () => {
    const path = secretFile("foreign", 0o600);
    chownSync(path, 65_534, 65_534);
    await expect(readSecret(path)).rejects.toThrow("belongs to another user (uid 65534)");
    await expect(readSecret(path, { maybeOfRoot: true })).rejects.toThrow("uid 65534");
  });

  test.skipIf(!isRoot)(
    "one of root may be open to its group, where that is asked for",
    async () => {
      const path = secretFile("of-root", 0o640);
      expect(await readSecret(path, { maybeOfRoot: true })).toBe("secret");
      for (const mode of [0o644, 0o660]) {
        chmodSync(path, mode);
        await expect(readSecret(path, { maybeOfRoot: true })).rejects.toThrow("chmod");
      }
    },
  );
});
