import { expect, test } from "vitest";
import { Pace } from "./pace.js";
import { ManualClock, settle } from "./testing.js";

const octets = (n: number): number => n;

/** Runs fetches of `sizes`; notes which have begun. */
function fetching(pace: Pace, sizes: readonly number[]) {
  const begun: number[] = [];
  const done = sizes.map((size, index) =>
    pace.run(() => {
      begun.push(index);
      return Promise.resolve(size);
    }, octets),
  );
  return { begun, all: Promise.all(done) };
}

test("no more octets a second than allowed, however many fetches there are", async () => {
  const clock = new ManualClock();
  const pace = new Pace(clock, { octetsPerSecond: 1_000, fetchesMax: 1 });
  const { begun, all } = fetching(pace, [2_000, 500, 100]);
  await settle();
  expect(begun).toEqual([0]);
  await clock.advance(1_999);
  expect(begun).toEqual([0]);
  await clock.advance(1);
  expect(begun).toEqual([0, 1]);
  await clock.advance(500);
  expect(begun).toEqual([0, 1, 2]);
  expect(await all).toEqual([2_000, 500, 100]);
});

test("no more fetches at a time than allowed", async () => {
  const pace = new Pace(new ManualClock(), { octetsPerSecond: 1e9, fetchesMax: 2 });
  const finish: (() => void)[] = [];
  const started = [1, 2, 3].map(() =>
    pace.run(() => new Promise<number>((resolve) => finish.push(() => resolve(0))), octets),
  );
  await settle();
  expect(finish).toHaveLength(2);
  finish[0]?.();
  await settle();
  expect(finish).toHaveLength(3);
  for (const end of finish) end();
  await Promise.all(started);
});

test("while clients are served, a fetch is followed by a rest as long as it took", async () => {
  const clock = new ManualClock();
  const pace = new Pace(clock, { octetsPerSecond: 1e9, fetchesMax: 1 });
  const slow = async (): Promise<number> => {
    await clock.sleep(100);
    pace.noteForeground();
    return 1;
  };
  let next = 0;
  const both = [pace.run(slow, octets), pace.run(() => Promise.resolve(++next), octets)];
  await settle();
  await clock.advance(100);
  await clock.advance(99);
  expect(next).toBe(0);
  await clock.advance(1);
  expect(next).toBe(1);
  await Promise.all(both);
});
