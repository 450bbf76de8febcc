/** What users hand in for other domains: it leaves by the smart host, or its sender is told; nobody else's does. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Member } from "../support/member.js";
import { fetchAll } from "../support/pop3-client.js";
import { admin, domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { FakeSmartHost } from "../support/smart-host.js";
import { SmtpClient } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";
import { stuff } from "../support/wire.js";

const scope = ringScope("file");
const host = new FakeSmartHost();
const patience = { deadlineMs: 60_000 };
/** At member 2 users may have few recipients elsewhere. */
const few = 5;
let ring: Ring;
let serial = 0;
/** Accounts of the test that runs. */
let alice = "";
let bob = "";

beforeAll(async () => {
  await host.start();
  const args = ["--relay", host.addr, "--relay-retry", "1", "--log-level", "debug"];
  const place = (index: number) => ({ args: index === 2 ? ["--relay-rate", String(few)] : [] });
  ring = await scope.start({ members: 3, replicas: 2, args, place });
});

afterAll(() => host.stop());

beforeEach(async () => {
  host.treat = () => "take";
  host.refuseSender = () => undefined;
  await untilEmpty();
  host.taken.length = 0;
  host.tries.length = 0;
  serial += 1;
  [alice, bob] = [`alice-${serial}`, `bob-${serial}`];
  await ring.addUsers([alice, bob]);
});

async function untilEmpty(): Promise<void> {
  const waiting = async () => (await admin(ring.entry.addr, "relayStatus", {})).waiting;
  await waitUntil(async () => expect(await waiting()).toBe(0), {
    ...{ deadlineMs: 60_000, what: "nothing to wait any more", everyMs: 100 },
  });
}

const at = (name: string) => `${name}@${domain}`;
const plain = (user: string) =>
  `AUTH PLAIN ${Buffer.from(`\0${user}\0${password}`).toString("base64")}`;

async function loggedIn(member: Member, user: string): Promise<SmtpClient> {
  const client = await SmtpClient.connect(member.submission, patience);
  await client.expect(250, "EHLO client.test");
  await client.expect(235, plain(user));
  return client;
}

const said = async (client: SmtpClient, line: string) =>
  (await client.command(line)).lines.join("\n");

const idOf = (subject: string) => `${serial}.${subject.replaceAll(" ", ".")}@client.test`;

function mailOf(subject: string, more: readonly string[] = []): Buffer {
  const header = ["Date: Sat, 21 Nov 2026 12:00:00 +0000", `Subject: ${subject}`];
  const lines = [...header, ...more, `Message-ID: <${idOf(subject)}>`, "", "one", ".two", "bl\xe5"];
  return Buffer.from(`${lines.join("\r\n")}\r\n`, "latin1");
}

async function handIn(through: Member, mail: Buffer, to: string[], from = at(alice)) {
  const client = await loggedIn(through, alice);
  const result = await client.send({ from, to }, mail);
  await client.quit();
  return result;
}

async function bodiesOf(name: string): Promise<string[]> {
  const mails = await fetchAll(ring.member(0).pop3, name, password, { replyDeadlineMs: 60_000 });
  return mails.map(({ bytes }) => bytes.toString("latin1"));
}

/** The one that comes, if one does. */
async function reportIn(maildrop: string): Promise<string> {
  return await waitUntil(async () => (await bodiesOf(maildrop))[0], {
    ...{ deadlineMs: 60_000, what: `a report in ${maildrop}`, everyMs: 200 },
  });
}

test("each recipient gets it from her, as it was handed in, once; people of the ring as well", async () => {
  const mail = mailOf("to all");
  const to = ["ann@else.test", "Ben@Other.Test", "odd+name=x@else.test"];
  const result = await handIn(ring.member(1), mail, [...to, at(bob), "ann@else.test"]);
  expect(result).toMatchObject({ stored: true });
  await waitUntil(() => host.taken.length >= 3, { ...patience, what: "three mails" });
  await untilEmpty();
  expect(host.taken.map((one) => one.to).sort()).toEqual([...to].sort());
  for (const { from, to: one, octets } of host.taken) {
    expect(from).toBe(at(alice));
    const text = octets.toString("latin1");
    expect(text).toMatch(/^Received: from client\.test \(\[127\.0\.0\.1\]\)/);
    expect(text.replace(/\r\n[ \t]+/g, " ")).toContain(`for <${one}>`);
    expect(text.endsWith(mail.toString("latin1"))).toBe(true);
    // Neither what is ours alone, nor the other recipients.
    expect(text).not.toMatch(/Return-Path|Ringpost-/i);
    for (const other of to) if (other !== one) expect(text).not.toContain(other);
  }
  const copies = [...(await bodiesOf(bob)), ...(await bodiesOf(`${alice}/outbox`))];
  expect(copies).toHaveLength(2);
  for (const copy of copies) expect(copy.endsWith(mail.toString("latin1"))).toBe(true);
});

