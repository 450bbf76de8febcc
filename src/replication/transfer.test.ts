import { describe, expect, test } from "vitest";
import type { RegisterState } from "../shared/operation.js";
import { Groups } from "./group.js";
import type { Membership } from "./membership.js";
import type { Store } from "./ports.js";
import type { Puller } from "./pull.js";
import type { Registers } from "./registers.js";
import type { Member, Roster } from "./roster.js";
import { createHandlers, type ServiceOptions } from "./service.js";
import { heldPeers, ManualClock, memberOf, quietLog, rosterOf, settle } from "./testing.js";
import { gainersOf, Transfer } from "./transfer.js";

const numbers = (members: readonly Member[]): number[] => members.map(({ id }) => Number(id));
const evicted = (id: number): Member => ({ ...memberOf(id, "leaving"), evicted: true });

describe("who has to read before a change is complete", () => {
  test.each<[string, Member[], number[]]>([
    ["nobody at rest", [memberOf(1), memberOf(2), memberOf(3)], []],
    ["who joins", [memberOf(1), memberOf(2, "joining")], [2]],
    [
      "who follows on one that leaves",
      [1, 2, 3].map((id) => memberOf(id)).concat(memberOf(4, "leaving")),
      [1, 2, 3],
    ],
    [
      "all who stay when groups get smaller",
      [memberOf(1), memberOf(2), memberOf(3, "leaving")],
      [1, 2],
    ],
    ["the last one, too", [memberOf(1), memberOf(2, "leaving")], [1]],
  ])("%s", (_, members, expected) => {
    expect(numbers(gainersOf(rosterOf(members)))).toEqual(expected);
  });
});

const page = { kind: "page", mailboxes: [], registers: [] as object[], more: false };

/** A member that reads what it gains; the test answers for the others. */
async function reading(roster: Roster, self: Member, own?: RegisterState) {
  const { peers, calls } = heldPeers(self);
  const clock = new ManualClock();
  const confirmed: string[] = [];
  const membership = { roster, self } as unknown as Membership;
  const transfer = new Transfer({
    ...{ membership, clock, log: quietLog },
    groups: new Groups(peers, { roster, learn: () => Promise.resolve() }),
    registers: {
      confirm: (register: string) => Promise.resolve(void confirmed.push(register)),
    } as unknown as Registers,
    store: {
      durable: () => Promise.resolve(),
      write: () => Promise.resolve(),
      register: () => own,
      catalog: () => [],
    } as unknown as Store,
    puller: {} as Puller,
  });
  transfer.begin();
  await settle();
  return { transfer, calls, confirmed };
}

describe("a member that gains is done", () => {
  const staying = [memberOf(1), memberOf(2)];

  test.each([
    ["when one that leaves in good order has told", memberOf(3, "leaving"), true, true],
    ["not without it: it may have the only copy", memberOf(3, "leaving"), false, false],
    ["without one that was evicted", evicted(3), false, true],
  ] as const)("%s", async (_, leaver, answers, isDone) => {
    const { transfer, calls } = await reading(rosterOf([...staying, leaver]), memberOf(1));
    await calls[0]?.answer(page);
    await (answers ? calls[1]?.answer(page) : calls[1]?.fail());
    await settle();
    expect(calls.map(({ to }) => to).slice(0, 2)).toEqual(["u2", "u3"]);
    expect(transfer.progress().done).toBe(isDone);
    transfer.stop();
  });

  test("not while a promise blocks a register, which it has decided anew", async () => {
    const promise = { counter: 9, proposer: "x" };
    const own = { promised: promise, accepted: { counter: 0, proposer: "" }, value: null };
    const joiner = memberOf(2, "joining");
    const { transfer, calls, confirmed } = await reading(
      rosterOf([memberOf(1), joiner]),
      joiner,
      own,
    );
    const accepted = { counter: 5, proposer: "a" };
    const state = { promised: accepted, accepted, value: "v" };
    await calls[0]?.answer({ ...page, registers: [{ register: "account:ann", state }] });
    await settle();
    expect(confirmed).toEqual(["account:ann"]);
    expect(transfer.progress().done).toBe(false);
    transfer.stop();
  });
});

test.each([
  ["leaves and keeps hints", "leaving", true, false],
  ["leaves without any", "leaving", false, true],
  ["stays", "active", true, true],
] as const)("a member that %s is done: %s, %s, %s", async (_, state, keepsForeign, done) => {
  const self = memberOf(1, state);
  const membership = { roster: rosterOf([self]), self, selfMember: self };
  const handlers = createHandlers({
    membership,
    names: { keepsForeign: () => keepsForeign },
    transfer: { progress: () => ({ done: true, copied: 0, total: 0 }) },
  } as unknown as ServiceOptions);
  expect(await handlers.progress(self, { epoch: 1 })).toMatchObject({ kind: "progress", done });
});
