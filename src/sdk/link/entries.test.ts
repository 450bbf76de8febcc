import { createHash } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import type { DataFrame } from "../../ebm/index.js";
import { type Journal, openJournal } from "../journal/journal.js";
import { Entries } from "./entries.js";

const origin = { user: "ann@ring.test", device: "d", epoch: 1 };
const body = Buffer.from("abcdefghij");
const digest = createHash("sha256").update(body).digest("base64url");

function block(from: number, to: number, more: Partial<DataFrame> = {}): DataFrame {
  return {
    ...{ kind: "data", stream: "main", sequence: 1, id: "id", size: body.length, origin },
    ...{ offset: from, octets: body.subarray(from, to), properties: { sentAtMs: 0 } },
    ...(from === 0 && { digest }),
    ...more,
  };
}

let journal: Journal;
let entries: Entries;
beforeEach(async () => {
  journal = await openJournal({ user: "bob@ring.test" });
  entries = new Entries(journal);
});

function shown(...frames: readonly DataFrame[]) {
  const received = entries.take("news", frames);
  if (received.kind !== "entry") throw new Error(received.kind);
  return received;
}

test("a message in blocks is one, whole with the last of them, whatever else came with it", async () => {
  const other = block(0, 10, { stream: "other" });
  const first = shown(block(0, 4), other);
  expect(first.messages.map(({ stream }) => stream)).toEqual(["other"]);
  expect(first.waiting).toHaveLength(1);
  expect(shown(block(4, 7)).waiting).toEqual(first.waiting);
  const last = shown(block(7, 10));
  expect(last).toMatchObject({ messages: first.waiting, waiting: [] });
  expect(await last.messages[0]?.body()).toEqual(body);
  expect(last.messages[0]?.octets).toBe(10);
});

test("blocks that are shown again, to the next process or the next consumer, make it once more", async () => {
  shown(block(0, 4));
  shown(block(0, 4));
  const [whole] = shown(block(4, 10)).messages;
  expect(await whole?.body()).toEqual(body);
  shown(block(0, 4));
  const [again] = shown(block(4, 10)).messages;
  expect(await again?.body()).toEqual(body);
  await entries.consume(again ?? whole ?? ({} as never));
  expect(shown(block(0, 4))).toMatchObject({ messages: [], waiting: [] });
  expect(new Entries(journal).take("news", [block(4, 10)])).toMatchObject({ messages: [] });
});

test("a message that was given up: its blocks are over, also those that come later and to the next process", async () => {
  const [waiting] = shown(block(0, 4)).waiting;
  const gone = block(4, 4, { size: 4, void: true });
  const { over, messages } = shown(gone, block(0, 10, { sequence: 2 }));
  expect(over).toEqual([waiting]);
  expect(messages.map(({ sequence }) => sequence)).toEqual([2]);
  await entries.consume(waiting ?? ({} as never));
  expect(shown(block(0, 4))).toEqual({ kind: "entry", queue: "news", messages: [], waiting: [] });
  // In another queue none of its blocks has come yet.
  const before = entries.take("more", [gone]);
  if (before.kind !== "entry" || !before.over?.[0]) throw new Error("not over");
  await entries.consume(before.over[0]);
  expect(new Entries(journal).take("more", [block(0, 4)])).toMatchObject({ waiting: [] });
});

test("pieces that do not make the message that was sent are none", async () => {
  shown(block(0, 4));
  const [wrong] = shown(block(4, 10, { octets: Buffer.from("xxxxxx") })).messages;
  await expect(wrong?.body()).rejects.toMatchObject({ code: "malformed" });
});

test("a block beyond the end of its message is not understood", () => {
  expect(entries.take("news", [block(4, 10, { size: 8 })])).toMatchObject({ kind: "dead" });
});
