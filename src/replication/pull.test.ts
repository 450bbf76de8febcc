import { beforeEach, expect, test } from "vitest";
import type { Body } from "../shared/body.js";
import type { BodyDigest, MessageId } from "../shared/ids.js";
import type { Operation, StoredMessage, Tombstone } from "../shared/operation.js";
import type { Bodies } from "./bodies.js";
import { Pace } from "./pace.js";
import type { Peers } from "./peers.js";
import type { Store } from "./ports.js";
import { Puller } from "./pull.js";
import { Retries } from "./retries.js";
import { mailboxOf, ManualClock, memberOf, messageOf } from "./testing.js";

const ann = mailboxOf("ann");
const [first, second, third] = [messageOf(1), messageOf(2), messageOf(3, { fingerprint: "g" })];
const tombstone = (id: MessageId): Tombstone => ({ id, removedAtMs: 9 });
const deleted = (id: MessageId): Tombstone => ({ id, removedAtMs: 9, fingerprint: "f" });

interface Side {
  messages: StoredMessage[];
  tombstones: Tombstone[];
}

let ours: Side;
let theirs: Side & { unsettled: object[]; noBody: MessageId[]; pageSize: number };
let written: Operation[];
let retries: Retries;
/** Bodies that this node has, and those it asked for. */
let stored: BodyDigest[];
let fetched: BodyDigest[];

/** What was written, e.g. `+1 -2`. */
const picture = (): string =>
  written
    .map((operation) =>
      operation.kind === "AddMessage"
        ? `+${Number(operation.message.id)}`
        : operation.kind === "RemoveMessage"
          ? `-${Number(operation.tombstone.id)}`
          : operation.kind,
    )
    .join(" ");

function answer(method: string, request: { after: string; ids: readonly MessageId[] }): unknown {
  const { messages, tombstones, unsettled, pageSize } = theirs;
  if (method === "listing") {
    const all = [...messages, ...tombstones].map(({ id }) => id).sort();
    const page = all.filter((id) => id > request.after).slice(0, pageSize);
    return {
      live: messages.map(({ id }) => id).filter((id) => page.includes(id)),
      removed: tombstones.filter(({ id }) => page.includes(id)),
      more: (page.at(-1) ?? "") < (all.at(-1) ?? ""),
    };
  }
  const wanted = messages.filter(({ id }) => request.ids.includes(id));
  return { messages: wanted, bodies: wanted.map(() => "omitted"), unsettled };
}

function fetchSome(_: unknown, digests: readonly BodyDigest[]): Promise<(Body | undefined)[]> {
  fetched.push(...digests);
  const lacking = theirs.messages.filter(({ id }) => theirs.noBody.includes(id));
  const isThere = (digest: BodyDigest) => !lacking.some((message) => message.digest === digest);
  const bytes = Buffer.from("abc");
  return Promise.resolve(
    digests.map((digest) => (isThere(digest) ? { kind: "bytes", digest, bytes } : undefined)),
  );
}

function puller(): Puller {
  const peers = {
    call: (_: unknown, method: string, request: never) => Promise.resolve(answer(method, request)),
  };
  const store = {
    contents: () => Promise.resolve(ours),
    hasBody: (digest: BodyDigest) => Promise.resolve(stored.includes(digest)),
    write: (operations: readonly Operation[]) => {
      written.push(...operations);
      return Promise.resolve();
    },
  };
  return new Puller({
    peers: peers as unknown as Peers,
    store: store as unknown as Store,
    bodies: { fetchSome } as unknown as Bodies,
    pace: new Pace(new ManualClock(), { octetsPerSecond: Number.POSITIVE_INFINITY, fetchesMax: 4 }),
    retries,
  });
}

beforeEach(() => {
  ours = { messages: [], tombstones: [] };
  theirs = { messages: [], tombstones: [], unsettled: [], noBody: [], pageSize: 2 };
  written = [];
  stored = [];
  fetched = [];
  retries = new Retries(() => 0);
});

