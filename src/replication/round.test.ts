import { beforeEach, expect, test } from "vitest";
import { Round } from "./round.js";
import { ManualClock, quietLog, settle } from "./testing.js";

let clock: ManualClock;
let stopping: AbortController;
let startMs: number;
/** When it ran, since its begin. */
let runs: number[];

beforeEach(() => {
  clock = new ManualClock();
  startMs = clock.monotonicMs();
  stopping = new AbortController();
  runs = [];
});

/** It runs every second, and has begun; `run` is called with how many runs there were before. */
async function begun(run: (before: number) => Promise<void> | void = () => undefined) {
  const round = new Round({
    ...{ clock, log: quietLog, intervalMs: 1_000 },
    run: () => {
      runs.push(clock.monotonicMs() - startMs);
      return run(runs.length - 1);
    },
  });
  const ended = round.begin(stopping.signal);
  await settle();
  return { round, ended };
}

test("it runs at once, and again after each interval", async () => {
  await begun();
  await clock.advance(1_000);
  await clock.advance(1_000);
  expect(runs).toEqual([0, 1_000, 2_000]);
});

test("a run that fails is followed by the next one", async () => {
  await begun((before) => (before === 0 ? Promise.reject(new Error("no disk")) : undefined));
  await clock.advance(1_000);
  expect(runs).toEqual([0, 1_000]);
});

test("who wakes it does not wait for the interval", async () => {
  const { round } = await begun();
  await clock.advance(400);
  round.wake();
  await settle();
  expect(runs).toEqual([0, 400]);
});

test("what turns up during a run is not lost: another run follows at once", async () => {
  let finish = (): void => undefined;
  const { round } = await begun((before) =>
    before > 0 ? undefined : new Promise((resolve) => (finish = resolve)),
  );
  round.wake();
  round.wake();
  await settle();
  expect(runs).toEqual([0]);
  finish();
  await settle();
  expect(runs).toEqual([0, 0]);
});

test("it ends with the node, in the middle of an interval", async () => {
  const { ended } = await begun();
  stopping.abort();
  await ended;
  await clock.advance(5_000);
  expect(runs).toEqual([0]);
});
