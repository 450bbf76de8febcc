import { expect, test } from "vitest";
import { Unhurried } from "./leisure.js";

/** A clock that is set by hand, and what waits for it. */
function world() {
  const waiting: { ms: number; run: () => void }[] = [];
  let nowMs = 0;
  return {
    waiting,
    work: (ms: number) => {
      nowMs += ms;
    },
    system: {
      nowMs: () => nowMs,
      every: (ms: number, run: () => void) => {
        const entry = { ms, run };
        waiting.push(entry);
        return () => void waiting.splice(waiting.indexOf(entry), 1);
      },
      nextTurn: (run: () => void) => {
        queueMicrotask(run);
      },
    },
  };
}

test("rests three times as long as it worked, and not for ever", async () => {
  const { system, waiting, work } = world();
  const leisure = new Unhurried(system, () => false);
  for (const [workedMs, restMs] of [
    [5, 15],
    [20, 60],
    [1_000, 100],
  ] as const) {
    work(workedMs);
    const rest = leisure.rest();
    expect(waiting.map(({ ms }) => ms)).toEqual([restMs]);
    work(restMs);
    waiting[0]?.run();
    await rest;
    expect(waiting).toEqual([]);
  }
});

test("does not rest while much waits", async () => {
  const { system, waiting, work } = world();
  const leisure = new Unhurried(system, () => true);
  work(50);
  const rest = leisure.rest();
  expect(waiting).toEqual([]);
  await rest;
});

test("a rest ends when somebody waits for the work, and none begins any more", async () => {
  const { system, waiting, work } = world();
  const leisure = new Unhurried(system, () => false);
  work(50);
  const rest = leisure.rest();
  expect(waiting).toHaveLength(1);
  leisure.end();
  await rest;
  expect(waiting).toEqual([]);
  work(50);
  await leisure.rest();
  expect(waiting).toEqual([]);
});
