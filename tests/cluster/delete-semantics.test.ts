/** RFC 1939 §6: only QUIT deletes. One maildrop, one session, whichever node it is opened at. */
import { beforeAll, expect, test } from "vitest";
import { fetchAll, loginWhenFree, Pop3Client, Pop3Refused } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
let ring: Ring;
let serial = 0;

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2 });
});

/** A fresh account with `mails` mails in its maildrop. */
async function maildrop(mails: number): Promise<string> {
  const name = `drop-${serial++}`;
  await ring.addUsers([name]);
  for (let n = 0; n < mails; n += 1) {
    const member = ring.member(n % 3);
    const mail = Buffer.from(`Subject: ${name} ${n}\r\n\r\nmail ${n}\r\n`);
    await sendMail(member.smtp, { from: "", to: [`${name}@${domain}`] }, mail);
  }
  return name;
}

async function uidsAt(index: number, name: string): Promise<string[]> {
  const mails = await fetchAll(ring.member(index).pop3, name, password);
  return mails.map((mail) => mail.uid);
}

/** What a login is told that is refused. */
async function refusal(index: number, name: string): Promise<string> {
  const error = await Pop3Client.login(ring.member(index).pop3, name, password).then(
    (client) => {
      client.destroy();
      throw new Error("was let in");
    },
    (failure: unknown) => failure,
  );
  if (error instanceof Pop3Refused) return error.line;
  throw error;
}

test("DELE without QUIT deletes nothing", async () => {
  const name = await maildrop(3);
  const before = await uidsAt(0, name);
  const client = await loginWhenFree(ring.member(1).pop3, name, password);
  await client.expect("DELE 1");
  await client.expect("DELE 3");
  client.destroy();
  for (const index of [0, 1, 2]) expect(await uidsAt(index, name)).toEqual(before);
});

test("DELE, RSET, QUIT deletes nothing", async () => {
  const name = await maildrop(2);
  const client = await loginWhenFree(ring.member(2).pop3, name, password);
  await client.expect("DELE 1");
  await client.expect("RSET");
  await client.quit();
  for (const index of [0, 1, 2]) expect(await uidsAt(index, name)).toHaveLength(2);
});

test("DELE and QUIT is seen at every node", async () => {
  const name = await maildrop(4);
  const before = await uidsAt(0, name);
  const client = await loginWhenFree(ring.member(1).pop3, name, password);
  await client.expect("DELE 2");
  await client.expect("DELE 4");
  await client.quit();
  const left = [before[0], before[2]];
  for (const index of [2, 0, 1]) expect(await uidsAt(index, name)).toEqual(left);
});

test("a mail that comes during a session is not in it, and not deleted by it", async () => {
  const name = await maildrop(1);
  const client = await loginWhenFree(ring.member(0).pop3, name, password);
  const mail = Buffer.from("Subject: late\r\n\r\nlate\r\n");
  await sendMail(ring.member(1).smtp, { from: "", to: [`${name}@${domain}`] }, mail);
  expect((await client.stat()).messages).toBe(1);
  await client.expect("DELE 1");
  await client.quit();
  const left = await fetchAll(ring.member(2).pop3, name, password);
  expect(left.map(({ bytes }) => bytes.includes("Subject: late"))).toEqual([true]);
});

test.each([0, 1, 2])("a second login while one is open, at node %i: [IN-USE]", async (second) => {
  const name = await maildrop(1);
  const holder = await loginWhenFree(ring.member(1).pop3, name, password);
  try {
    expect(await refusal(second, name)).toMatch(/^-ERR \[IN-USE\]/);
    expect(await refusal(second, `${name}@${domain}`)).toMatch(/^-ERR \[IN-USE\]/);
    expect((await holder.stat()).messages).toBe(1);
  } finally {
    holder.destroy();
  }
});

test("an orderly end frees the maildrop before QUIT is answered", async () => {
  const name = await maildrop(1);
  for (let n = 0; n < 6; n += 1) {
    const client = await Pop3Client.login(ring.member(n % 3).pop3, name, password);
    await client.quit();
  }
});

test("the maildrop is free again after the holder's connection died", async () => {
  const name = await maildrop(1);
  const holder = await loginWhenFree(ring.member(0).pop3, name, password);
  holder.destroy();
  // Deadline of ten seconds inside.
  const next = await loginWhenFree(ring.member(2).pop3, name, password);
  await next.quit();
});

test("free again after the holder's node was killed, and nothing is deleted", async () => {
  const name = await maildrop(2);
  const before = await uidsAt(0, name);
  const victim = ring.member(2);
  const holder = await loginWhenFree(victim.pop3, name, password);
  await holder.expect("DELE 1");
  await victim.kill("SIGKILL");
  holder.destroy();
  const next = await waitUntil(() => loginWhenFree(ring.member(0).pop3, name, password), {
    deadlineMs: 60_000,
    what: "a login at another node",
  });
  expect(await next.uidl()).toEqual(before);
  await next.expect("DELE 2");
  await next.quit();
  await victim.restart();
  await ring.settled();
  for (const index of [2, 0, 1]) expect(await uidsAt(index, name)).toEqual(before.slice(0, 1));
});