test("what is lacking comes, page by page, messages before tombstones", async () => {
  theirs.messages = [2, 4, 5, 7].map((n) => messageOf(n));
  theirs.tombstones = [1, 3, 6].map((n) => tombstone(messageOf(n).id));
  const pulled = await puller().pull(ann, memberOf(2));
  expect(picture()).toBe("+2 +4 +5 +7 -1 -3 -6");
  expect(pulled).toEqual({ messages: 4, tombstones: 3, missing: 0 });
});

test("what is here already is left alone, what was removed stays removed", async () => {
  ours = { messages: [first], tombstones: [tombstone(second.id)] };
  theirs.messages = [first, second];
  await puller().pull(ann, memberOf(2));
  expect(picture()).toBe("");
});

test("a retry takes the place of the doubtful mail that it repeats, in one write", async () => {
  ours.messages = [first];
  retries.note(ann, first, true);
  theirs.messages = [second];
  await puller().pull(ann, memberOf(2));
  expect(picture()).toBe("+2 -1");
});

test("a doubtful mail whose retry is here already is removed instead of kept", async () => {
  ours.messages = [second];
  theirs.messages = [first];
  theirs.unsettled = [{ id: first.id, state: "doubtful" }];
  await puller().pull(ann, memberOf(2));
  expect(picture()).toBe("-1");
});

test("a doubtful mail whose retry was read and deleted here is removed instead of kept", async () => {
  ours.tombstones = [deleted(second.id)];
  theirs.messages = [first];
  theirs.unsettled = [{ id: first.id, state: "doubtful" }];
  await puller().pull(ann, memberOf(2));
  expect(picture()).toBe("-1");
});

test("a deleted retry takes the doubtful mail that it repeats with it", async () => {
  ours.messages = [first];
  retries.note(ann, first, true);
  theirs.tombstones = [deleted(second.id)];
  await puller().pull(ann, memberOf(2));
  expect(picture()).toBe("-2 -1");
});

test("a retry of a doubtful mail that was read and deleted here is not kept", async () => {
  retries.note(ann, first, true);
  retries.removed(deleted(first.id));
  theirs.messages = [messageOf(2, { hasMessageId: true })];
  await puller().pull(ann, memberOf(2));
  expect(picture()).toBe("-2");
});

test("two mails that are the same, and both settled, are two mails", async () => {
  ours.messages = [second];
  theirs.messages = [first];
  await puller().pull(ann, memberOf(2));
  expect(picture()).toBe("+1");
});

test("that a mail is unsettled is learned with it", async () => {
  theirs.messages = [first];
  theirs.unsettled = [{ id: first.id, state: "outstanding" }];
  await puller().pull(ann, memberOf(2));
  expect(retries.stateOf(first.id)).toBe("outstanding");
});

test("a mail is not removed for one that can't be had: it may be its only copy", async () => {
  ours.messages = [first, third];
  theirs.messages = [second];
  theirs.noBody = [second.id];
  theirs.tombstones = [tombstone(first.id), tombstone(third.id)];
  const pulled = await puller().pull(ann, memberOf(2));
  expect(picture()).toBe("-3");
  expect(pulled).toEqual({ messages: 0, tombstones: 1, missing: 1 });
});

test("a body comes once, and not at all when it is here already", async () => {
  const [a, b] = ["a".repeat(64) as BodyDigest, "b".repeat(64) as BodyDigest];
  theirs.messages = [messageOf(1, { digest: a }), messageOf(2, { digest: a })];
  theirs.messages.push(messageOf(3, { digest: b }));
  stored = [b];
  const pulled = await puller().pull(ann, memberOf(2));
  expect(fetched).toEqual([a]);
  expect(pulled.messages).toBe(3);
});

test("what has arrived is told, in messages and octets", async () => {
  theirs.messages = [1, 2].map((n) => messageOf(n, { bodyOctets: 1_000, trace: "12345" }));
  const arrived: number[][] = [];
  await puller().pull(ann, memberOf(2), { onArrived: (...what) => arrived.push(what) });
  expect(arrived).toEqual([[2, 2_010]]);
});
