import { beforeEach, expect, test } from "vitest";
import type { MailboxName, MessageId } from "../shared/ids.js";
import type { Admitted } from "./floors.js";
import { LockTable } from "./locks.js";
import type { PeerHandlers } from "./peer-methods.js";
import { createHandlers, type ServiceOptions } from "./service.js";
import {
  heldPeers,
  mailboxOf,
  ManualClock,
  memberOf,
  type PendingCall,
  rosterOf,
  settle,
} from "./testing.js";

const [self, front, other] = [memberOf(1), memberOf(2), memberOf(3)];
const mailbox = mailboxOf("ann");
const wanted = { epoch: 1, mailbox, session: "s2", boot: "b3" };
let clock: ManualClock;
let calls: PendingCall[];
let handlers: PeerHandlers;

/** The maildrop is locked by a session at `front`. */
beforeEach(() => {
  clock = new ManualClock();
  const held = heldPeers(self);
  calls = held.calls;
  const locks = new LockTable(self.uuid, 1_500, () => clock.monotonicMs());
  locks.acquire(mailbox, { session: "s1", owner: front.uuid, boot: "b2" });
  handlers = createHandlers({
    peers: held.peers,
    locks,
    membership: { self, roster: rosterOf([self, front, other]) },
    store: {
      summary: () => Promise.resolve("summary"),
      floor: () => Promise.resolve(undefined),
    },
    floors: { barrier: () => "" },
    leasesAreKnown: () => Promise.resolve(),
  } as unknown as ServiceOptions);
});

/** Another session asks for the maildrop; its front node is asked whether it still has the lock. */
async function asking(): Promise<{ answer: Promise<unknown>; holds: PendingCall | undefined }> {
  const answer = Promise.resolve(handlers.acquire(other, wanted));
  await settle();
  expect(calls.map(({ to, method }) => `${method} ${to}`)).toEqual([`holds ${front.uuid}`]);
  return { answer, holds: calls[0] };
}

test("a maildrop that is open is not given to another session", async () => {
  const { answer, holds } = await asking();
  await holds?.answer({ holds: true });
  expect(await answer).toEqual({ kind: "held", owner: front.uuid });
});

test("a release that got lost is made up for", async () => {
  const { answer, holds } = await asking();
  await holds?.answer({ holds: false });
  expect(await answer).toEqual({ kind: "granted", summary: "summary" });
});

test("a front node that can't be asked keeps its lock as long as its lease", async () => {
  const { answer, holds } = await asking();
  await clock.advance(1_500);
  await holds?.fail();
  expect(await answer).toEqual({ kind: "held", owner: front.uuid });
});

test("a lease that runs out while its front node is asked is out", async () => {
  const { answer, holds } = await asking();
  await clock.advance(1_501);
  await holds?.fail();
  expect(await answer).toEqual({ kind: "granted", summary: "summary" });
});

test("copies for two mailboxes whose barriers come one after the other are looked at once each", async () => {
  const [one, another] = [mailboxOf("one"), mailboxOf("another")];
  const barriers = new Map([[one, "1"]]);
  const judged: string[][] = [];
  const { peers } = heldPeers(self);
  const written: unknown[] = [];
  const { replicate } = createHandlers({
    peers,
    locks: new LockTable(self.uuid, 1_500, () => clock.monotonicMs()),
    membership: { self, roster: rosterOf([self, front, other]) },
    bodies: { collect: async () => [], dispose: async () => undefined },
    retries: { repeatedBy: () => [] },
    doubts: { written: async () => undefined },
    store: { write: async (operations: unknown) => written.push(operations) },
    floors: {
      barred: (operations: readonly { mailbox: MailboxName }[], admitted: Admitted) =>
        operations.filter((each) => {
          const barrier = barriers.get(each.mailbox);
          return barrier !== undefined && admitted.get(each.mailbox) !== barrier;
        }),
      judge: async (barred: readonly { mailbox: MailboxName }[]) => {
        judged.push(barred.map((each) => each.mailbox));
        barriers.set(another, "2");
        const admitted = new Map(barred.map((each) => [each.mailbox, barriers.get(each.mailbox)]));
        return { kind: "admitted", admitted };
      },
    },
  } as unknown as ServiceOptions);
  const operations = [one, another].map((name) => ({
    ...{ kind: "RemoveMessage" as const, mailbox: name },
    tombstone: { id: "0" as MessageId, removedAtMs: 1 },
  }));
  const reply = await replicate(other, { epoch: 1, operations, bodies: [] });
  expect(reply).toEqual({ kind: "stored" });
  expect(judged).toEqual([[one], [another]]);
  expect(written).toHaveLength(1);
});
