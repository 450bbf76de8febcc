import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeDirectory } from "./make-directory.js";
import { temporaryDirectory } from "../store/test-support.js";

test("makes what is missing, for the owner alone", () => {
  const base = temporaryDirectory();
  expect(makeDirectory(join(base, "a", "b", "c"))).toBe(true);
  expect(makeDirectory(join(base, "a", "b", "c"))).toBe(false);
  for (const path of ["a", "a/b", "a/b/c"]) {
    expect(statSync(join(base, path)).mode & 0o777).toBe(0o700);
  }
});

test.skipIf(process.platform !== "linux")("a parent that refuses ends in an error", () => {
  expect(() => makeDirectory("/proc/ringpost/data")).toThrow(/ENOENT|EACCES|EROFS|EPERM/);
});
