import { describe, expect, test } from "vitest";
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import { createLookup, type LookupOptions, type LookupResult } from "./lookup.js";
import type { MemberRef } from "./member.js";
import type { Found } from "./message.js";

const bits = 8;

function at(id: number): MemberRef {
  return {
    id: BigInt(id) as RingId,
    addr: `n${id}:1` as Address,
    uuid: `u${id}` as MemberUuid,
  };
}

function found(
  id: number,
  successors: readonly number[],
  preceding: readonly number[] = [],
): Found {
  return {
    self: at(id),
    predecessor: undefined,
    successors: successors.map(at),
    preceding: preceding.map(at),
  };
}

/** Who answers what; all others are silent. */
type World = Readonly<Record<number, Found>>;

function lookup(key: number, world: World, options: Partial<LookupOptions> = {}): LookupResult {
  const run = createLookup({ key: BigInt(key) as RingId, bits, listLength: 3, ...options });
  let action = run.start();
  while (action.kind === "ask") {
    const reply = world[Number(action.member.id)];
    action = reply === undefined ? run.unanswered() : run.answered(reply);
  }
  return action.result;
}

function shown(result: LookupResult) {
  const path = result.path.map((member) => Number(member.id));
  if (!result.ok) return { reason: result.reason, path, timeouts: result.timeouts };
  const { owner, closestBefore, timeouts } = result;
  return { owner: Number(owner.id), before: Number(closestBefore.id), path, timeouts };
}

/** 10 → 50 → 90 → 130 → 170 → 210 → 10. */
const six: World = {
  10: found(10, [50, 90, 130], [90]),
  50: found(50, [90, 130, 170]),
  90: found(90, [130, 170, 210]),
  130: found(130, [170, 210, 10]),
  170: found(170, [210, 10, 50]),
  210: found(210, [10, 50, 90]),
};
const origin = six[10];

describe("from a member", () => {
  const options = origin === undefined ? {} : { origin };

  test.each([
    [20, { owner: 50, before: 10, path: [10, 50], timeouts: 0 }],
    [50, { owner: 50, before: 10, path: [10, 50], timeouts: 0 }],
    [51, { owner: 90, before: 10, path: [10, 90], timeouts: 0 }],
    [200, { owner: 210, before: 130, path: [10, 130, 210], timeouts: 0 }],
    [250, { owner: 10, before: 130, path: [10, 130], timeouts: 0 }],
    [10, { owner: 10, before: 130, path: [10, 130], timeouts: 0 }],
  ])("the owner of %s", (key, expected) => {
    expect(shown(lookup(key, six, options))).toEqual(expected);
  });

  test("goes around dead members on the way and counts them", () => {
    const { 130: _dead, ...others } = six;
    const result = lookup(200, others, options);
    expect(shown(result)).toEqual({ owner: 210, before: 90, path: [10, 90, 210], timeouts: 1 });
  });

  test("the next live member owns what a dead one owned", () => {
    const { 210: _dead, ...others } = six;
    const result = lookup(200, others, options);
    expect(shown(result)).toMatchObject({ owner: 10, before: 130, timeouts: 1 });
  });

  test("an owner that knows of a closer one is not the owner", () => {
    const newcomer: World = {
      ...six,
      50: { ...found(50, [90, 130, 170]), predecessor: at(30) },
      30: found(30, [50, 90, 130]),
    };
    expect(shown(lookup(20, newcomer, options))).toMatchObject({ owner: 30, before: 10 });
    expect(shown(lookup(40, newcomer, options))).toMatchObject({ owner: 50, before: 10 });
  });

  test("a list whose owners are all dead is not the last word", () => {
    const { 50: _a, 90: _b, 130: _c, ...others } = six;
    const fingers = { ...others, 10: found(10, [50, 90, 130], [210, 170]) };
    const result = lookup(20, fingers, { origin: fingers[10] });
    expect(shown(result)).toMatchObject({ owner: 170, timeouts: 3 });
  });

  test("fails rather than name a wrong owner when the whole list before the key is dead", () => {
    const alone = { 10: found(10, [50, 90, 130], [90]) };
    expect(shown(lookup(200, alone, options))).toMatchObject({ reason: "unroutable", timeouts: 3 });
  });

  test("the last live member of a small ring owns everything", () => {
    const result = lookup(200, {}, { origin: found(10, [50]) });
    expect(shown(result)).toMatchObject({ owner: 10, timeouts: 1 });
  });

  test("is bounded, even when every answer names somebody closer", () => {
    const endless = createLookup({
      key: 0n as RingId,
      bits: 160,
      listLength: 3,
      origin: found(1, [2]),
    });
    let action = endless.start();
    for (let i = 3; action.kind === "ask"; i++) action = endless.answered(found(i - 1, [i]));
    expect(action.result).toMatchObject({ ok: false, reason: "too-many-hops" });
  });
});

