/** RFC 5321 §4.5.5 and RFC 1047: a client whose reply got lost sends again; one copy is enough. */
import { beforeAll, expect, test } from "vitest";
import type { Member } from "../support/member.js";
import { fetchAll, loginWhenFree } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient, sendMail } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";
import { stuff } from "../support/wire.js";

const scope = ringScope("file");
const from = `sender@${domain}`;
let ring: Ring;
let serial = 0;

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2 });
});

async function account(): Promise<string> {
  const name = `retry-${serial++}`;
  await ring.addUsers([name]);
  return name;
}

function mailOf(octets: number): Buffer {
  const id = `<${serial}.${octets}@retries.test>`;
  return Buffer.from(`Message-ID: ${id}\r\nSubject: again\r\n\r\n${"x".repeat(octets)}\r\n`);
}

async function copies(name: string): Promise<number[]> {
  const counts: number[] = [];
  for (const { pop3 } of ring.members) counts.push((await fetchAll(pop3, name, password)).length);
  return counts;
}

/** Sends all, but its connection is lost instead of bringing the last reply. */
async function sendAndVanish(
  member: Member,
  name: string,
  mail: Buffer,
  stored?: () => Promise<unknown>,
): Promise<void> {
  const client = await SmtpClient.connect(member.smtp);
  await client.expect(250, `MAIL FROM:<${from}>`);
  await client.expect(250, `RCPT TO:<${name}@${domain}>`);
  await client.expect(354, "DATA");
  client.wire.write(stuff(mail));
  // Once the reply has been written, only a reset tells that it was not read.
  if (stored) {
    await stored();
    client.wire.reset();
  } else client.destroy();
}

const at = [
  ["the same node", 0],
  ["another node", 1],
  ["a third node", 2],
] as const;

test.each(at)("the reply got lost after the mail was stored; retry at %s", async (_, second) => {
  const name = await account();
  const mail = mailOf(2_000);
  const stored = () =>
    waitUntil(async () => (await copies(name))[0] === 1, {
      deadlineMs: 60_000,
      what: "the mail to be stored",
    });
  await sendAndVanish(ring.member(0), name, mail, stored);
  const envelope = { from, to: [`${name}@${domain}`] };
  await sendMail(ring.member(second).smtp, envelope, mail);
  expect(await copies(name)).toEqual([1, 1, 1]);
});

test.each(at)("the client vanished right after the dot; retry at %s", async (_, second) => {
  for (let round = 0; round < 5; round += 1) {
    const name = await account();
    const mail = mailOf(500 + round);
    await sendAndVanish(ring.member(0), name, mail);
    const envelope = { from, to: [`${name}@${domain}`] };
    await sendMail(ring.member(second).smtp, envelope, mail);
    expect(await copies(name), `round ${round}`).toEqual([1, 1, 1]);
  }
});

test.each(at)(
  "the reader deletes the mail before the retry comes; retry at %s",
  async (_, second) => {
    const name = await account();
    const mail = mailOf(3_000);
    const stored = () =>
      waitUntil(async () => (await copies(name))[0] === 1, {
        deadlineMs: 60_000,
        what: "the mail to be stored",
      });
    await sendAndVanish(ring.member(0), name, mail, stored);
    const reader = await loginWhenFree(ring.member(1).pop3, name, password);
    await reader.expect("DELE 1");
    await reader.quit();
    const envelope = { from, to: [`${name}@${domain}`] };
    await sendMail(ring.member(second).smtp, envelope, mail);
    expect(await copies(name)).toEqual([0, 0, 0]);
  },
);

test("a deleted mail whose client has read the 250 may be sent again", async () => {
  const name = await account();
  const mail = mailOf(4_000);
  const envelope = { from, to: [`${name}@${domain}`] };
  await sendMail(ring.member(0).smtp, envelope, mail);
  const reader = await loginWhenFree(ring.member(1).pop3, name, password);
  await reader.expect("DELE 1");
  await reader.quit();
  await sendMail(ring.member(2).smtp, envelope, mail);
  await waitUntil(async () => expect(await copies(name)).toEqual([1, 1, 1]), {
    deadlineMs: 60_000,
    what: "the second mail to be there",
  });
});

test("two equal mails, each acknowledged, are two messages", async () => {
  const name = await account();
  const mail = mailOf(1_000);
  const envelope = { from, to: [`${name}@${domain}`] };
  await sendMail(ring.member(0).smtp, envelope, mail);
  await sendMail(ring.member(0).smtp, envelope, mail);
  await sendMail(ring.member(1).smtp, envelope, mail);
  const client = await SmtpClient.connect(ring.member(2).smtp);
  for (let n = 0; n < 2; n += 1)
    expect(await client.send(envelope, mail)).toMatchObject({ stored: true });
  await client.quit();
  expect(await copies(name)).toEqual([5, 5, 5]);
  const uids = (await fetchAll(ring.member(0).pop3, name, password)).map(({ uid }) => uid);
  expect(new Set(uids).size).toBe(5);
});

test("the answer after the dot says how many copies are on disk", async () => {
  const name = await account();
  const reply = await sendMail(
    ring.member(1).smtp,
    { from, to: [`${name}@${domain}`] },
    mailOf(100),
  );
  expect(reply).toMatch(/^250 2\.0\.0 \S+ stored=[23]\/3$/);
});
