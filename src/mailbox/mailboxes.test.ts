import { beforeEach, describe, expect, test } from "vitest";
import type { Copy } from "../replication/delivery.js";
import type { Replication } from "../replication/replication.js";
import { quietLog } from "../replication/testing.js";
import type { Body } from "../shared/body.js";
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import { Mailboxes } from "./mailboxes.js";
import type { Quotas } from "./quotas.js";
import type { Recipients } from "./recipients.js";
import { FakeRegisters } from "./testing.js";
import { trialAnswer } from "./trial.js";

const [ann, bob] = ["ann@ring.test", "bob@ring.test"] as MailboxName[] as [
  MailboxName,
  MailboxName,
];
const body: Body = { kind: "bytes", digest: "d" as Body["digest"], bytes: Buffer.from("abc") };

let result: object;
let settled: string[];
let withdrawn: string[];
let asked: string[];
let opened: object;
let room: boolean;
let ended: boolean[];
let discarded: number;
let delivered: (copies: readonly Copy[]) => void;
let mailboxes: Mailboxes;
let registers: FakeRegisters;

beforeEach(() => {
  result = { kind: "stored", durable: 2, wanted: 3 };
  settled = [];
  withdrawn = [];
  asked = [];
  opened = { kind: "inUse" };
  room = true;
  ended = [];
  discarded = 0;
  delivered = () => undefined;
  let count = 0;
  registers = new FakeRegisters();
  const replication = {
    registers,
    announceChanged: () => Promise.resolve(),
    newMessageId: () => `id${++count}` as MessageId,
    deliver: (copies: readonly Copy[]) => {
      delivered(copies);
      return Promise.resolve(result);
    },
    settled: (mailbox: string, id: string, outcome: string) => {
      settled.push(`${mailbox} ${id} ${outcome}`);
    },
    withdraw: (copies: readonly { mailbox: string; message: { id: string } }[]) => {
      withdrawn.push(...copies.map(({ mailbox, message }) => `${mailbox} ${message.id}`));
    },
    discard: () => {
      discarded += 1;
      return Promise.resolve();
    },
    openMaildrop: (mailbox: string) => {
      asked.push(mailbox);
      return Promise.resolve(opened);
    },
  };
  const quotas = {
    reserve: () =>
      Promise.resolve(room ? { end: (isStored: boolean) => ended.push(isStored) } : undefined),
  };
  mailboxes = new Mailboxes({
    replication: replication as unknown as Replication,
    recipients: {} as Recipients,
    quotas: quotas as unknown as Quotas,
    store: { spoolPath: () => "/spool/1" } as never,
    self: "u1" as MemberUuid,
    domain: "ring.test",
    clock: { wallMs: () => 7, monotonicMs: () => 7, sleep: untilAborted },
    log: quietLog,
  });
});

/** A clock that stands still. */
function untilAborted(_: number, signal?: AbortSignal): Promise<void> {
  return new Promise((_resolve, reject) => {
    signal?.addEventListener("abort", () => reject(new Error("aborted")));
  });
}

const deliver = () =>
  mailboxes.deliver({ sender: "", mailboxes: [ann, bob], body, traceFor: (_, id) => `${id}\r\n` });

describe("a mail", () => {
  test("has an id for each mailbox, which are settled once the client is known to know", async () => {
    expect(await deliver()).toMatchObject({ kind: "stored", ids: ["id1", "id2"], copies: 2 });
    expect(settled).toEqual([]);
    mailboxes.settled(["id1", "id2"] as MessageId[], "confirmed");
    mailboxes.settled(["id1", "id9"] as MessageId[], "doubtful");
    expect(settled).toEqual([`${ann} id1 confirmed`, `${bob} id2 confirmed`]);
  });

  test("has a copy for each recipient elsewhere, with the envelope that it leaves with", async () => {
    const traces: string[] = [];
    let fingerprints: unknown[] = [];
    const traceFor = (mailbox: string, _: string, to?: string) => `X: ${mailbox} ${to}\r\n`;
    delivered = (copies) => {
      for (const { mailbox, message } of copies) traces.push(`${mailbox}: ${message.trace}`);
      fingerprints = copies.map(({ message }) => message.fingerprint);
    };
    const elsewhere = ["x@else.test", "y@else.test"];
    const answer = await mailboxes.deliver({
      ...{ sender: "ann@ring.test", mailboxes: [bob], elsewhere, body, traceFor },
    });
    expect(answer).toMatchObject({ ids: ["id1", "id2", "id3"] });
    const out = ".submitted@ring.test/queue";
    const to = (one: string) =>
      `${out}: Ringpost-Outgoing-To: ${one}\r\nRingpost-Outgoing-From: ann@ring.test\r\n` +
      `X: ${out} ${one}\r\n`;
    expect(traces).toEqual([`${bob}: X: ${bob} undefined\r\n`, ...elsewhere.map(to)]);
    // Or the second would be taken for a retry of the first.
    expect(new Set(fingerprints).size).toBe(3);
  });

  test.each([["tempfail"], ["full"]])("that was not taken (%s) is taken back", async (kind) => {
    result = { kind, why: "" };
    expect((await deliver()).kind).toBe(kind);
    expect(withdrawn).toEqual([`${ann} id1`, `${bob} id2`]);
    expect(settled).toEqual([]);
  });
});

