import { expect, test } from "vitest";
import type { NodeConfig } from "../config/index.js";
import { RingJoinError } from "../ring/ports.js";
import { startFailure } from "./start-failure.js";

const config = { dataDir: "/data/a" } as NodeConfig;

function named(name: string, message: string): Error {
  return Object.assign(new Error(message), { name });
}

function coded(code: string, path?: string): Error {
  return Object.assign(new Error(`${code}: some words`), { code, path });
}

test.each([
  [named("StoreLockedError", "in use by process 7"), "in use by process 7", 1],
  [named("NodeStartError", "port 25 is in use; --smtp"), "port 25 is in use; --smtp", 1],
  [named("ListenError", "a:1 is taken"), "a:1 is taken; choose another address with --addr", 1],
  [
    new RingJoinError("no-entry", "no way in through a:1"),
    "no way in through a:1; start a member there, or correct --entry",
    1,
  ],
  [new RingJoinError("duplicate-id", "id 5 is taken"), "id 5 is taken; choose another --id", 1],
  [
    coded("EACCES", "/data/a/lock"),
    "/data/a/lock can't be written by this user (EACCES); " +
      "change its owner, or give another directory with --data",
    1,
  ],
  [coded("ENOTDIR"), "/data/a is not a directory; give another with --data", 1],
  [coded("ENOSPC"), "the disk of /data/a is full; free some space, or give another with --data", 1],
  [coded("EMFILE"), "too many open files; raise the limit (ulimit -n) and start again", 1],
  [new Error("what is this"), "the member could not start: what is this", 70],
  ["thrown text", "the member could not start: thrown text", 70],
])("%s", (error, message, exitCode) => {
  expect(startFailure(error, config)).toMatchObject({ message, exitCode });
});