describe("who sent it is told when it is refused for good", () => {
  test("in the inbox, by a report as RFC 3464 has it, and others are not held up", async () => {
    host.treat = ({ to }) => (to.startsWith("nobody") ? "550 5.1.1 no such user" : "take");
    await handIn(ring.member(0), mailOf("lost"), ["nobody@else.test", "ann@else.test"]);
    const report = await reportIn(alice);
    expect(report).toMatch(/^Return-Path: <>\r\n/);
    expect(report).toMatch(/^Content-Type: multipart\/report; report-type=delivery-status;\r\n/m);
    expect(report).toMatch(/^Auto-Submitted: auto-replied\r$/m);
    expect(report).toMatch(/^Final-Recipient: rfc822; nobody@else\.test\r$/m);
    expect(report).toMatch(/^Action: failed\r$/m);
    expect(report).toMatch(/^Status: 5\.1\.1\r$/m);
    expect(report).toMatch(/^Diagnostic-Code: smtp; 550 5\.1\.1 no such user\r$/m);
    expect(report).toContain(`Message-ID: <${idOf("lost")}>`);
    await untilEmpty();
    expect(host.taken.map(({ to }) => to)).toEqual(["ann@else.test"]);
    expect(await bodiesOf(alice)).toHaveLength(1);
  });

  test("where programs look, when it came from one (alice+data)", async () => {
    host.treat = () => "554 5.6.0 not this";
    await handIn(ring.member(1), mailOf("packet"), ["ann@else.test"], at(`${alice}+data`));
    expect(await reportIn(`${alice}/data`)).toMatch(/^Status: 5\.6\.0\r$/m);
    expect(await bodiesOf(alice)).toEqual([]);
  });

  test("when the smart host takes nothing from her, and it goes on with others' mail", async () => {
    host.refuseSender = (from) => (from === at(alice) ? "553 5.7.1 not you" : undefined);
    await handIn(ring.member(0), mailOf("from me"), ["ann@else.test"]);
    expect(await reportIn(alice)).toMatch(/^Diagnostic-Code: smtp; 553 5\.7\.1 not you\r$/m);
    const client = await loggedIn(ring.member(1), bob);
    await client.send({ from: at(bob), to: ["ann@else.test"] }, mailOf("from bob"));
    await client.quit();
    await host.untilTaken([idOf("from bob")]);
  });

  test("nobody is told of what came from the null sender", async () => {
    host.treat = () => "550 5.1.1 no such user";
    await handIn(ring.member(0), mailOf("read"), ["ann@else.test"], "");
    await waitUntil(() => host.tries.length > 0, { ...patience, what: "a try" });
    await untilEmpty();
    expect(host.tries).toHaveLength(1);
    expect(await bodiesOf(alice)).toEqual([]);
  });
});

test("the smart host is away, then says later: taken at once here, sent when it is back, in order", async () => {
  await host.stop();
  const subjects = ["first", "second", "third"];
  for (const [index, subject] of subjects.entries()) {
    const result = await handIn(ring.member(index), mailOf(subject), ["ann@else.test"]);
    expect(result).toMatchObject({ stored: true });
  }
  host.treat = (_, tries) => (tries < 2 ? "451 4.3.0 later" : "take");
  await host.start();
  await host.untilTaken(subjects.map(idOf));
  await untilEmpty();
  expect(host.taken.map(({ messageId }) => messageId)).toEqual(subjects.map(idOf));
  expect(await bodiesOf(alice)).toEqual([]);
});

test("SIGKILL of the member that sends: every mail goes out, doubles are few", async () => {
  const failed = (member: Member) =>
    member
      .tail(2_000)
      .split("\n")
      .filter((line) => line.includes("was not taken yet")).length;
  const before = new Map(ring.running.map((member) => [member, failed(member)]));
  host.treat = () => "451 4.3.0 later";
  await handIn(ring.member(0), mailOf("hangs"), ["hang@else.test"]);
  const killed = await waitUntil(
    () => ring.running.find((member) => failed(member) > (before.get(member) ?? 0)),
    { ...patience, what: "a member to try" },
  );
  host.treat = ({ to }, tries) => (to.startsWith("hang") && tries > 1 ? "hang" : "take");
  const [other] = ring.others(killed);
  if (other === undefined) throw new Error("no other member");
  const to = Array.from({ length: few - 1 }, (_, n) => `n${n}@else.test`);
  await handIn(other, mailOf("many"), to);
  await waitUntil(() => host.tries.some(({ to: one }) => one === to[0]), {
    ...{ ...patience, what: "mails to be on their way", everyMs: 5 },
  });
  await killed.kill("SIGKILL");
  host.treat = () => "take";
  await handIn(other, mailOf("after"), ["ann@else.test"]);
  await host.untilTaken([idOf("hangs"), idOf("many"), idOf("after")]);
  await untilEmpty();
  const got = new Set(host.taken.map(({ messageId, to: one }) => `${messageId} ${one}`));
  expect(got.size).toBe(1 + to.length + 1);
  expect(host.taken.length - got.size).toBeLessThanOrEqual(4);
  await killed.restart();
});

