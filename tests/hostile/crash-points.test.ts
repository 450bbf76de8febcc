/**
 * `kill -9` at the steps of both journals: before, in the middle of and behind writes, fsyncs, renames and
 * removals, of a sender and of a receiver, which are processes on a real file system behind a hostile relay.
 * One of each kind; `RINGPOST_CRASH_STRIDE=1` takes every step of a life, 2 every other one.
 */
import { beforeAll, expect, test } from "vitest";
import { ringScope } from "../support/ring-scope.js";
import type { Ring } from "../support/ring.js";
import { type Moment, moments } from "./relay/crashing-files.js";
import { walk } from "./relay/walk.js";

const scope = ringScope("file");
const stride = Number(process.env["RINGPOST_CRASH_STRIDE"] ?? 0);
const seed = Number(process.env["RINGPOST_SEED"] ?? 1);
/** More than a life has. */
const stepMax = 1_000;
const steps: readonly Moment[] =
  stride > 0
    ? Array.from({ length: stepMax / stride }, (_, n) => ({ step: 1 + n * stride }))
    : moments;
let ring: Ring;

beforeAll(async () => {
  ring = await scope.start({ members: 3 });
});

test.concurrent.each(["sender", "receiver"] as const)(
  "a %s that is killed at every step loses nothing, doubles nothing, keeps the order",
  async (side) => {
    const { killedAt, missed, judgement } = await walk(ring, { side, seed, moments: steps });
    expect(judgement).toMatchObject({ lost: [], doubled: [], disordered: [], wrong: [] });
    if (stride === 0) {
      expect(missed).toEqual([]);
      expect(killedAt).toEqual(moments.map((moment) => "what" in moment && moment.what));
      return;
    }
    // It came to the end, by steps of every kind.
    process.stdout.write(`${side}: killed ${killedAt.length} times\n`);
    expect(missed.length).toBeGreaterThan(0);
    if (stride > 1) return;
    const named = moments.flatMap((moment) => ("what" in moment ? moment.what : []));
    expect(killedAt).toEqual(expect.arrayContaining([...new Set(named)]));
  },
  1_800_000,
);