describe("a quota", () => {
  test("that has no room refuses the mail as a whole, and nothing is kept of it", async () => {
    room = false;
    expect(await deliver()).toEqual({ kind: "overQuota" });
    expect([discarded, ended]).toEqual([1, []]);
  });

  test.each([
    ["stored", true],
    ["tempfail", false],
  ])("hears that the mail was %s", async (kind, isStored) => {
    result = { kind, why: "", durable: 2, wanted: 3 };
    await deliver();
    expect([discarded, ended]).toEqual([0, [isStored]]);
  });
});

test("mail for the silent recipient is not answered before the node stops, nor kept", async () => {
  const silent = trialAnswer("timeout");
  if (silent?.kind !== "mailboxes") throw new Error("there is none");
  const named = [ann, ...silent.mailboxes];
  const traceFor = () => "";
  let answer: unknown;
  const answered = mailboxes.deliver({ sender: "", mailboxes: named, body, traceFor }).then((a) => {
    answer = a;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect([answer, discarded]).toEqual([undefined, 1]);
  mailboxes.stop();
  await answered;
  expect(answer).toMatchObject({ kind: "tempfail" });
});

describe("a maildrop", () => {
  test("is that of the account, or that of what it has sent", async () => {
    expect((await mailboxes.open({ mailbox: ann, folder: "inbox" })).kind).toBe("inUse");
    expect((await mailboxes.open({ mailbox: ann, folder: "outbox" })).kind).toBe("inUse");
    expect(asked).toEqual([ann, `${ann}/outbox`]);
  });
});

describe("a purge", () => {
  test.each([
    ["of an empty mailbox", [], true, true],
    ["that is durable", [1], true, true],
    ["that is not", [1], false, false],
  ])("%s, every folder of it, and the locks go back", async (_, messages, removes, expected) => {
    let released = 0;
    const maildrop = {
      messages,
      remove: () => Promise.resolve(removes),
      release: () => {
        released += 1;
      },
    };
    opened = { kind: "open", maildrop };
    expect([await mailboxes.purge(ann), released]).toEqual([expected, 4]);
    expect(asked.sort()).toEqual([ann, `${ann}/config`, `${ann}/data`, `${ann}/outbox`]);
  });

  const emptyDrop = {
    kind: "open",
    maildrop: { messages: [], remove: () => Promise.resolve(true), release: () => undefined },
  };

  test("takes what the ring keeps for the user's programs, and of nobody else's", async () => {
    opened = emptyDrop;
    const kinds = ["id", "contacts", "read"];
    for (const user of [ann, bob]) {
      for (const kind of kinds) registers.values.set(`${kind}:${user}`, { of: user });
    }
    // What was captured from the former holder stays worthless.
    registers.values.set(`ebm:${ann}`, { devices: [] });
    expect(await mailboxes.purge(ann)).toBe(true);
    const valuesOf = (user: string) => kinds.map((kind) => registers.values.get(`${kind}:${user}`));
    expect(valuesOf(ann)).toEqual([null, null, null]);
    expect(valuesOf(bob)).toEqual(kinds.map(() => ({ of: bob })));
    expect(registers.values.get(`ebm:${ann}`)).toEqual({ devices: [] });
  });

  test("is put off while too few members tell of these", async () => {
    opened = emptyDrop;
    registers.silent.add(`contacts:${ann}`);
    expect(await mailboxes.purge(ann)).toBe(false);
  });

  test("is put off while somebody reads", async () => {
    expect(await mailboxes.purge(ann)).toBe(false);
  });
});
