import { beforeEach, expect, test } from "vitest";
import { Heartbeat } from "./heartbeat.js";
import { LockTable } from "./locks.js";
import type { Membership } from "./membership.js";
import type { Roster } from "./roster.js";
import {
  heldPeers,
  mailboxOf,
  ManualClock,
  memberOf,
  type PendingCall,
  rosterOf,
} from "./testing.js";

const [self, other] = [memberOf(1), memberOf(2)];
let clock: ManualClock;
let calls: PendingCall[];
let learned: number;
let heard: [string, boolean][];
let quiet: string[];
let locks: LockTable;
let heartbeat: Heartbeat;
let rosterChanges: (roster: Roster, before: Roster) => void;

beforeEach(() => {
  clock = new ManualClock();
  const held = heldPeers(self);
  calls = held.calls;
  learned = 0;
  heard = [];
  quiet = [];
  locks = new LockTable(self.uuid, 1_500, () => clock.monotonicMs());
  const membership = {
    self,
    roster: rosterOf([self, other], 2, 5),
    onChange: (listener: typeof rosterChanges) => {
      rosterChanges = listener;
    },
    learnFrom: () => {
      learned += 1;
      return Promise.resolve();
    },
  };
  heartbeat = new Heartbeat({
    ...{ peers: held.peers, locks, clock, boot: "me", deadlineMs: 1_000 },
    membership: membership as unknown as Membership,
    onHeard: (member, restarted) => heard.push([member.uuid, restarted]),
    onQuiet: (uuid) => quiet.push(uuid),
  });
});

test("asks every other member, none twice before it has answered", async () => {
  heartbeat.beat();
  heartbeat.beat();
  expect(calls.map(({ to }) => to)).toEqual([other.uuid]);
  await calls[0]?.fail();
  heartbeat.beat();
  expect(calls).toHaveLength(2);
});

test("silence counts from the last sign of life, of either kind", async () => {
  expect(heartbeat.silentMs(self.uuid)).toBe(0);
  await clock.advance(1_000);
  expect(heartbeat.silentMs(other.uuid)).toBe(1_000);
  heartbeat.beat();
  await calls[0]?.answer({ boot: "b", epoch: 5 });
  expect(heartbeat.silentMs(other.uuid)).toBe(0);
  await clock.advance(700);
  await heartbeat.answer(other, { boot: "b", epoch: 5 });
  expect(heartbeat.silentMs(other.uuid)).toBe(0);
});

test("who misses its beats is quiet, until it is heard", async () => {
  for (let ticks = 0; ticks < 5; ticks += 1) {
    expect(heartbeat.isQuiet(other.uuid)).toBe(false);
    heartbeat.tick();
  }
  expect(heartbeat.isQuiet(other.uuid)).toBe(true);
  expect(heartbeat.isQuiet(self.uuid)).toBe(false);
  heartbeat.tick();
  expect(quiet).toEqual([other.uuid]);
  await heartbeat.answer(other, { boot: "b", epoch: 5 });
  expect(heartbeat.isQuiet(other.uuid)).toBe(false);
});

test("every second tick sends beats", async () => {
  heartbeat.tick();
  expect(calls).toHaveLength(1);
  await calls[0]?.answer({ boot: "b", epoch: 5 });
  heartbeat.tick();
  expect(calls).toHaveLength(1);
  heartbeat.tick();
  expect(calls).toHaveLength(2);
});

test("tells of members that are heard first, again, or after a restart", async () => {
  const beat = (boot: string) => heartbeat.answer(other, { boot, epoch: 5 });
  await beat("b1");
  await beat("b1");
  await beat("b2");
  for (let ticks = 0; ticks < 5; ticks += 1) heartbeat.tick();
  await beat("b2");
  expect(heard).toEqual([
    [other.uuid, false],
    [other.uuid, true],
    [other.uuid, false],
  ]);
});

test("locks of a member live by its beats, and a newer roster is learned", async () => {
  locks.acquire(mailboxOf("ann"), { session: "s", owner: other.uuid, boot: "b" });
  await clock.advance(1_000);
  await heartbeat.answer(other, { boot: "b", epoch: 5 });
  await clock.advance(1_000);
  expect(locks.holds(mailboxOf("ann"), "s")).toBe(true);
  expect(learned).toBe(0);
  await heartbeat.answer(other, { boot: "b", epoch: 6 });
  expect(learned).toBe(1);
});

test("a member is not silent before it came, whether it was never heard or long ago", async () => {
  const [fresh, back] = [memberOf(3), memberOf(4)];
  await heartbeat.answer(back, { boot: "b", epoch: 5 });
  await clock.advance(20_000);
  rosterChanges(rosterOf([self, other, fresh, back], 2, 6), rosterOf([self, other], 2, 5));
  await clock.advance(300);
  expect(heartbeat.silentMs(fresh.uuid)).toBe(300);
  expect(heartbeat.silentMs(back.uuid)).toBe(300);
  expect(heartbeat.silentMs(other.uuid)).toBe(20_300);
});
