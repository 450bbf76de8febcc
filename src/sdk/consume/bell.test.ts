import { afterEach, beforeEach, expect, test } from "vitest";
import { RingpostError } from "../errors.js";
import { Bell, type Listener } from "./bell.js";

class Sleeper implements Listener {
  isQuiet = true;
  pokes = 0;
  constructor(readonly queue: string) {}
  poke(): void {
    this.pokes += 1;
    this.isQuiet = false;
  }
}

let asked: (readonly string[])[];
let answer: (queues: readonly string[]) => readonly string[];
let closing: AbortController;
let bell: Bell;

beforeEach(() => {
  asked = [];
  answer = () => [];
  closing = new AbortController();
  bell = new Bell({
    ask: async (queues) => {
      asked.push(queues);
      return answer(queues);
    },
    ...{ poll: { minMs: 1, maxMs: 5 }, closing: closing.signal },
  });
});
afterEach(() => closing.abort());

function sleepersIn(...queues: string[]): Sleeper[] {
  const sleepers = queues.map((queue) => new Sleeper(queue));
  for (const sleeper of sleepers) bell.add(sleeper);
  return sleepers;
}

const questions = async (count: number): Promise<void> => {
  const until = asked.length + count;
  await expect.poll(() => asked.length >= until, { interval: 2 }).toBe(true);
};

test("one question for all that are quiet; those that have something are poked", async () => {
  const [a, b, c] = sleepersIn("a", "b", "c") as [Sleeper, Sleeper, Sleeper];
  b.isQuiet = false;
  bell.listen({ isBusy: false });
  await questions(3);
  expect(asked).toEqual(asked.map(() => ["a", "c"]));
  expect([a.pokes, b.pokes, c.pokes]).toEqual([0, 0, 0]);
  answer = () => ["b", "c"];
  await questions(2);
  expect([a.pokes, b.pokes, c.pokes]).toEqual([0, 0, 1]);
  expect(asked.at(-1)).toEqual(["a"]);
});

test("when nobody can say, all look; a refusal ends the asking", async () => {
  const sleepers = sleepersIn("a", "b", "c");
  answer = () => {
    throw new RingpostError("unreachable", "no server", true);
  };
  bell.listen({ isBusy: false });
  await expect.poll(() => sleepers.map(({ pokes }) => pokes)).toEqual([1, 1, 1]);
  expect(bell.isOfUse).toBe(true);
  for (const sleeper of sleepers) sleeper.isQuiet = true;
  answer = () => {
    throw new RingpostError("denied", "no such maildrop", false);
  };
  await expect.poll(() => sleepers.map(({ pokes }) => pokes)).toEqual([2, 2, 2]);
  expect(bell.isOfUse).toBe(false);
});

test("names fit a login: many are asked for in several questions", async () => {
  const sleepers = sleepersIn(...Array.from({ length: 100 }, (_, n) => `queue.${n}`));
  answer = (queues) => queues;
  bell.listen({ isBusy: false });
  await expect.poll(() => sleepers.every(({ pokes }) => pokes === 1)).toBe(true);
  expect(asked.map(({ length }) => length)).toEqual([48, 48, 4]);
});

test("two queues are looked into by themselves", () => {
  const [first] = sleepersIn("a", "b", "c");
  expect(bell.isOfUse).toBe(true);
  if (first) bell.delete(first);
  expect(bell.isOfUse).toBe(false);
});
