/** What a receiver says of a recipient, and what the client hears. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Delivery, DeliveryAnswer, RecipientAnswer } from "../mailbox/ports.js";
import type { MailboxName } from "../shared/ids.js";
import { FakeReceiver, RawClient, start, type Running } from "./testing.js";

const boxes = (...names: string[]): RecipientAnswer => ({
  kind: "mailboxes",
  mailboxes: names as MailboxName[],
});

class Scripted extends FakeReceiver {
  readonly asked: (readonly [string, number | undefined])[] = [];
  answers: Readonly<Record<string, RecipientAnswer>> = {
    "ann@ring.test": boxes("ann"),
    "sales@ring.test": boxes("ann", "bob"),
    "all@ring.test": boxes("ann", "bob", "cyd", "dan"),
    "off@ring.test": { kind: "disabled" },
    "loop@ring.test": { kind: "loop" },
    "full@ring.test": { kind: "overQuota" },
  };
  delivered: Delivery | undefined;
  answer: DeliveryAnswer | undefined;

  override resolve(address: string, options?: { octets?: number }): Promise<RecipientAnswer> {
    this.asked.push([address, options?.octets]);
    return Promise.resolve(this.answers[address] ?? { kind: "unknown" });
  }

  override deliver(delivery: Delivery): Promise<DeliveryAnswer> {
    this.delivered = delivery;
    return this.answer ? Promise.resolve(this.answer) : super.deliver(delivery);
  }
}

let running: Running;
let receiver: Scripted;
let client: RawClient;

beforeEach(async () => {
  receiver = new Scripted(FakeReceiver.create().spool);
  running = await start({ receiver, limits: { recipientsMax: 3 } });
  client = await RawClient.greeted(running.port);
  await client.ask("EHLO client.test");
});

afterEach(async () => {
  client.socket.destroy();
  await running.server.close();
});

async function mail(to: readonly string[], parameters = ""): Promise<string[]> {
  await client.ask(`MAIL FROM:<x@y.test>${parameters}`);
  const replies: string[] = [];
  for (const one of to) replies.push(await client.ask(`RCPT TO:<${one}@ring.test>`));
  return replies;
}

describe("a recipient", () => {
  test.each([
    ["off", "550 5.2.1"],
    ["loop", "550 5.4.6"],
    ["full", "452 4.2.2"],
    ["nobody", "550 5.1.1"],
  ])("%s: %s", async (name, reply) => {
    expect((await mail([name]))[0]).toMatch(new RegExp(`^${reply} `));
  });

  test("that is full is refused alone", async () => {
    const replies = await mail(["ann", "full", "sales"]);
    expect(replies.map((reply) => reply.slice(0, 3))).toEqual(["250", "452", "250"]);
    expect(await client.ask("DATA")).toMatch(/^354 /);
    expect(await client.ask("x: y\r\n\r\nz\r\n.")).toMatch(/^250 /);
    expect(receiver.delivered?.mailboxes).toEqual(["ann", "bob"]);
  });

  test("is asked about with the size that MAIL said", async () => {
    await mail(["ann"], " SIZE=1234");
    await client.ask("RSET");
    await mail(["ann"]);
    expect(receiver.asked).toEqual([
      ["ann@ring.test", 1_234],
      ["ann@ring.test", undefined],
    ]);
  });
});

describe("an alias", () => {
  test("is one copy each, also when a target is named beside it; the first name is in the trace", async () => {
    expect((await mail(["sales", "ann"])).every((reply) => reply.startsWith("250 "))).toBe(true);
    await client.ask("DATA");
    expect(await client.ask("x: y\r\n\r\nz\r\n.")).toMatch(/^250 /);
    expect(receiver.kept.map(({ mailbox }) => mailbox)).toEqual(["ann", "bob"]);
    for (const { trace } of receiver.kept) expect(trace).toContain("for <sales@ring.test>");
  });

  test("of more than fit is taken alone, and waits for its turn beside others", async () => {
    const replies = await mail(["ann", "all"]);
    expect(replies.map((reply) => reply.slice(0, 9))).toEqual(["250 2.1.5", "452 4.5.3"]);
    await client.ask("RSET");
    expect((await mail(["all"]))[0]).toMatch(/^250 2\.1\.5 /);
  });
});

test("a mail that overflows a mailbox is refused after the dot", async () => {
  receiver.answer = { kind: "overQuota" };
  await mail(["ann"]);
  await client.ask("DATA");
  expect(await client.ask("x: y\r\n\r\nz\r\n.")).toMatch(/^452 4\.2\.2 /);
  expect(await client.ask("NOOP")).toMatch(/^250 /);
});
