import { describe, expect, test } from "vitest";
import { type Floor, isSunk, packIds, sparedBy, unpackIds } from "../shared/floor.js";
import type { MessageId } from "../shared/ids.js";
import {
  aim,
  barrierOf,
  belowTime,
  floorFrom,
  intentionSpanMs,
  keptFloorOf,
  lastOfFlows,
  soundingOf,
} from "./floor-rules.js";
import { messageOf } from "./testing.js";

/** Of the flow `a`, `b` …, at a time. */
const idOf = (flow: string, ms: number, version = "8"): MessageId =>
  `${belowTime(ms)}${version}000${flow.repeat(10)}000000` as MessageId;

const contentsOf = (live: readonly MessageId[], removed: readonly MessageId[], floor?: Floor) => ({
  messages: live.map((id) => messageOf(1, { id })),
  tombstones: removed.map((id) => ({ id, removedAtMs: 1 })),
  floor,
  summary: { digest: "", messages: live.length, tombstones: removed.length, octets: 0 },
});

describe("of what was removed", () => {
  test("only what may be of a flow's last intention is spared", () => {
    const before = idOf("a", 1_000 - intentionSpanMs - 1);
    const removed = [before, idOf("a", 1_000 - 1), idOf("a", 1_000), idOf("b", 10)];
    expect(lastOfFlows(removed, removed)).toEqual(removed.slice(1));
    // What is alive, or above the floor, tells as well that the flow has gone on.
    expect(lastOfFlows(removed, [...removed, idOf("b", 500)])).toEqual(removed.slice(1, 3));
  });

  test("a floor spares what a majority has, and no more than the one before did", () => {
    const live = [idOf("a", 5), idOf("a", 50)];
    const { below } = floorFrom(belowTime(20), undefined, [{ live: live.slice(0, 1), last: [] }]);
    expect(below).toBe(belowTime(20));
    const before = floorFrom(below, undefined, [{ live: [], last: [] }]);
    const floor = floorFrom(belowTime(100), before, [
      { live, last: [idOf("b", 60), idOf("b", 70)] },
      { live: [], last: [idOf("b", 90), idOf("b", 70)] },
    ]);
    expect(unpackIds(floor.spared)).toEqual([live[1], idOf("b", 90)].sort());
    expect(isSunk(floor, idOf("a", 5))).toBe(true);
    expect(isSunk(floor, idOf("a", 50))).toBe(false);
    expect(isSunk(floor, idOf("a", 100))).toBe(false);
    expect(isSunk(floor, idOf("a", 5, "7"))).toBe(false);
  });
});

test("what is told of a barrier: all that lives below it, and nothing that is of no flow", () => {
  const contents = contentsOf(
    [idOf("a", 5), idOf("a", 30), idOf("c", 6, "7")],
    [idOf("b", 7), idOf("b", 8, "7"), idOf("d", 9), idOf("d", 40)],
  );
  const sounding = soundingOf(contents, belowTime(20));
  expect(sounding).toEqual({ live: [idOf("a", 5)], last: [idOf("b", 7)] });
});

test("a floor rises no higher than what it can spare", () => {
  const live = [10, 20, 30].map((ms) => idOf("a", ms));
  const removed = Array.from({ length: 50 }, (_, i) => idOf("b", i));
  expect(aim(contentsOf(live, removed), belowTime(45), 2).below).toBe(belowTime(30));
  expect(aim(contentsOf(live, removed), belowTime(45), 2).saves).toBe(30);
  expect(aim(contentsOf(live, removed), belowTime(45), 10)).toEqual({
    ...{ below: belowTime(45), saves: 45 },
  });
});

test("a barrier is the higher of what is agreed and what is wanted; junk is neither", () => {
  const floor = { below: belowTime(5), spared: "" };
  expect(barrierOf({})).toBe("");
  expect(barrierOf({ floor })).toBe(belowTime(5));
  expect(barrierOf({ floor, raise: { nonce: "n", below: belowTime(9) } })).toBe(belowTime(9));
  for (const junk of [null, undefined, 7, "x", [], { floor: 1, raise: { below: "zz" } }]) {
    expect(keptFloorOf(junk)).toEqual({});
  }
  expect(keptFloorOf({ floor, more: 1 })).toEqual({ floor });
});

test("ids are packed as they are", () => {
  const ids = [idOf("a", 1), idOf("b", 2)];
  expect(unpackIds(packIds(ids))).toEqual(ids);
  expect(sparedBy({ below: belowTime(9), spared: packIds(ids) })).toEqual(new Set(ids));
});
