/**
 * `kill -9` at the steps of both journals: before, in the middle of and behind writes, fsyncs, renames and
 * removals, of a sender and of a receiver, which are processes on a real file system behind a hostile relay.
 * One of each kind; with `RINGPOST_CRASH_STRIDE=1` then every step of a life, with 2 every other one.
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
  stride > 0 ? Array.from({ length: stepMax / stride }, (_, n) => ({ step: 1 + n * stride })) : [];
let ring: Ring;

beforeAll(async () => {
  ring = await scope.start({ members: 3 });
});

test.concurrent.each(["sender", "receiver"] as const)(
  "a %s that is killed at every step loses nothing, doubles nothing, keeps the order",
  async (side) => {
    const options = { side, seed, moments: [...moments, ...steps] };
    const { killedAt, missed, judgement } = await walk(ring, options);
    expect(judgement).toMatchObject({ lost: [], doubled: [], disordered: [], wrong: [] });
    const named = moments.map((moment) => "what" in moment && moment.what);
    expect(killedAt.slice(0, named.length)).toEqual(named);
    if (stride === 0) return;
    process.stdout.write(`${side}: killed ${killedAt.length} times\n`);
    // It came to the end of a life.
    expect(missed.length).toBeGreaterThan(0);
  },
  1_800_000,
);
