import { beforeEach, describe, expect, test } from "vitest";
import type { Replication } from "../replication/replication.js";
import { quietLog } from "../replication/testing.js";
import type { Body } from "../shared/body.js";
import type { MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type { Accounts } from "./accounts.js";
import { Mailboxes } from "./mailboxes.js";

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
let mailboxes: Mailboxes;

beforeEach(() => {
  result = { kind: "stored", durable: 2, wanted: 3 };
  settled = [];
  withdrawn = [];
  asked = [];
  opened = { kind: "inUse" };
  let count = 0;
  const replication = {
    newMessageId: () => `id${++count}` as MessageId,
    deliver: () => Promise.resolve(result),
    settled: (mailbox: string, id: string, outcome: string) => {
      settled.push(`${mailbox} ${id} ${outcome}`);
    },
    withdraw: (copies: readonly { mailbox: string; message: { id: string } }[]) => {
      withdrawn.push(...copies.map(({ mailbox, message }) => `${mailbox} ${message.id}`));
    },
    openMaildrop: (mailbox: string) => {
      asked.push(mailbox);
      return Promise.resolve(opened);
    },
  };
  const accounts = {
    exists: (mailbox: string) =>
      Promise.resolve(mailbox === ann ? "yes" : mailbox === bob ? "no" : "undecided"),
  };
  mailboxes = new Mailboxes({
    replication: replication as unknown as Replication,
    accounts: accounts as unknown as Accounts,
    store: { spoolPath: () => "/spool/1" } as never,
    domain: "ring.test",
    self: "u1" as MemberUuid,
    clock: { wallMs: () => 7, monotonicMs: () => 7, sleep: () => Promise.resolve() },
    log: quietLog,
  });
});

const deliver = () =>
  mailboxes.deliver({ sender: "", mailboxes: [ann, bob], body, traceFor: (_, id) => `${id}\r\n` });

describe("a recipient", () => {
  test.each([
    ["ann@ring.test", "mailbox"],
    ["Ann+tag@Ring.Test", "mailbox"],
    ["bob@ring.test", "unknown"],
    ["cyd@ring.test", "undecided"],
    ["ann@example.org", "relay"],
    ["a b@ring.test", "invalid"],
  ])("%s is %s", async (address, kind) => {
    expect((await mailboxes.resolve(address)).kind).toBe(kind);
  });
});

describe("a mail", () => {
  test("has an id for each mailbox, which are settled once the client is known to know", async () => {
    expect(await deliver()).toMatchObject({ kind: "stored", ids: ["id1", "id2"], copies: 2 });
    expect(settled).toEqual([]);
    mailboxes.settled(["id1", "id2"] as MessageId[], "confirmed");
    mailboxes.settled(["id1", "id9"] as MessageId[], "doubtful");
    expect(settled).toEqual([`${ann} id1 confirmed`, `${bob} id2 confirmed`]);
  });

  test.each([["tempfail"], ["full"]])("that was not taken (%s) is taken back", async (kind) => {
    result = { kind, why: "" };
    expect((await deliver()).kind).toBe(kind);
    expect(withdrawn).toEqual([`${ann} id1`, `${bob} id2`]);
    expect(settled).toEqual([]);
  });
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
  ])("%s, outbox and all, and the locks go back", async (_, messages, removes, expected) => {
    let released = 0;
    const maildrop = {
      messages,
      remove: () => Promise.resolve(removes),
      release: () => {
        released += 1;
      },
    };
    opened = { kind: "open", maildrop };
    expect([await mailboxes.purge(ann), released]).toEqual([expected, 2]);
    expect(asked.sort()).toEqual([ann, `${ann}/outbox`]);
  });

  test("is put off while somebody reads", async () => {
    expect(await mailboxes.purge(ann)).toBe(false);
  });
});
