import { expect, test } from "vitest";
import type { Address } from "../shared/ids.js";
import { Joining } from "./joining.js";
import { Membership } from "./membership.js";
import { Peers } from "./peers.js";
import type { JoinReply } from "./peer-methods.js";
import type { PeerCaller, Store } from "./ports.js";
import { type Member, type Roster, rosterToJson } from "./roster.js";
import { ManualClock, memberOf, quietLog, rosterOf, settle } from "./testing.js";

/** A node whose calls `answer` answers; it throws where nobody does. */
function nodeOf(self: Member, roster: Roster, answer: (to: Address) => JoinReply) {
  const asked: Address[] = [];
  const call = async (to: Address): Promise<JoinReply> => {
    asked.push(to);
    return Promise.resolve(answer(to));
  };
  const peers = new Peers(self, { call } as PeerCaller);
  const { ring } = roster;
  const stored = roster.epoch === 0 ? undefined : rosterToJson(roster);
  const store = { local: () => stored, write: () => Promise.resolve() } as unknown as Store;
  const membership = new Membership({ ring, store, peers, log: quietLog });
  const clock = new ManualClock();
  const joining = new Joining({ self, membership, peers, clock, log: quietLog });
  return { joining, membership, clock, asked };
}

const [joiner, first, second] = [memberOf(1), memberOf(2), memberOf(3)];

test("a joiner whose only entry leaves the ring gets in by a member that it named", async () => {
  let hasLeft = false;
  const node = nodeOf(joiner, rosterOf([], 2, 0), (to) => {
    if (to === first.addr && !hasLeft) {
      return { kind: "busy", why: "it is leaving", members: [second.addr] };
    }
    if (to !== second.addr) throw new Error("silent");
    const admitted = rosterOf([second, { ...joiner, state: "joining" }], 2, 5);
    return { kind: "roster", roster: rosterToJson(admitted) };
  });
  const stop = new AbortController();
  const joined = node.joining.join([first.addr], 10_000, stop.signal);
  await settle();
  // The ring is busy: one who says so is enough.
  expect(node.asked).toEqual([first.addr]);
  hasLeft = true;
  await node.clock.advance(1_000);
  expect(node.asked).toEqual([first.addr, first.addr, second.addr]);
  expect(node.membership.selfMember?.state).toBe("joining");
  stop.abort();
  await joined;
});

test("who can't admit a joiner names the active members, but not the joiner itself", async () => {
  const leaver = memberOf(4, "leaving");
  const { ring, ...rest } = rosterOf([first, second, joiner, leaver], 2, 7);
  for (const self of [leaver, first]) {
    const { joining } = nodeOf(self, { ring, ...rest }, () => {
      throw new Error("silent");
    });
    // New data at the joiner's old address.
    const request = { id: "9", addr: joiner.addr, uuid: memberOf(9).uuid, ring };
    await expect(joining.admit(request)).resolves.toMatchObject({
      kind: "busy",
      members: [first.addr, second.addr],
    });
  }
});
