import { describe, expect, test } from "vitest";
import type { MemberUuid } from "../shared/ids.js";
import { neededSilent, shareWithoutCopy } from "./departures.js";
import { isQuorum, neededOf, placementOf } from "./placement.js";
import { changeRoster, type Member, type Roster, votersOf } from "./roster.js";
import { gains } from "./shared-names.js";
import { memberOf, rosterOf } from "./testing.js";
import { gainersOf } from "./transfer.js";

const five = rosterOf([1, 2, 3, 4, 5].map((id) => memberOf(id * 40)));
const uuid = (id: number): MemberUuid => memberOf(id).uuid;
const numbers = (members: readonly Member[]): number[] => members.map(({ id }) => Number(id));

function changed(roster: Roster, change: Parameters<typeof changeRoster>[1]): Roster {
  const answer = changeRoster(roster, change);
  if (answer.kind !== "changed") throw new Error(JSON.stringify(answer));
  return answer.roster;
}

describe("members that are abandoned", () => {
  const without = changed(five, { kind: "abandon", uuids: [uuid(80), uuid(120)] });

  test("stay on the roster until it is settled, and decide nothing more", () => {
    expect(without.members.filter(({ lost }) => lost).map(({ id }) => Number(id))).toEqual([
      80, 120,
    ]);
    expect(numbers(votersOf(without))).toEqual([40, 160, 200]);
    expect(changeRoster(without, { kind: "abandon", uuids: [uuid(80)] }).kind).toBe("unchanged");
    const after = changed(without, { kind: "settle", epoch: without.epoch });
    expect(numbers(after.members)).toEqual([40, 160, 200]);
  });

  test("the last one left is enough to read from, the others of its range read from it", () => {
    const placement = placementOf(without, memberOf(80).id);
    expect(numbers(placement.current)).toEqual([160]);
    expect(numbers(placement.next)).toEqual([160, 200, 40]);
    expect(neededOf(placement)).toBe(1);
    expect(numbers(gainersOf(without))).toEqual([40, 160, 200]);
    // Not before a majority of the next group says so, too.
    expect(isQuorum(placement, new Set([uuid(160)]))).toBe(false);
    expect(isQuorum(placement, new Set([uuid(200), uuid(40)]))).toBe(false);
    expect(isQuorum(placement, new Set([uuid(160), uuid(40)]))).toBe(true);
  });

  test("all members can't be", () => {
    const uuids = five.members.map((member) => member.uuid);
    expect(changeRoster(five, { kind: "abandon", uuids })).toMatchObject({ kind: "refused" });
  });
});

/** Every subset of `all`, as sets. */
function subsets<T>(all: readonly T[]): Set<T>[] {
  return Array.from(
    { length: 2 ** all.length },
    (_, bits) => new Set(all.filter((_item, index) => bits & (1 << index))),
  );
}

test.each([0, 1, 2, 3, 4])(
  "r = %i: what a majority stored and somebody left has is known to every quorum, now and after",
  (replicas) => {
    const size = replicas + 1;
    const missed: string[] = [];
    for (const total of [size, size + 1, 2 * size]) {
      const ids = Array.from({ length: total }, (_, index) => (index + 1) * 10);
      const roster = rosterOf(
        ids.map((id) => memberOf(id)),
        replicas,
      );
      const former = placementOf(roster, memberOf(10).id).current.map((member) => member.uuid);
      for (const lost of subsets(former)) {
        if (lost.size === 0 || lost.size === total) continue;
        const placement = placementOf(
          changed(roster, { kind: "abandon", uuids: [...lost] }),
          memberOf(10).id,
        );
        const left = placement.current.map((member) => member.uuid);
        const gaining = placement.next
          .map((member) => member.uuid)
          .filter((id) => gains(placement, id));
        for (const wrote of subsets(former)) {
          const has = left.filter((id) => wrote.has(id));
          if (wrote.size < Math.floor(size / 2) + 1 || has.length === 0) continue;
          for (const read of subsets(left)) {
            if (read.size < neededOf(placement)) continue;
            if (!has.some((id) => read.has(id))) missed.push("while it changes");
          }
          // Once it is settled, who gains has read all of it.
          const knows = new Set([...has, ...gaining]);
          const next = placement.next.map((member) => member.uuid);
          for (const read of subsets(next)) {
            if (read.size < Math.floor(next.length / 2) + 1) continue;
            if (![...read].some((id) => knows.has(id))) missed.push("once it is settled");
          }
        }
      }
    }
    expect(missed).toEqual([]);
  },
);

describe("who is waited for", () => {
  const evicted = (id: number): Member => ({ ...memberOf(id, "leaving"), evicted: true });
  const isSilent = (...ids: number[]) => {
    return (member: Member): boolean => ids.includes(Number(member.id));
  };

  test("nobody, as long as each range has a majority that answers", () => {
    const roster = rosterOf([memberOf(40), evicted(80), memberOf(120), memberOf(160)]);
    expect(neededSilent(roster, isSilent(80))).toEqual([]);
  });

  test("silent members of ranges that have none", () => {
    const roster = rosterOf([memberOf(40), evicted(80), memberOf(120), memberOf(160)]);
    expect(numbers(neededSilent(roster, isSilent(80, 120)))).toEqual([80, 120]);
  });

  test("nobody who is given up", () => {
    const uuids = [uuid(80), uuid(120)];
    const roster = changed(five, { kind: "abandon", uuids });
    expect(neededSilent(roster, isSilent(80, 120))).toEqual([]);
  });
});

test("the share of the circle without any copy", () => {
  const gone = (...ids: number[]) => new Set(ids.map((id) => uuid(id)));
  expect(shareWithoutCopy(five, gone(80, 120))).toBe(0);
  // Keys above 40 up to 80 are kept by 80, 120 and 160; 40 of 256 ids.
  expect(shareWithoutCopy(five, gone(80, 120, 160))).toBeCloseTo(40 / 256);
});

test("leaving is refused when fewer would be left than are asked for", () => {
  const retire = { kind: "retire", uuid: uuid(40), evicted: false } as const;
  const three = rosterOf([memberOf(40), memberOf(80), memberOf(120)]);
  expect(changeRoster(three, { ...retire, atLeast: 3 })).toMatchObject({
    kind: "refused",
    why: expect.stringContaining("with 2 members left") as string,
  });
  expect(changeRoster(three, retire).kind).toBe("changed");
  expect(changeRoster(five, { ...retire, atLeast: 3 }).kind).toBe("changed");
});
