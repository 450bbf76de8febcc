import { expect, test } from "vitest";
import { Groups } from "./group.js";
import { Settlements } from "./settlements.js";
import {
  heldPeers,
  mailboxOf,
  ManualClock,
  memberOf,
  messageOf,
  rosterOf,
  settle,
} from "./testing.js";

function settling(size: number) {
  const clock = new ManualClock();
  const { peers, calls } = heldPeers();
  const roster = rosterOf(Array.from({ length: size }, (_, i) => memberOf(i + 1)));
  const groups = new Groups(peers, { roster, learn: () => Promise.resolve() });
  return { clock, calls, settlements: new Settlements(peers, groups, clock) };
}
const ann = mailboxOf("ann");
const [a, b] = [messageOf(1).id, messageOf(2).id];

test("confirmations are gathered and told to the group in one call each", async () => {
  const { clock, calls, settlements } = settling(5);
  settlements.settle(ann, a, "confirmed");
  settlements.settle(ann, b, "confirmed");
  expect(calls).toHaveLength(0);
  await clock.advance(20);
  expect(calls).toHaveLength(3);
  expect(calls[0]?.request).toEqual({ confirmed: [a, b], doubtful: [] });
});

test("a doubt is told at once to all who may keep the mail, until they have heard", async () => {
  const { clock, calls, settlements } = settling(5);
  settlements.settle(ann, a, "doubtful");
  expect(calls).toHaveLength(5);
  for (const call of calls.slice(0, 4)) await call.answer({ kind: "ok" });
  await calls[4]?.fail();
  await clock.advance(500);
  await settle();
  expect(calls).toHaveLength(6);
  expect(calls[5]).toMatchObject({ to: calls[4]?.to, request: { doubtful: [a] } });
  await calls[5]?.answer({ kind: "ok" });
  await clock.advance(5_000);
  expect(calls).toHaveLength(6);
});

test("a lost confirmation is told again, and nothing is told after the end", async () => {
  const { clock, calls, settlements } = settling(3);
  settlements.settle(ann, a, "confirmed");
  await clock.advance(20);
  for (const call of [...calls]) await call.fail();
  await clock.advance(5_000);
  expect(calls).toHaveLength(6);
  for (const call of calls.slice(3)) await call.fail();
  settlements.stop();
  await clock.advance(5_000);
  expect(calls).toHaveLength(6);
});
