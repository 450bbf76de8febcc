import { expect, test } from "vitest";
import type { OutMessage, OutStream } from "../journal/out-state.js";
import { deadFrames, Passed } from "./passed.js";
import type { Sent } from "./sent.js";

/** A stream of which these sequences are left (`.`) or given up (`x`), from `first` on. */
function streamOf(stream: string, first: number, states: string): OutStream {
  const messages = new Map<number, OutMessage>();
  [...states].forEach((state, index) => {
    const sequence = first + index;
    messages.set(sequence, { stream, sequence, isVoid: state === "x" } as OutMessage);
  });
  return { to: "ring", stream, next: first + states.length, messages };
}

function restored(...streams: OutStream[]): Passed {
  const passed = new Passed((name) => streams.find(({ stream }) => stream === name));
  for (const stream of streams) passed.restored(stream);
  return passed;
}

test.each([
  ["in front of all that is left, in one run", 1, "xxx..", 5, [["s", 1, 3]]],
  [
    "and what was settled before, since nobody knows how far the ring has heard",
    7,
    "xx.",
    9,
    [["s", 1, 8]],
  ],
  [
    "between those that are left, by runs",
    1,
    ".xx.x.",
    6,
    [
      ["s", 2, 3],
      ["s", 5, 5],
    ],
  ],
  ["up to the last that is sent, and not behind", 1, ".xx.x.", 4, [["s", 2, 3]]],
  ["not at all where nothing was", 1, "...", 3, []],
])("what was given up is named %s", (_, first, states, upTo, runs) => {
  const passed = restored(streamOf("s", first, states));
  expect(passed.before(new Map([["s", upTo]]))).toEqual(runs);
});

test("of other streams it is said until it was heard, and again when there is more", () => {
  const [own, other] = [streamOf("own", 1, "."), streamOf("other", 1, "xx.x.")];
  const passed = restored(own, other);
  const upTo = new Map([["own", 1]]);
  const sent = {} as Sent;
  const dead = passed.before(upTo);
  expect(dead).toEqual([["other", 1, 2]]);
  passed.sent(sent, dead);
  expect(passed.before(upTo)).toEqual(dead);
  passed.heard(sent);
  expect(passed.before(upTo)).toEqual([]);
  // For its own messages it is said each time, until the ring has taken one.
  expect(passed.before(new Map([["other", 3]]))).toEqual([["other", 1, 2]]);
  Object.assign(other.messages.get(3) ?? {}, { isVoid: true });
  expect(passed.head("other")).toBe(4);
  expect(passed.before(upTo)).toEqual([["other", 1, 4]]);
});

test("a hundred thousand in front are one run; behind what is left they are the most there may be", () => {
  const many = "x".repeat(100_000);
  const front = streamOf("s", 1, `${many}.`);
  const passed = restored(front);
  expect(passed.before(new Map([["s", 100_001]]))).toEqual([["s", 1, 100_000]]);
  expect(passed.head("s")).toBe(100_000);
  for (const sequence of [...front.messages.keys()])
    if (sequence <= 100_000) front.messages.delete(sequence);
  expect(passed.isFull).toBe(false);

  const behind = streamOf("s", 1, `.${many}.`);
  const full = restored(behind);
  expect(full.isFull).toBe(true);
  expect(full.before(new Map([["s", 100_002]]))).toEqual([["s", 2, 100_001]]);
  // The ring has taken the one in front.
  behind.messages.delete(1);
  full.settled("s");
  expect(full.head("s")).toBe(100_001);
  expect(full.isFull).toBe(false);
});

test("one frame tells of a thousand runs", () => {
  const dead = Array.from({ length: 2_001 }, (_, n) => ["s", 2 * n, 2 * n] as const);
  const frames = deadFrames("c", dead);
  expect(frames.map((frame) => frame.dead?.length)).toEqual([1_000, 1_000, 1]);
});
