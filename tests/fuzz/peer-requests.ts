/**
 * What another member asks, with anything in its arguments. A request is answered or refused; what
 * was refused has changed nothing, and what was taken can be written as JSON and asked for again.
 */
import fc from "fast-check";
import { defaultTimings } from "../../src/replication/options.js";
import { Replication } from "../../src/replication/replication.js";
import type { PeerMessage } from "../../src/replication/ports.js";
import { ManualClock, quietLog, zeros } from "../../src/replication/testing.js";
import type { Address, MailboxName, MemberUuid, RingId } from "../../src/shared/ids.js";
import type { Operation } from "../../src/shared/operation.js";
import { diceFor } from "../simulation/replication-clock.js";
import { MemoryStorage, type MemoryStore } from "../simulation/replication-store.js";
import { check, fuzzer } from "./fuzzer.js";

const junk = fc.oneof(
  fc.jsonValue({ maxDepth: 1 }),
  fc.constantFrom(
    null,
    -1,
    0.5,
    2 ** 60,
    "",
    "..",
    "\u0000",
    "\u2028",
    [],
    {},
    [[]],
    "x".repeat(2_000),
  ),
);
const often = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 60, arbitrary: arbitrary as fc.Arbitrary<unknown> },
    { weight: 1, arbitrary: junk },
  );

const hex = (digits: number) => fc.nat(3).map((n) => `${"0".repeat(digits - 1)}${n.toString(16)}`);
const id = often(hex(32));
const digest = often(hex(64));
const mailbox = often(fc.constantFrom("ann@ring.test", "bob@ring.test"));
const text = often(fc.constantFrom("s1", "account ann@ring.test", "b"));
const whole = often(fc.nat(3));
const ballot = often(fc.record({ counter: whole, proposer: text }));
const message = often(
  fc.record({
    ...{ id, digest, bodyOctets: often(fc.constant(0)), trace: text, receivedAtMs: whole },
    ...{ fingerprint: text, coordinator: text },
  }),
);
const operation = often(
  fc.oneof(
    fc.record({ kind: often(fc.constant("AddMessage")), mailbox, message }),
    fc.record({
      kind: often(fc.constant("RemoveMessage")),
      ...{ mailbox, tombstone: often(fc.record({ id, removedAtMs: whole })) },
    }),
    fc.record({
      kind: fc.constantFrom("PutLocal", "DropMailbox", "PutRegister"),
      key: text,
      mailbox,
    }),
  ),
);
const member = often(
  fc.record({
    ...{ id: often(fc.constantFrom("1", "200")), addr: text, uuid: text, incarnation: whole },
    state: often(fc.constantFrom("active", "joining", "leaving")),
  }),
);
const ring = often(
  fc.record({
    bits: often(fc.constant(8)),
    replicas: whole,
    domain: often(fc.constant("ring.test")),
  }),
);
const roster = often(
  fc.record({ epoch: whole, ring, members: often(fc.array(member, { maxLength: 3 })) }),
);
const list = (of: fc.Arbitrary<unknown>) => often(fc.array(of, { maxLength: 3 }));
const bodies = list(fc.record({ digest, octets: whole }));

const request = fc.record(
  {
    ...{
      epoch: often(fc.constant(1)),
      nonce: text,
      mailbox,
      session: text,
      boot: text,
      register: text,
      ballot,
    },
    ...{
      value: junk,
      operations: list(operation),
      bodies,
      lock: often(fc.constant(undefined)),
      unsettled: often(fc.constant(undefined)),
    },
    ...{ transfer: text, offset: whole, last: often(fc.boolean()), digest, length: whole },
    ...{
      confirmed: list(id),
      doubtful: list(id),
      after: text,
      ids: list(id),
      digests: list(digest),
    },
    ...{ withBodies: often(fc.boolean()), roster, ringMs: whole, id, addr: text, uuid: text, ring },
    ...{ of: text, buckets: list(text), firstBucket: whole, from: whole, source: text },
  },
  { requiredKeys: ["epoch", "mailbox", "register", "ballot", "operations", "bodies"] },
);

/** Not `mend` and `join`: they ask other members, and wait for them. */
const methods = [
  ...[
    "replicate",
    "bodyChunk",
    "readBody",
    "bodies",
    "settled",
    "prepare",
    "accept",
    "readRegister",
  ],
  ...[
    "acquire",
    "checkLock",
    "noteTry",
    "releaseTry",
    "release",
    "holds",
    "summary",
    "listing",
    "sound",
    "fetch",
    "beat",
    "roster",
  ],
  ...["newRoster", "silence", "progress", "gains", "compare", "offer", "lines", "survey", "recall"],
  ...["status", "registerChanged", "accounts", "constructor", "__proto__", "no such method"],
];

