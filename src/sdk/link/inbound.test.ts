import { beforeEach, expect, test } from "vitest";
import type { DataFrame } from "../../ebm/index.js";
import { streamKey } from "../journal/in-state.js";
import { type Journal, openJournal } from "../journal/journal.js";
import { Connections } from "./connections.js";
import { Inbound } from "./inbound.js";
import type { LinkOptions } from "./ports.js";

const user = "bob@ring.test";
const origin = { user: "ann@ring.test", device: "d", epoch: 1 };
const octets = Buffer.alloc(100);
const options = {
  ...{ user, inboxOctetsMax: 250, windowOctets: 250, pollMs: () => 1_000, isConsumed: () => true },
} as unknown as Required<LinkOptions>;

let journal: Journal;
let inbound: Inbound;
let packets = 0;
let passed = 0;

beforeEach(async () => {
  journal = await openJournal({ user });
  packets = passed = 0;
  inbound = new Inbound({
    ...{ journal, options, connections: new Connections(journal, options), nowMs: () => 1_000 },
    ...{ whole: () => undefined, passed: () => void (passed += 1), dead: () => undefined },
  });
});

const whole = (sequence: number, more: Partial<DataFrame> = {}): DataFrame => ({
  ...{ kind: "data", stream: "main", sequence, id: `${sequence}`, size: 100, offset: 0, octets },
  ...{ properties: { sentAtMs: 0 }, ...more },
});
const take = (...frames: DataFrame[]): Promise<string | undefined> => {
  const header = {
    connection: "c",
    from: origin,
    to: user,
    key: "k",
    hash: "",
    expiresAtMs: 9_000,
  };
  return inbound.take({ ...header, packet: (packets += 1) }, frames);
};
const seen = () => journal.state.connections.get("c")?.seen.ranges;

test.each<readonly [string, number, DataFrame]>([
  ["the base of its stream", 1, whole(4, { base: 2 })],
  ["a void", 4, { ...whole(4), size: 0, octets: Buffer.alloc(0), void: true }],
])("a packet for which there is no room says what is not coming: %s", async (_, sequence, word) => {
  expect(await take(whole(2), whole(3))).toBeUndefined();
  expect(await take(word, whole(5), whole(6))).toContain("the inbox is full");
  const { settled, messages } = journal.state.in.get(streamKey(origin, "main")) ?? {};
  // What waited for that may be consumed, which makes room for the rest.
  expect(settled?.ranges).toEqual([[sequence, sequence]]);
  expect(passed).toBe(1);
  expect([...(messages?.keys() ?? [])]).toEqual([2, 3]);
  expect(seen()).toEqual([[1, 1]]);
  // It lies in the maildrop, and is looked at again and again: that is no news to anybody.
  expect(await take(word, whole(5), whole(6))).toContain("the inbox is full");
  expect(passed).toBe(1);
});

test("of a packet for which there is no room nothing else is taken, not even an empty message", async () => {
  expect(await take(whole(2), whole(3))).toBeUndefined();
  const empty = whole(4, { size: 0, octets: Buffer.alloc(0), base: 2 });
  expect(await take(empty, whole(5))).toContain("the inbox is full");
  expect([...(journal.state.in.get(streamKey(origin, "main"))?.messages.keys() ?? [])]).toEqual([
    2, 3,
  ]);
});