test("the 250 got lost and the client hands in again, at another member (S33): sent once", async () => {
  const mail = mailOf("again");
  const client = await loggedIn(ring.member(0), alice);
  await client.expect(250, `MAIL FROM:<${at(alice)}>`);
  await client.expect(250, "RCPT TO:<ann@else.test>");
  await client.expect(354, "DATA");
  host.treat = () => "451 4.3.0 later";
  client.wire.write(stuff(mail));
  await waitUntil(() => host.tries.length > 0, { ...patience, what: "a try" });
  client.reset();
  expect(await handIn(ring.member(1), mail, ["ann@else.test"])).toMatchObject({ stored: true });
  host.treat = () => "take";
  await host.untilTaken([idOf("again")]);
  await untilEmpty();
  expect(host.taken).toHaveLength(1);
  expect(await bodiesOf(`${alice}/outbox`)).toHaveLength(1);
});

describe("relaying (S38): nothing reaches the smart host", () => {
  const elsewhere = ["victim@else.test", `@${domain}:victim@else.test`, "victim@[127.0.0.1]"];

  test("for strangers, whatever they say of themselves, at every member", async () => {
    for (const member of ring.members) {
      for (const from of ["", at(alice), "spam@else.test", at("ring")]) {
        const client = await SmtpClient.connect(member.smtp, patience);
        expect(await said(client, "EHLO client.test")).not.toContain("AUTH");
        expect((await client.command(plain(alice))).code).toBeGreaterThanOrEqual(500);
        await client.expect(250, `MAIL FROM:<${from}>`);
        // Beside one that is taken as well.
        await client.expect(250, `RCPT TO:<${at(bob)}>`);
        for (const to of elsewhere) {
          expect(await said(client, `RCPT TO:<${to}>`), to).toMatch(/^550 5\.7\.1 relaying/);
        }
        client.destroy();
      }
      const nobody = await SmtpClient.connect(member.submission, patience);
      await nobody.expect(250, "EHLO client.test");
      expect(await said(nobody, `MAIL FROM:<${at(alice)}>`)).toMatch(/^530 5\.7\.0 /);
      expect(await said(nobody, "RCPT TO:<victim@else.test>")).toMatch(/^503 /);
      nobody.destroy();
    }
    expect(host.tries).toEqual([]);
  });

  test("in somebody else's name (S37)", async () => {
    for (const member of ring.members) {
      const client = await loggedIn(member, alice);
      for (const from of [at(bob), "alice@else.test", at("ring"), at("postmaster")]) {
        expect(await said(client, `MAIL FROM:<${from}>`), from).toMatch(/^553 5\.7\.1 /);
        expect(await said(client, "RCPT TO:<victim@else.test>")).toMatch(/^503 /);
      }
      client.destroy();
    }
    expect(host.tries).toEqual([]);
  });

  test("into the network behind it, by an address literal or a name with a way in it", async () => {
    const client = await loggedIn(ring.member(0), alice);
    await client.expect(250, `MAIL FROM:<${at(alice)}>`);
    for (const to of ["x@[127.0.0.1]", "x@[IPv6:::1]", `victim%else.test@${domain}`]) {
      expect((await client.command(`RCPT TO:<${to}>`)).code, to).toBeGreaterThanOrEqual(500);
    }
    expect((await client.command("DATA")).code).toBe(503);
    client.destroy();
    expect(host.tries).toEqual([]);
  });

  test("round and round: a mail that came through more than 100 servers", async () => {
    const received = (count: number) =>
      Array.from({ length: count }, (_, n) => `Received: from a${n}.test by b${n}.test; x`);
    const looping = await handIn(ring.member(0), mailOf("loop", received(101)), ["ann@else.test"]);
    expect(looping).toMatchObject({ stored: false, reply: { code: 554 } });
    await handIn(ring.member(0), mailOf("far", received(100)), ["ann@else.test"]);
    await host.untilTaken([idOf("far")]);
    expect(host.distinct).toEqual(new Set([idOf("far")]));
  });
});

test("so many recipients of one user in an hour, and then 450; others and the ring's own go on", async () => {
  const client = await loggedIn(ring.member(2), alice);
  await client.expect(250, `MAIL FROM:<${at(alice)}>`);
  for (let n = 0; n < few; n += 1) await client.expect(250, `RCPT TO:<n${n}@else.test>`);
  expect(await said(client, "RCPT TO:<more@else.test>")).toMatch(/^450 4\.7\.1 /);
  await client.expect(250, `RCPT TO:<${at(bob)}>`);
  client.destroy();
  const other = await loggedIn(ring.member(2), bob);
  await other.send({ from: at(bob), to: ["ann@else.test"] }, mailOf("bob's"));
  await other.quit();
  await host.untilTaken([idOf("bob's")]);
});

test("her account is gone before the refusal: nobody is told, and it does not wait for ever", async () => {
  host.treat = () => "451 4.3.0 later";
  await handIn(ring.member(0), mailOf("orphan"), ["ann@else.test"]);
  await waitUntil(() => host.tries.length > 0, { ...patience, what: "a try" });
  await admin(ring.entry.addr, "userRemove", { name: alice });
  host.treat = () => "550 5.1.1 no such user";
  await untilEmpty();
  expect(host.taken).toEqual([]);
});
