import { describe, expect, test } from "vitest";
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import type { MemberRef } from "./member.js";
import {
  adoptList,
  closerSuccessor,
  isCloserPredecessor,
  joinFrom,
  type RingView,
} from "./rules.js";

function at(id: number, uuid = `u${id}`): MemberRef {
  return { id: BigInt(id) as RingId, addr: `n${id}:1` as Address, uuid: uuid as MemberUuid };
}

function view(id: number, successors: readonly number[], predecessor?: number): RingView {
  return {
    self: at(id),
    predecessor: predecessor === undefined ? undefined : at(predecessor),
    successors: successors.map((entry) => at(entry)),
  };
}

function base(id: number, successors: readonly number[] = []) {
  return { self: at(id), successors: successors.map((entry) => at(entry)), listLength: 3 };
}

describe("adoptList: [s, ...s.successors without its last]", () => {
  test.each([
    ["a full list loses its last", 10, [], view(20, [30, 40, 50]), [20, 30, 40]],
    ["the circle wraps", 50, [], view(60, [5, 20, 40]), [60, 5, 20]],
    ["cut where it comes back to us", 10, [20, 30], view(20, [10, 30]), [20]],
    ["entries out of order are cut", 10, [], view(20, [40, 30]), [20, 40]],
    ["what a lost successor cannot say stays", 10, [20, 30, 40], view(20, []), [20, 30, 40]],
    ["old entries before its last do not", 10, [20, 25, 40], view(20, [30]), [20, 30, 40]],
    ["a closed circle takes no old entries", 10, [20, 30], view(20, [10]), [20]],
  ])("%s", (_name, self, old, head, expected) => {
    const list = adoptList(base(self, old), head).map((entry) => Number(entry.id));
    expect(list).toEqual(expected);
  });
});

describe("Join(j) through m, where between(m, j, m.successors[0])", () => {
  test("takes the list of the predecessor-to-be", () => {
    const verdict = joinFrom(base(15), view(10, [20, 30, 40]));
    expect(verdict).toEqual({ kind: "join", successors: [at(20), at(30), at(40)] });
  });

  test("of a ring of one closes the circle at it", () => {
    expect(joinFrom(base(15), view(10, []))).toEqual({ kind: "join", successors: [at(10)] });
  });

  test("finds its old place when it comes back", () => {
    const verdict = joinFrom(base(15), view(10, [15, 20, 30]));
    expect(verdict).toEqual({ kind: "join", successors: [at(20), at(30)] });
  });

  test("is refused by a member that does not precede it", () => {
    expect(joinFrom(base(25), view(10, [20, 30]))).toEqual({ kind: "elsewhere" });
  });

  test("finds its id taken", () => {
    const joiner = { ...base(15), self: at(15, "other") };
    expect(joinFrom(joiner, view(10, [15, 20]))).toEqual({ kind: "held", holder: at(15) });
    expect(joinFrom(joiner, view(15, []))).toEqual({ kind: "held", holder: at(15) });
  });
});

test.each([
  [10, view(20, [], 15), 15],
  [10, view(20, [], 5), undefined],
  [10, view(20, [], 10), undefined],
  [10, view(20, []), undefined],
  [50, view(5, [], 60), 60],
])("StabilizeFromSuccessor at %s finds its candidate", (self, successor, expected) => {
  const found = closerSuccessor(at(self), successor);
  expect(found && Number(found.id)).toBe(expected);
});

test.each([
  [20, 10, 15, true],
  [20, 10, 5, false],
  [20, undefined, 5, true],
  [5, 50, 60, true],
])("Rectify at %s with predecessor %s, notified by %s", (self, predecessor, by, expected) => {
  const present = predecessor === undefined ? undefined : at(predecessor);
  expect(isCloserPredecessor(at(self), present, at(by))).toBe(expected);
});
