import { describe, expect, test } from "vitest";
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import {
  changeRoster,
  emptyRoster,
  type Member,
  nextMembers,
  type Roster,
  type RosterChange,
  rosterFromJson,
  rosterToJson,
  votersOf,
} from "./roster.js";

const ring = { bits: 8, replicas: 2, domain: "ring.test" };
const named = (id: number) => ({
  id: BigInt(id) as RingId,
  addr: `h${id}:25` as Address,
  uuid: `u${id}` as MemberUuid,
});
const member = (id: number, state: Member["state"] = "active", evicted = false): Member => ({
  ...named(id),
  incarnation: 1,
  state,
  ...(evicted && { evicted: true as const }),
});
const rosterOf = (...members: Member[]): Roster => ({ epoch: 5, ring, members });
const uuid = (id: number) => `u${id}` as MemberUuid;

/** States by id, e.g. `1 active, 2 leaving`. */
const picture = ({ members }: Roster): string =>
  members.map(({ id, state, evicted }) => `${id} ${evicted ? "evicted" : state}`).join(", ");

const [a, b, c] = [member(1), member(2), member(3)];
const retire = (id: number, evicted = false): RosterChange => ({
  kind: "retire",
  uuid: uuid(id),
  evicted,
});
const settle: RosterChange = { kind: "settle", epoch: 5 };

describe("changes of the roster", () => {
  test.each<[string, Roster, RosterChange, string]>([
    ["admit", rosterOf(a, c), { kind: "admit", member: named(2) }, "1 active, 2 joining, 3 active"],
    ["settle a joiner", rosterOf(a, member(2, "joining")), settle, "1 active, 2 active"],
    ["settle leavers", rosterOf(a, member(2, "leaving"), member(3, "leaving")), settle, "1 active"],
    ["leave", rosterOf(a, b), retire(2), "1 active, 2 leaving"],
    ["evict", rosterOf(a, b, c), retire(2, true), "1 active, 2 evicted, 3 active"],
    [
      "two leave at a time",
      rosterOf(a, member(2, "leaving"), c),
      retire(3),
      "1 active, 2 leaving, 3 leaving",
    ],
    [
      "evict who died while leaving",
      rosterOf(a, member(2, "leaving")),
      retire(2, true),
      "1 active, 2 evicted",
    ],
    ["a joiner that leaves is off", rosterOf(a, member(2, "joining")), retire(2), "1 active"],
    ["remove", rosterOf(a, b), { kind: "remove", uuid: uuid(2) }, "1 active"],
  ])("%s", (_, before, change, after) => {
    const answer = changeRoster(before, change);
    expect(answer.kind === "changed" && picture(answer.roster)).toBe(after);
    expect(answer.kind === "changed" && answer.roster.epoch).toBe(6);
  });

  test.each<[string, Roster, RosterChange, string]>([
    ["admit a member again", rosterOf(a), { kind: "admit", member: named(1) }, "unchanged"],
    [
      "admit a taken id",
      rosterOf(a),
      { kind: "admit", member: { ...named(1), uuid: uuid(9), addr: "x:1" as Address } },
      "refused",
    ],
    [
      "admit at a taken address",
      rosterOf(a),
      { kind: "admit", member: { ...named(9), addr: a.addr } },
      "busy",
    ],
    [
      "admit while another joins",
      rosterOf(a, member(2, "joining")),
      { kind: "admit", member: named(3) },
      "busy",
    ],
    [
      "admit while one leaves",
      rosterOf(a, member(2, "leaving")),
      { kind: "admit", member: named(3) },
      "busy",
    ],
    ["leave while one joins", rosterOf(a, b, member(3, "joining")), retire(2), "busy"],
    ["the last one leaves", rosterOf(a), retire(1), "refused"],
    ["the last one but leavers leaves", rosterOf(a, member(2, "leaving")), retire(1), "refused"],
    ["leave twice", rosterOf(a, member(2, "leaving")), retire(2), "unchanged"],
    ["evict twice", rosterOf(a, member(2, "leaving", true)), retire(2, true), "unchanged"],
    [
      "settle another epoch",
      rosterOf(a, member(2, "joining")),
      { kind: "settle", epoch: 4 },
      "refused",
    ],
    ["settle nothing", rosterOf(a, b), settle, "unchanged"],
    ["move nobody", rosterOf(a), { kind: "move", uuid: uuid(9), addr: a.addr }, "refused"],
  ])("%s is not to be", (_, before, change, kind) => {
    expect(changeRoster(before, change).kind).toBe(kind);
  });

  test("a member that moves keeps everything but its address", () => {
    const move: RosterChange = { kind: "move", uuid: uuid(2), addr: "new:1" as Address };
    const answer = changeRoster(rosterOf(a, b), move);
    expect(answer.kind === "changed" && answer.roster.members).toEqual([
      a,
      { ...b, addr: "new:1" },
    ]);
  });

  test("joiners have no vote, leavers no future", () => {
    const roster = rosterOf(a, member(2, "joining"), member(3, "leaving"));
    expect(votersOf(roster).map(({ id }) => Number(id))).toEqual([1, 3]);
    expect(nextMembers(roster).map(({ id }) => Number(id))).toEqual([1, 2]);
  });
});

describe("as JSON", () => {
  test("a roster comes back as it was", () => {
    const roster = rosterOf(a, member(2, "leaving", true));
    expect(rosterFromJson(JSON.parse(JSON.stringify(rosterToJson(roster))))).toEqual(roster);
  });

  test.each([[null], [{}], [{ epoch: 1 }], [{ ...emptyRoster(ring), members: 3 }]])(
    "%j is refused",
    (json) => {
      expect(() => rosterFromJson(json)).toThrow(TypeError);
    },
  );
});
