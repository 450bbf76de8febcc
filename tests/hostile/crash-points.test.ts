/**
 * `kill -9` at the steps of both journals: before, in the middle of and behind each write, fsync, rename and
 * removal, of a sender and of a receiver, which are processes on a real file system behind a hostile relay. A
 * selection; `RINGPOST_CRASH_STRIDE=1` takes every step.
 */
import { beforeAll, expect, test } from "vitest";
import { ringScope } from "../support/ring-scope.js";
import type { Ring } from "../support/ring.js";
import { walk } from "./relay/walk.js";

const scope = ringScope("file");
const stride = Number(process.env["RINGPOST_CRASH_STRIDE"] ?? 7);
const seed = Number(process.env["RINGPOST_SEED"] ?? 1);
let ring: Ring;

beforeAll(async () => {
  ring = await scope.start({ members: 3 });
});

test.concurrent.each(["sender", "receiver"] as const)(
  "a %s that is killed at every step loses nothing, doubles nothing, keeps the order",
  async (side) => {
    const { killedAt, judgement } = await walk(ring, { side, seed, stride, stepMax: 400 });
    console.log(side, killedAt.length, judgement);
    console.log(killedAt.join("\n"));
    expect(judgement).toMatchObject({ lost: [], doubled: [], disordered: [], wrong: [] });
    expect(killedAt.length).toBeGreaterThan(5);
  },
  600_000,
);
