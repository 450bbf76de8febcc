import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import { isInGroup, isQuorum, majorityOf, placementOf, standInsFor } from "./placement.js";
import { changeRoster, type Member, type Roster, type RosterChange } from "./roster.js";

const member = (id: number, host = `h${id}`, state: Member["state"] = "active"): Member => ({
  id: BigInt(id) as RingId,
  addr: `${host}:25` as Address,
  uuid: `u${id}` as MemberUuid,
  incarnation: 1,
  state,
});

const rosterOf = (members: readonly Member[], replicas = 2): Roster => ({
  epoch: 1,
  ring: { bits: 8, replicas, domain: "ring.test" },
  members: [...members].sort((a, b) => Number(a.id - b.id)),
});

const ids = (members: readonly Member[]): number[] => members.map(({ id }) => Number(id));
/** Of a ring at rest. */
const groupOf = (members: readonly Member[], at: RingId, size: number): readonly Member[] =>
  placementOf(rosterOf(members, size - 1), at).current;
const key = (n: number): RingId => BigInt(n) as RingId;

describe("the group of a key", () => {
  const members = [10, 20, 30, 40].map((id) => member(id));
  test.each([
    [5, [10, 20, 30]],
    [10, [10, 20, 30]],
    [11, [20, 30, 40]],
    [35, [40, 10, 20]],
    [41, [10, 20, 30]],
  ])("of %i is the first r + 1 clockwise: %j", (at, expected) => {
    expect(ids(groupOf(members, key(at), 3))).toEqual(expected);
  });

  test("lies on distinct hosts where there are enough, else is filled in order", () => {
    const shared = [member(10, "a"), member(20, "a"), member(30, "b"), member(40, "b")];
    expect(ids(groupOf(shared, key(5), 2))).toEqual([10, 30]);
    expect(ids(groupOf(shared, key(5), 3))).toEqual([10, 20, 30]);
    expect(ids(groupOf(shared, key(5), 9))).toEqual([10, 20, 30, 40]);
  });

  test("does not depend on who is asked about first, and has no one twice", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(255), { minLength: 1, maxLength: 9 }),
        fc.nat(255),
        fc.integer({ min: 1, max: 5 }),
        (all, at, size) => {
          const group = groupOf(rosterOf(all.map((id) => member(id))).members, key(at), size);
          const clockwise = all.sort((a, b) => ((a - at + 256) % 256) - ((b - at + 256) % 256));
          expect(ids(group)).toEqual(clockwise.slice(0, size));
        },
      ),
    );
  });
});

describe("quorums", () => {
  test.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 3],
    [5, 3],
  ])("a majority of %i is %i", (size, majority) => {
    expect(majorityOf(size)).toBe(majority);
  });

  test("in a ring of two, one is enough only for who may go on alone", () => {
    const placement = placementOf(rosterOf([member(1), member(2)]), key(0));
    const one = new Set(["u1" as MemberUuid]);
    expect(isQuorum(placement, one)).toBe(false);
    expect(isQuorum(placement, one, true)).toBe(true);
    expect(isQuorum(placement, new Set(), true)).toBe(false);
    const three = placementOf(rosterOf([member(1), member(2), member(3)]), key(0));
    expect(isQuorum(three, one, true)).toBe(false);
  });

  test("while a member joins, both groups have to agree", () => {
    const roster = rosterOf([member(10, "a", "joining"), member(20), member(30), member(40)]);
    const placement = placementOf(roster, key(5));
    expect(ids(placement.current)).toEqual([20, 30, 40]);
    expect(ids(placement.next)).toEqual([10, 20, 30]);
    const set = (...numbers: number[]) => new Set(numbers.map((n) => `u${n}` as MemberUuid));
    expect(isQuorum(placement, set(20, 40))).toBe(false);
    expect(isQuorum(placement, set(10, 20))).toBe(false);
    expect(isQuorum(placement, set(20, 30))).toBe(true);
    expect(isQuorum(placement, set(10, 20, 40))).toBe(true);
  });

  const subset = (members: readonly Member[], mask: number): Set<MemberUuid> =>
    new Set(members.filter((_, index) => mask & (1 << index)).map(({ uuid }) => uuid));

  test("any two quorums of one epoch, or of consecutive ones, have a member in common", () => {
    const change = (roster: Roster): fc.Arbitrary<RosterChange> => {
      const some = fc.constantFrom(...roster.members.map(({ uuid }) => uuid));
      const newcomer = fc
        .nat(255)
        .filter((id) => !roster.members.some((other) => Number(other.id) === id))
        .map((id): RosterChange => ({ kind: "admit", member: member(id) }));
      return fc.oneof(
        newcomer,
        some.map((uuid): RosterChange => ({ kind: "retire", uuid, evicted: true })),
        fc.constant<RosterChange>({ kind: "settle", epoch: roster.epoch }),
      );
    };
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(255), { minLength: 1, maxLength: 7 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(255),
        fc.gen(),
        (all, replicas, at, gen) => {
          let roster = rosterOf(
            all.map((id) => member(id)),
            replicas,
          );
          for (let i = 0; i < 5; i += 1) {
            const answer = changeRoster(roster, gen(change, roster));
            const next = answer.kind === "changed" ? answer.roster : roster;
            const [before, after] = [placementOf(roster, key(at)), placementOf(next, key(at))];
            for (const [p, q] of [
              [before, before],
              [before, after],
            ] as const) {
              const a = subset(p.everyone, gen(fc.nat, 2 ** p.everyone.length - 1));
              const b = subset(q.everyone, gen(fc.nat, 2 ** q.everyone.length - 1));
              if (!isQuorum(p, a) || !isQuorum(q, b)) continue;
              // A settled change hands over by reading, see `Transfer`; else they intersect.
              const isSettled = before.next !== before.current && after.current === after.next;
              if (isSettled && p !== q) continue;
              expect([...a].some((uuid) => b.has(uuid))).toBe(true);
            }
            roster = next;
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

test("stand-ins are the others, clockwise, and nobody who is leaving", () => {
  const members = [10, 20, 30, 40, 50, 60].map((id) => member(id, `h${id}`));
  const roster = rosterOf(
    members.map((one) => (one.uuid === "u50" ? { ...one, state: "leaving" } : one)),
  );
  const placement = placementOf(roster, key(5));
  expect(ids(standInsFor(roster, placement))).toEqual([40, 60]);
  for (const one of standInsFor(roster, placement)) {
    expect(isInGroup(placement, one.uuid)).toBe(false);
  }
});
