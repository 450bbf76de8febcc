import { generateKeyPairSync } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import { type MailAccount, startMailAccount } from "../../../tests/support/mail-account.js";
import { Pop3Client } from "../../client/pop3-client.js";
import { composeMail, connectionId, sealPacket } from "../../ebm/index.js";
import { Answers } from "./answers.js";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const { privateKey } = generateKeyPairSync("ed25519");
const [ring, user] = ["ring@ring.test", "alice@ring.test"];
const minute = 60_000;
const startMs = 1_700_000_000_000;

/** As the ring sends it. */
function answerTo(id: string, expiresAtMs = startMs + 86_400_000): Buffer {
  const from = { user: ring, device: "key", epoch: 0 };
  const connection = connectionId(from, user);
  const header = { connection, packet: 0, from, to: user, expiresAtMs };
  const body = { operation: "removeQueue", ok: true, answer: {} } as const;
  return composeMail({
    ...{ from: ring, to: user, messageId: `${id}@ring.test`, date: new Date(startMs) },
    index: { connection, packet: 0, type: "configuration" },
    packet: sealPacket({ header, frames: [{ kind: "configuration", id, body }], privateKey }),
  });
}

interface Program {
  readonly answers: Answers;
  readonly wait: (id: string) => Promise<unknown>;
  readonly pass: (ms: number) => void;
}

async function setup(isShared = false): Promise<{ account: MailAccount; start: () => Program }> {
  const account = await startMailAccount({ user: "alice", password: "secret" });
  ends.push(() => account.close());
  const start = (): Program => {
    let nowMs = startMs;
    const end = new AbortController();
    ends.push(() => end.abort());
    const answers = new Answers({
      open: async (use) => {
        const client = await Pop3Client.login(account.pop3, "alice", "secret");
        try {
          await use(client);
          await client.quit();
        } finally {
          client.destroy();
        }
      },
      isShared,
      nowMs: () => nowMs,
      signal: end.signal,
    });
    const wait = (id: string) => answers.wait(id, `${id}@q.test`, end.signal);
    return { answers, wait, pass: (ms) => void (nowMs += ms) };
  };
  return { account, start };
}

const fill = (account: MailAccount, count: number): void => {
  for (let n = 0; n < count; n += 1) account.maildrop.set(`old${n}`, answerTo(`old ${n}`));
};

test("an answer behind many that nobody waits for is found at once, and deleted", async () => {
  const { account, start } = await setup();
  fill(account, 300);
  account.maildrop.set("mine", answerTo("mine"));
  await expect(start().wait("mine")).resolves.toMatchObject({ answer: { ok: true } });
  await expect.poll(() => account.maildrop.has("mine")).toBe(false);
  expect(account.fetched.length).toBeLessThan(50);
});

test("a program whose sessions break off again and again hears its answers all the same", async () => {
  const { account, start } = await setup();
  fill(account, 100);
  account.maildrop.set("mine", answerTo("mine"));
  for (let n = 101; n < 141; n += 1) account.maildrop.set(`new${n}`, answerTo(`new ${n}`));
  // Every tenth mail is where a session breaks off, once.
  const cut = new Set([...account.maildrop.keys()].filter((_, index) => index % 10 === 5));
  account.unreadable.has = (uid) => cut.delete(uid);
  await expect(start().wait("mine")).resolves.toMatchObject({ answer: { ok: true } });
  expect(cut.size).toBe(10);
});

test("when nothing at all can be fetched, it says so", async () => {
  const { account, start } = await setup();
  account.maildrop.set("mine", answerTo("mine"));
  account.unreadable.add("mine");
  await expect(start().wait("mine")).rejects.toThrow("can't be read now");
});

test("what was taken in a session that broke off is not fetched again, and deleted by the next", async () => {
  const { account, start } = await setup();
  const { wait } = start();
  account.maildrop.set("bad", answerTo("bad")).set("one", answerTo("one"));
  account.unreadable.add("bad");
  await wait("one");
  account.maildrop.delete("bad");
  account.fetched.length = 0;
  account.maildrop.set("two", answerTo("two"));
  await wait("two");
  await expect.poll(() => account.maildrop.size).toBe(0);
  expect(account.fetched).toEqual(["two"]);
});

test("an answer that was seen before its question's reply is not overlooked", async () => {
  const { account, start } = await setup();
  const { wait } = start();
  account.maildrop.set("two", answerTo("two")).set("one", answerTo("one"));
  await wait("one");
  await expect.poll(() => [...account.maildrop.keys()]).toEqual(["two"]);
  await expect(wait("two")).resolves.toMatchObject({ answer: { ok: true } });
});

test("what nobody has fetched for ten minutes is deleted, and what has expired", async () => {
  const { account, start } = await setup();
  const { wait, pass } = start();
  account.maildrop.set("late", answerTo("late", startMs - 1)).set("other", answerTo("other"));
  account.maildrop.set("one", answerTo("one"));
  await wait("one");
  await expect.poll(() => [...account.maildrop.keys()]).toEqual(["other"]);
  pass(11 * minute);
  account.maildrop.set("two", answerTo("two"));
  await wait("two");
  await expect.poll(() => account.maildrop.size).toBe(0);
});

test("of an inbox that people use, only expired answers of the ring are deleted", async () => {
  const { account, start } = await setup(true);
  const { wait, pass } = start();
  account.maildrop.set("person", Buffer.from("Subject: Lunch?\r\n\r\n12?\r\n"));
  account.maildrop.set("late", answerTo("late", startMs - 1)).set("other", answerTo("other"));
  account.maildrop.set("one", answerTo("one"));
  await wait("one");
  pass(11 * minute);
  account.maildrop.set("two", answerTo("two"));
  await wait("two");
  await expect.poll(() => [...account.maildrop.keys()]).toEqual(["person", "other"]);
  expect(account.fetched.filter((uid) => uid === "person").length).toBeLessThan(2);
});

test("nobody looks for the answer to a question that was given up before its mail had left", async () => {
  let sessions = 0;
  const open = async (): Promise<void> => void (sessions += 1);
  const end = new AbortController();
  ends.push(() => end.abort());
  const answers = new Answers({ open, isShared: false, nowMs: Date.now, signal: end.signal });
  const over = new Error("its time is over");
  await expect(answers.wait("one", "one@q.test", AbortSignal.abort(over))).rejects.toBe(over);
  expect(sessions).toBe(0);
});
