import { afterEach, expect, test, vi } from "vitest";
import { writeSubject } from "../../ebm/index.js";
import { Pop3Client } from "../../client/pop3-client.js";
import { type MailAccount, startMailAccount } from "../../../tests/support/mail-account.js";
import type { Received } from "../link/ports.js";
import { DataMaildrop } from "./data-maildrop.js";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const index = (n: number, type: "data" | "configuration" = "data"): string =>
  writeSubject({ connection: "c0ffee", packet: n, type });
const mailWith = (subject: string): Buffer =>
  Buffer.from(`From: <a@b.test>\r\nSubject: ${subject}\r\n\r\nbody of ${subject}\r\n`);

async function setup(isShared: boolean, answers: Record<string, Received["kind"]> = {}) {
  const account: MailAccount = await startMailAccount({ user: "alice", password: "secret" });
  ends.push(() => account.close());
  let nowMs = 1_000;
  const received: string[] = [];
  const handled = { isTaken: false };
  const polled = vi.fn<() => void>();
  const maildrop = new DataMaildrop({
    isShared,
    receive: async (_, uid) => {
      received.push(uid);
      return { kind: answers[uid] ?? "done", why: "", queue: `of ${uid}` } as Received;
    },
    handle: async () => handled.isTaken,
    polled,
    nowMs: () => nowMs,
  });
  const look = async (): Promise<boolean> => {
    const client = await Pop3Client.login(account.pop3, "alice", "secret");
    const found = await maildrop.collect(client);
    await client.quit();
    return found;
  };
  const pass = (ms: number): void => void (nowMs += ms);
  return { account, received, look, pass, maildrop, handled, polled };
}

test("of an inbox that people use, only what is ours is fetched and deleted", async () => {
  const { account, look } = await setup(true);
  account.maildrop
    .set("person", mailWith("Lunch?"))
    .set("ours", mailWith(index(1)))
    .set("tagged", mailWith(`[EXTERNAL] ${index(2)}`))
    .set("folded", Buffer.from(String(mailWith(index(3))).replace('"n"', '\r\n "n"')))
    .set("answer", mailWith(index(0, "configuration")));
  expect(await look()).toBe(true);
  expect([...account.maildrop.keys()]).toEqual(["person", "answer"]);
  account.fetched.length = 0;
  expect(await look()).toBe(false);
  // Remembered: not even their headers are asked for again.
  expect(account.fetched).toEqual([]);
});

test("what can't be taken now stays, and is looked at again later and later", async () => {
  const { account, received, look, pass } = await setup(false, { early: "keep" });
  account.maildrop.set("early", mailWith(index(1))).set("good", mailWith(index(2)));
  await look();
  expect([...account.maildrop.keys()]).toEqual(["early"]);
  await look();
  expect(received).toEqual(["early", "good"]);
  pass(2_000);
  await look();
  pass(2_000);
  await look();
  expect(received).toEqual(["early", "good", "early"]);
  pass(2_000);
  await look();
  expect(received).toHaveLength(4);
  expect(account.maildrop.has("early")).toBe(true);
});

test("a mail that nobody understands is left alone, one that is dead is deleted", async () => {
  const { account, received, look, pass } = await setup(false, { odd: "foreign", bad: "dead" });
  account.maildrop.set("odd", mailWith("a bounce")).set("bad", mailWith(index(1)));
  await look();
  pass(86_400_000);
  await look();
  expect(received).toEqual(["odd", "bad"]);
  expect([...account.maildrop.keys()]).toEqual(["odd"]);
});

test("entries that were pushed stay until somebody has room, who need not wait for the next look", async () => {
  const { account, received, look, maildrop, handled } = await setup(true, {
    jobs: "entry",
    news: "entry",
  });
  account.maildrop.set("jobs", mailWith(index(1))).set("news", mailWith(index(2)));
  expect(await look()).toBe(false);
  handled.isTaken = true;
  await look();
  expect(received).toEqual(["jobs", "news"]);
  maildrop.lookAgain("of jobs");
  expect(await look()).toBe(true);
  expect(received).toEqual(["jobs", "news", "jobs"]);
  expect([...account.maildrop.keys()]).toEqual(["news"]);
});

test("a session that breaks off: what came before is taken and acknowledged, and never fetched again", async () => {
  const { account, received, look, polled } = await setup(false);
  for (const n of [1, 2, 3, 4]) account.maildrop.set(`u${n}`, mailWith(index(n)));
  account.unreadable.add("u3");
  await expect(look()).rejects.toThrow();
  expect(received).toEqual(["u1", "u2"]);
  expect(polled).toHaveBeenCalledTimes(1);
  expect(account.maildrop.size).toBe(4);
  account.unreadable.clear();
  account.fetched.length = 0;
  expect(await look()).toBe(true);
  expect(account.fetched).toEqual(["u3", "u4"]);
  expect(received).toEqual(["u1", "u2", "u3", "u4"]);
  expect(account.maildrop.size).toBe(0);
});