/** A member alone in its ring, on a store in memory that notes what it is asked to write. */
async function memberAlone() {
  const clock = new ManualClock();
  const storage = new MemoryStorage({ dice: diceFor(1, "fuzz"), flushMaxMs: 0 });
  const after = (_ms: number, run: () => void) => {
    const timer = setImmediate(run);
    return () => clearImmediate(timer);
  };
  const { store, files } = await storage.open({
    after,
    monotonicMs: () => 0,
    warn: () => undefined,
  });
  const written: Operation[] = [];
  const write = store.write.bind(store);
  store.write = (operations, given) => {
    written.push(...operations);
    return write(operations, given);
  };
  const replication = new Replication({
    self: { id: 5n as RingId, addr: "h:1" as Address, uuid: "self" as MemberUuid },
    ring: { bits: 8, replicas: 2, domain: "ring.test" },
    ...{ store, files, clock, random: zeros, log: quietLog, timings: defaultTimings },
    caller: { call: () => Promise.reject(new Error("nobody there")) },
    isDown: () => false,
    status: () => ({}),
  });
  const { membership } = replication;
  await membership.found({ id: 5n as RingId, addr: "h:1" as Address, uuid: "self" as MemberUuid });
  return { replication, store: store as MemoryStore, written };
}

export const peerRequests = fuzzer({
  name: "peer-requests",
  testRuns: 800,
  inputs: fc.array(
    fc.record({
      method: fc.oneof(fc.constantFrom(...methods), fc.constantFrom("replicate", "accept")),
      request: fc.oneof(
        { weight: 9, arbitrary: request },
        { weight: 1, arbitrary: fc.dictionary(fc.string(), junk) },
      ),
      blob: fc.option(fc.uint8Array({ maxLength: 2 })),
    }),
    { maxLength: 6 },
  ),
  async run(calls) {
    const { replication, store, written } = await memberAlone();
    const from = { uuid: "peer" as MemberUuid, addr: "h:2" as Address };
    for (const { method, request: given, blob } of calls) {
      const message = { ...given, ...(blob && { blobs: [Buffer.from(blob)] }) } as PeerMessage;
      written.length = 0;
      const before = replication.roster;
      let reply: PeerMessage | undefined;
      try {
        reply = await replication.handle(from, method, message);
      } catch (error) {
        check(error instanceof Error, () => `throws ${String(error)}`);
        check(
          !(error instanceof TypeError && / of undefined|not a function/.test(error.message)),
          () => `${method}: ${error.message}`,
        );
        check(written.length === 0, () => `${method} failed, and wrote ${JSON.stringify(written)}`);
        check(replication.roster === before, () => `${method} failed, and changed the roster`);
        continue;
      }
      if (reply.blobs === undefined) JSON.stringify(reply);
      for (const each of written) readable(each);
    }
    // What was taken can be listed, read and compared.
    for (const name of ["ann@ring.test", "bob@ring.test"] as MailboxName[]) {
      const { messages } = await store.contents(name);
      for (const { digest: of } of messages) await store.readBody(of).catch(() => undefined);
    }
    replication.stop();
  },
});

/** A journaled operation is one that a restart can take. */
function readable(operation: Operation): void {
  check(JSON.stringify(operation) !== undefined, () => "not JSON");
  if (operation.kind === "AddMessage" || operation.kind === "RemoveMessage") {
    const named: string = operation.mailbox;
    check(/^[a-z]+@ring\.test$/.test(named), () => `mailbox ${JSON.stringify(named)}`);
    const { id: of } = operation.kind === "AddMessage" ? operation.message : operation.tombstone;
    check(/^[0-9a-f]{32}$/.test(of), () => `id ${JSON.stringify(of)}`);
  }
  if (operation.kind === "PutRegister") {
    const { promised, accepted } = operation.state;
    for (const { counter, proposer } of [promised, accepted]) {
      const isBallot = Number.isSafeInteger(counter) && typeof proposer === "string";
      check(isBallot, () => `ballot ${JSON.stringify(operation)}`);
    }
  }
  if (operation.kind === "DropMailbox") check(false, () => "a mailbox was dropped");
}
