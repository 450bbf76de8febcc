import { expect, test } from "vitest";
import type { MessageId } from "../shared/ids.js";
import type { Operation } from "../shared/operation.js";
import { Groups, type RosterView } from "./group.js";
import type { ReplicatedMaildrop } from "./maildrop.js";
import { Maildrops, type MaildropsOptions } from "./maildrops.js";
import type { PeerMethodName } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import { Liveness } from "./liveness.js";
import type { MailboxContents } from "./ports.js";
import { Puller } from "./pull.js";
import { Retries } from "./retries.js";
import { mailboxOf, ManualClock, memberOf, messageOf, quietLog, rosterOf } from "./testing.js";

const mailbox = mailboxOf("ann");
const members = [40, 120, 200].map((id) => memberOf(id));
const [self] = members as [(typeof members)[0]];
/** What the ring carries in one message: `messageOctetsMax` of `rpc/`. */
const messageOctetsMax = 6 * 1024 * 1024;

interface Removal {
  readonly to: string;
  readonly ids: readonly MessageId[];
  readonly octets: number;
}

/** Of the first of three members, who has these contents; `call` answers for all. */
function dropsOf(
  call: (to: (typeof members)[0], method: PeerMethodName, request: object) => unknown,
  contents: MailboxContents,
): Maildrops {
  const peers = {
    self,
    liveness: new Liveness(),
    isSelf: (uuid: string) => uuid === self.uuid,
    call: (...args: Parameters<typeof call>) => Promise.resolve(call(...args)),
  } as unknown as Peers;
  const view: RosterView = { roster: rosterOf(members), learn: () => Promise.resolve() };
  return new Maildrops({
    ...{ peers, groups: new Groups(peers, view), clock: new ManualClock(), log: quietLog },
    puller: new Puller({ peers } as never),
    store: { contents: () => Promise.resolve(contents) },
    ...{
      retries: new Retries(() => 0),
      boot: "b",
      barrier: () => "",
      onDifference: () => undefined,
    },
  } as unknown as MaildropsOptions);
}

/** A maildrop of so many mails that is open at the first of three members. */
async function opened(count: number, answer: (removal: Removal) => string) {
  const messages = Array.from({ length: count }, (_, n) =>
    messageOf(n + 1, { fingerprint: n.toString(16).padStart(64, "0") }),
  );
  const summary = { digest: "0", messages: count, tombstones: 0, octets: 0 };
  const removals: Removal[] = [];
  const call = (
    { uuid }: (typeof members)[0],
    method: PeerMethodName,
    request: object,
  ): unknown => {
    if (method === "acquire") return { kind: "granted", summary };
    if (method === "checkLock") return { kind: "held" };
    const { operations } = request as { operations: readonly Operation[] };
    const ids = operations.flatMap((each) =>
      each.kind === "RemoveMessage" ? [each.tombstone.id] : [],
    );
    removals.push({ to: uuid, ids, octets: Buffer.byteLength(JSON.stringify(request)) });
    return { kind: answer(removals.at(-1) as Removal) };
  };
  const drops = dropsOf(call, { messages, tombstones: [], summary });
  const answered = await drops.openMaildrop(mailbox);
  if (answered.kind !== "open") throw new Error(answered.kind);
  return { messages, removals, maildrop: answered.maildrop };
}

test("what comes to the first member while the list is made is unsure until others have it", async () => {
  const flowId = (n: number): MessageId =>
    `${n.toString(16).padStart(12, "0")}8000${"ab".repeat(8)}` as MessageId;
  const [early, late] = [messageOf(1, { id: flowId(1) }), messageOf(2, { id: flowId(2) })];
  const before = { digest: "1", messages: 1, tombstones: 0, octets: 3 };
  const after = { digest: "2", messages: 2, tombstones: 0, octets: 6 };
  const call = (_: unknown, method: PeerMethodName): unknown => {
    if (method === "acquire") return { kind: "granted", summary: before };
    if (method === "fetch") return { messages: [early], bodies: ["omitted"] };
    return { live: [early.id], removed: [], more: false, barrier: "", digest: "1" };
  };
  const contents = { messages: [early, late], tombstones: [], summary: after };
  const drops = dropsOf(call, contents);
  const answered = await drops.openMaildrop(mailbox);
  if (answered.kind !== "open") throw new Error(answered.kind);
  expect(answered.maildrop.messages).toEqual([early, late]);
  expect([...answered.maildrop.unsure]).toEqual([late.id]);
});

const idsAt = (removals: readonly Removal[], uuid: string) =>
  removals.filter(({ to }) => to === uuid).flatMap(({ ids }) => ids);

const removeAll = ({ maildrop }: { readonly maildrop: ReplicatedMaildrop }) =>
  maildrop.remove(maildrop.messages);

test("40,000 mails are deleted at every member, each once, in messages that the ring carries", async () => {
  const drop = await opened(40_000, () => "stored");
  expect(await removeAll(drop)).toBe(true);
  const ids = drop.messages.map(({ id }) => id);
  for (const { uuid } of members) expect(idsAt(drop.removals, uuid)).toEqual(ids);
  for (const { octets } of drop.removals) expect(octets).toBeLessThan(messageOctetsMax);
});

test("a session that loses its lock while it deletes many says so, and goes no further", async () => {
  const seen = new Map<string, number>();
  const drop = await opened(25_000, ({ to }) => {
    seen.set(to, (seen.get(to) ?? 0) + 1);
    return (seen.get(to) ?? 0) <= 2 ? "stored" : "lockLost";
  });
  expect(await removeAll(drop)).toBe(false);
  const ids = drop.messages.map(({ id }) => id);
  for (const { uuid } of members) {
    const asked = idsAt(drop.removals, uuid);
    expect(asked).toEqual(ids.slice(0, asked.length));
    expect(asked.length).toBeLessThan(ids.length / 2);
    expect(seen.get(uuid)).toBe(3);
  }
});

test("of many, one majority for each step is enough, and less is not", async () => {
  const deaf = (count: number) => (removal: Removal) =>
    members.findIndex(({ uuid }) => uuid === removal.to) < count ? "failed" : "stored";
  expect(await removeAll(await opened(12_000, deaf(1)))).toBe(true);
  expect(await removeAll(await opened(12_000, deaf(2)))).toBe(false);
});
