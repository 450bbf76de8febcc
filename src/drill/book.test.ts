import { describe, expect, test } from "vitest";
import { type Entry, identify, judgeMaildrop } from "./book.js";
import { countByWrong, distinct } from "./report.js";

const trace = "Return-Path: <load@ring.test>\r\nReceived: from a by b; today\r\n";

function entry(changes: Partial<Entry> = {}): Entry {
  const messageId = changes.messageId ?? "<1@load.test>";
  return {
    messageId,
    mailbox: "box",
    sender: "load@ring.test",
    bytes: Buffer.from(`Message-ID: ${messageId}\r\n\r\nhello\r\n`),
    state: "acknowledged",
    deletion: "none",
    attempts: 1,
    history: ["0.001 s: sent"],
    ...changes,
  };
}

const bookOf = (...entries: Entry[]) => new Map(entries.map((one) => [one.messageId, one]));
const served = ({ bytes }: Entry, uid = "1") => ({
  uid,
  bytes: Buffer.concat([Buffer.from(trace), bytes]),
});

describe("a mail at rest", () => {
  const rows: [
    state: Entry["state"],
    deletion: Entry["deletion"],
    copies: number,
    wrong: string | undefined,
  ][] = [
    ["acknowledged", "none", 1, undefined],
    ["acknowledged", "none", 0, "lost"],
    ["acknowledged", "none", 2, "doubled"],
    ["acknowledged", "asked", 0, undefined],
    ["acknowledged", "asked", 1, undefined],
    ["acknowledged", "asked", 2, "doubled"],
    ["acknowledged", "confirmed", 0, undefined],
    ["acknowledged", "confirmed", 1, "resurrected"],
    ["open", "none", 0, undefined],
    ["open", "none", 1, undefined],
    ["open", "none", 2, "doubled"],
  ];
  test.each(rows)("%s, deletion %s, %i copies: %s", (state, deletion, copies, wrong) => {
    const one = entry({ state, deletion });
    const mails = Array.from({ length: copies }, (_, index) => served(one, String(index)));
    const found = judgeMaildrop(bookOf(one), "box", mails);
    expect(found.map((violation) => violation.wrong)).toEqual(wrong === undefined ? [] : [wrong]);
    for (const { history } of found) expect(history).toEqual(["0.001 s: sent"]);
  });

  test("of another mailbox is not missed here", () => {
    expect(judgeMaildrop(bookOf(entry({ mailbox: "other" })), "box", [])).toEqual([]);
  });
});

describe("is corrupt", () => {
  const one = entry();
  const changed = served(one).bytes.toString("latin1");
  test.each([
    ["with an octet changed", changed.replace("hello", "hellO"), "box"],
    ["with an octet less", changed.replace("hello", "hell"), "box"],
    ["without its trace", one.bytes.toString("latin1"), "box"],
    ["with another sender", changed.replace("load@ring.test", "else@ring.test"), "box"],
    ["in another mailbox", changed, "other"],
    ["when nobody sent it", changed.replace("1@load", "2@load"), "box"],
    ["without a name", "Subject: x\r\n\r\n", "box"],
  ])("%s", (_, text, mailbox) => {
    const mail = { uid: "1", bytes: Buffer.from(text, "latin1") };
    expect(identify(bookOf(one), mail, mailbox)).toMatchObject({ wrong: "corrupt" });
  });
});

test("what every member shows counts once", () => {
  const book = bookOf(entry(), entry({ messageId: "<2@load.test>" }));
  const perMember = [1, 2, 3].flatMap(() => judgeMaildrop(book, "box", []));
  expect(countByWrong(distinct(perMember))).toMatchObject({ lost: 2, doubled: 0 });
});