/** 10 → 50 → (60) → 90 → 130 → 10: 90 has died since, and 60 joined where old lists have 90. */
describe("a member that would own the key is silent", () => {
  const world = (answers: World = {}): World => ({
    10: found(10, [50, 90, 130]),
    50: found(50, [90, 130, 10]),
    130: { ...found(130, [10, 50, 90]), predecessor: at(90) },
    ...answers,
  });
  const old = { origin: found(10, [50, 90, 130]) };

  test("its place is looked up with the last live member before the key", () => {
    const { 90: _dead, ...others } = world({ 50: found(50, [60, 90, 130]), 60: found(60, [90]) });
    expect(shown(lookup(55, others, old))).toEqual({
      ...{ owner: 60, before: 50, path: [10, 130, 50, 60], timeouts: 1 },
    });
  });

  test("it is asked once more when both its neighbours have it", () => {
    const { 90: _dead, ...others } = world();
    expect(shown(lookup(55, others, old))).toEqual({
      ...{ owner: 130, before: 50, path: [10, 130, 50], timeouts: 2 },
    });
  });

  test("it owns the key when its first answer was only late", () => {
    const run = createLookup({ key: 55n as RingId, bits, listLength: 3, ...old });
    const asked: number[] = [];
    let action = run.start();
    while (action.kind === "ask") {
      const id = Number(action.member.id);
      const reply = id === 90 && !asked.includes(90) ? undefined : world({ 90: found(90, []) })[id];
      asked.push(id);
      action = reply === undefined ? run.unanswered() : run.answered(reply);
    }
    expect(asked).toEqual([90, 130, 50, 90]);
    expect(shown(action.result)).toMatchObject({ owner: 90, before: 50, timeouts: 1 });
  });

  test("neighbours that no longer have it are believed", () => {
    const { 90: _dead, ...others } = world({ 50: found(50, [130, 10]) });
    expect(shown(lookup(55, others, old))).toMatchObject({ owner: 130, timeouts: 1 });
  });
});

describe("through an entry", () => {
  test("waits for one silent successor of the predecessor-to-be at the most", () => {
    const { 90: _a, 130: _b, ...others } = six;
    const options = { entries: [at(10)], exclude: at(70).uuid, predecessorOnly: true };
    expect(shown(lookup(70, others, options))).toMatchObject({ before: 50, timeouts: 1 });
  });

  test("finds a predecessor-to-be that only its successor knows of yet", () => {
    const newcomer: World = {
      ...six,
      90: { ...found(90, [130, 170, 210]), predecessor: at(60) },
      60: { ...found(60, [90, 130, 170]), predecessor: at(50) },
    };
    const options = { entries: [at(170)], exclude: at(70).uuid, predecessorOnly: true };
    expect(shown(lookup(70, newcomer, options))).toMatchObject({ before: 60, timeouts: 0 });
  });

  test("finds the predecessor-to-be, never by way of oneself", () => {
    const result = lookup(60, six, {
      entries: [at(170)],
      exclude: at(60).uuid,
      predecessorOnly: true,
    });
    expect(shown(result)).toMatchObject({ before: 50 });
    const back = lookup(
      50,
      { ...six, 50: found(50, []) },
      {
        entries: [at(170)],
        exclude: at(50).uuid,
        predecessorOnly: true,
      },
    );
    expect(shown(back)).toMatchObject({ before: 10, timeouts: 0 });
  });

  test("tries the entries in turn", () => {
    const result = lookup(60, six, { entries: [at(77), at(170)] });
    expect(shown(result)).toMatchObject({ owner: 90, timeouts: 1 });
    expect(shown(lookup(60, {}, { entries: [at(77)] }))).toMatchObject({ reason: "unroutable" });
  });
});
