/** Handing mail in, by strangers and by users who are not who they say, at a ring of three. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { makeCertificate } from "../support/certificate.js";
import type { Member } from "../support/member.js";
import { fetchAll, loginWhenFree, Pop3Client } from "../support/pop3-client.js";
import { admin, domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient, sendMail } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";
import { stuff } from "../support/wire.js";

const scope = ringScope("file");
const { cert, certPath, keyPath } = makeCertificate();
const patience = { deadlineMs: 120_000 };
/** Member 2 takes no password in clear. */
let ring: Ring;
let serial = 0;
/** Accounts of the test that runs. */
let alice = "";
let bob = "";

beforeAll(async () => {
  const args = ["--tls-cert", certPath, "--tls-key", keyPath];
  const place = (index: number) => ({ args: index === 2 ? ["--plain-auth", "never"] : [] });
  ring = await scope.start({ members: 3, replicas: 2, args, place });
});

beforeEach(async () => {
  serial += 1;
  [alice, bob] = [`alice-${serial}`, `bob-${serial}`];
  await ring.addUsers([alice, bob]);
});

const b64 = (text: string) => Buffer.from(text, "latin1").toString("base64");
const plain = (user: string, secret = password) => `AUTH PLAIN ${b64(`\0${user}\0${secret}`)}`;
const at = (name: string) => `${name}@${domain}`;

const connect = (member: Member, port: "smtp" | "submission" = "submission") =>
  SmtpClient.connect(member[port], patience);

/** The server's certificate is checked, and what was said in clear is forgotten. */
async function secure(client: SmtpClient): Promise<void> {
  await client.wire.secure({ ca: cert, servername: "localhost" });
}

async function startedTls(member: Member, port: "smtp" | "submission" = "submission") {
  const client = await connect(member, port);
  await client.expect(220, "STARTTLS");
  await secure(client);
  await client.expect(250, "EHLO client.test");
  return client;
}

async function loggedIn(member: Member, user: string): Promise<SmtpClient> {
  const client = await startedTls(member);
  await client.expect(235, plain(user));
  return client;
}

const said = async (client: SmtpClient, line: string) =>
  (await client.command(line)).lines.join("\n");

async function bodiesOf(name: string, through = ring.member(0)): Promise<string[]> {
  const mails = await fetchAll(through.pop3, name, password, { replyDeadlineMs: 120_000 });
  return mails.map(({ bytes }) => bytes.toString("latin1"));
}

function mailOf(subject: string, id = true): Buffer {
  const header = ["Date: Sat, 21 Nov 2026 12:00:00 +0000", `Subject: ${subject}`];
  if (id) header.push(`Message-ID: <${serial}.${subject.replaceAll(" ", ".")}@client.test>`);
  return Buffer.from(`${header.join("\r\n")}\r\n\r\none\r\n.two\r\n..\r\nend\r\n`);
}

/** The copies in both mailboxes, at two members: those that end with the mail as it was sent. */
async function copies(mail: Buffer): Promise<number[]> {
  const counts: number[] = [];
  const sent = mail.toString("latin1");
  for (const member of [ring.member(0), ring.member(1)]) {
    for (const name of [bob, `${alice}/outbox`]) {
      const all = await bodiesOf(name, member);
      counts.push(all.filter((body) => body.endsWith(sent)).length);
      expect(all.length).toBe(counts.at(-1));
    }
  }
  return counts;
}

describe("what is pipelined behind STARTTLS (S26)", () => {
  test.each(["smtp", "submission"] as const)("is dropped, at every member: %s", async (port) => {
    for (const [index, member] of ring.members.entries()) {
      const mail = `MAIL FROM:<evil@else.test>\r\nRCPT TO:<${at(bob)}>\r\nDATA\r\nevil\r\n.\r\n`;
      const behind = ["NOOP\r\n", `EHLO evil.test\r\n${mail}`, "NO"][index] ?? "";
      const client = await connect(member, port);
      client.wire.write(`STARTTLS\r\n${behind}`);
      expect((await client.reply()).code).toBe(220);
      // Fails if there was any further reply in clear.
      await secure(client);
      // Neither a hello nor half a command is left over.
      expect(await said(client, "MAIL FROM:<>")).toMatch(/^503 5\.5\.1 /);
      await client.expect(250, "EHLO client.test");
      await client.expect(250, "NOOP");
      await client.quit();
    }
    expect(await bodiesOf(bob)).toEqual([]);
  });

  test("nor does AUTH in clear hold after it", async () => {
    const client = await connect(ring.member(0));
    client.wire.write(`${plain(alice)}\r\nSTARTTLS\r\n`);
    expect((await client.reply()).code).toBe(235);
    expect((await client.reply()).code).toBe(220);
    await secure(client);
    await client.expect(250, "EHLO client.test");
    expect(await said(client, `MAIL FROM:<${at(alice)}>`)).toMatch(/^530 5\.7\.0 /);
    client.destroy();
  });
});

describe("AUTH before TLS, where passwords may not come in clear (S27)", () => {
  test("is not offered, and 538, and no try of a password", async () => {
    const client = await connect(ring.member(2));
    const { lines } = await client.expect(250, "EHLO client.test");
    const offer = lines.find((line) => line.slice(4).startsWith("AUTH")) ?? "";
    expect(offer).not.toMatch(/PLAIN|LOGIN|BEARER|XOAUTH2/);
    expect(lines.map((line) => line.slice(4))).toContain("STARTTLS");
    // More often than wrong passwords may be tried: were they looked at, the account were closed.
    for (let n = 0; n < 12; n += 1) {
      const line = n % 2 === 0 ? plain(alice, "wrong") : "AUTH LOGIN";
      expect(await said(client, line)).toMatch(/^538 5\.7\.11 /);
    }
    expect(await said(client, plain(alice))).toMatch(/^538 5\.7\.11 /);
    expect(await said(client, `MAIL FROM:<${at(alice)}>`)).toMatch(/^530 5\.7\.0 /);
    client.destroy();

    const secured = await startedTls(ring.member(2));
    expect(await said(secured, "EHLO client.test")).toMatch(/AUTH .*PLAIN/);
    await secured.expect(235, plain(alice));
    await secured.quit();
  });
});

describe("guessing over one connection (S35)", () => {
  test("ten times 535 5.7.8, later and later, then 421, also for the right password", async () => {
    const client = await startedTls(ring.member(1));
    const tookMs: number[] = [];
    for (let n = 0; n < 10; n += 1) {
      const began = performance.now();
      expect(await said(client, plain(alice, `guess ${n}`))).toMatch(/^535 5\.7\.8 /);
      tookMs.push(performance.now() - began);
    }
    // Only how short it is at least: 0.25 s from the third try on, 2 s from the sixth.
    expect(Math.min(...tookMs.slice(2)), tookMs.join()).toBeGreaterThan(240);
    expect(Math.min(...tookMs.slice(5)), tookMs.join()).toBeGreaterThan(1_900);
    expect(await said(client, plain(alice))).toMatch(/^421 4\.7\.0 /);
    await client.wire.closed();
    // And the ring has counted, for whatever member and protocol.
    for (const member of ring.members) {
      const other = await startedTls(member);
      expect(await said(other, plain(alice))).toMatch(/^421 4\.7\.0 /);
      await other.wire.closed();
    }
    const reader = await Pop3Client.connect(ring.member(0).pop3, patience.deadlineMs);
    await reader.expect(`USER ${alice}`);
    expect((await reader.command(`PASS ${password}`)).line).toMatch(/^-ERR \[SYS\/TEMP\]/);
    reader.destroy();
    // Nobody else is concerned.
    await (await loggedIn(ring.member(1), bob)).quit();
  });

  test("eleven names on one connection are ten tries, too", async () => {
    const client = await startedTls(ring.member(0));
    for (let n = 0; n < 10; n += 1) {
      expect(await said(client, plain(`nobody-${serial}-${n}`))).toMatch(/^535 5\.7\.8 /);
    }
    expect(await said(client, plain(alice))).toMatch(/^421 4\.7\.0 /);
    await client.wire.closed();
    await (await loggedIn(ring.member(0), alice)).quit();
  });
});

test("in somebody else's name (S37): 553 5.7.1 at every member, and nothing is stored", async () => {
  const alias = `sales-${serial}`;
  await admin(ring.entry.addr, "aliasAdd", { alias, targets: [alice] });
  for (const member of ring.members) {
    const client = await loggedIn(member, alice);
    for (const from of [at(bob), at(`${bob}+x`), `${alice}@else.test`, at("nobody-at-all")]) {
      expect(await said(client, `MAIL FROM:<${from}>`), from).toMatch(/^553 5\.7\.1 /);
      expect(await said(client, `RCPT TO:<${at(bob)}>`)).toMatch(/^503 /);
    }
    for (const from of [at(alice), at(`${alice}+tag`), at(alias)]) {
      expect(await said(client, `MAIL FROM:<${from}>`), from).toMatch(/^250 /);
      await client.expect(250, "RSET");
    }
    await client.quit();
  }
  for (const name of [alice, bob, `${alice}/outbox`]) expect(await bodiesOf(name)).toEqual([]);
});

describe("relaying (S38)", () => {
  const elsewhere = [
    "victim@else.test",
    `victim%else.test@${domain}`,
    `@${domain}:victim@else.test`,
    `"victim@else.test"@${domain}`,
  ];

  test("with AUTH: no mail goes elsewhere", async () => {
    for (const member of ring.members) {
      const client = await loggedIn(member, alice);
      await client.expect(250, `MAIL FROM:<${at(alice)}>`);
      for (const to of elsewhere) {
        expect(await said(client, `RCPT TO:<${to}>`), to).toMatch(
          /^(550 5\.(7\.1|1\.1)|501 5\.1\.3) /,
        );
      }
      expect(await said(client, "RCPT TO:<victim@else.test>")).toMatch(/^550 5\.7\.1 /);
      expect(await said(client, "DATA")).toMatch(/^(503|554) /);
      client.destroy();
    }
    expect(await bodiesOf(`${alice}/outbox`)).toEqual([]);
  });

  test("without AUTH: nothing at all is handed in, for whomever", async () => {
    for (const member of ring.members) {
      for (const client of [await connect(member), await startedTls(member)]) {
        expect(await said(client, `MAIL FROM:<${at(alice)}>`)).toMatch(/^530 5\.7\.0 /);
        for (const to of [at(bob), ...elsewhere]) {
          expect(await said(client, `RCPT TO:<${to}>`)).toMatch(/^503 /);
        }
        client.destroy();
      }
    }
    expect(await bodiesOf(bob)).toEqual([]);
  });
});

describe("the reply got lost and the client hands in again (S33)", () => {
  const places = [
    ["the same member", 0],
    ["another member", 1],
  ] as const;

  test.each(places)("one copy, in the outbox as well; retry at %s", async (_, second) => {
    for (const hasId of [true, false]) {
      const mail = mailOf(`again ${second} ${hasId}`, hasId);
      const client = await loggedIn(ring.member(0), alice);
      await client.expect(250, `MAIL FROM:<${at(alice)}>`);
      await client.expect(250, `RCPT TO:<${at(bob)}>`);
      await client.expect(354, "DATA");
      client.wire.write(stuff(mail));
      const isThere = async () => (await bodiesOf(`${alice}/outbox`)).length === 1;
      const what = "the copy in the outbox";
      await waitUntil(isThere, { deadlineMs: 60_000, what });
      client.reset();
      const again = await loggedIn(ring.member(second), alice);
      const result = await again.send({ from: at(alice), to: [at(bob)] }, mail);
      expect(result).toMatchObject({ stored: true });
      await again.quit();
      expect(await copies(mail)).toEqual([1, 1, 1, 1]);
      for (const name of [bob, `${alice}/outbox`]) await emptied(name);
    }
  });

  test("what its sender has read the 250 of is sent twice, and is there twice", async () => {
    const mail = mailOf("twice");
    for (const member of [ring.member(0), ring.member(1)]) {
      const client = await loggedIn(member, alice);
      const result = await client.send({ from: at(alice), to: [at(bob)] }, mail);
      expect(result).toMatchObject({ stored: true });
      await client.quit();
    }
    expect(await copies(mail)).toEqual([2, 2, 2, 2]);
  });
});

async function emptied(name: string): Promise<void> {
  const client = await loginWhenFree(ring.member(1).pop3, name, password);
  for (const [number] of await client.list()) await client.expect(`DELE ${number}`);
  await client.quit();
}

describe("the outbox, over POP3", () => {
  const names = () => [
    `${alice}/outbox`,
    `${at(alice)}/OUTBOX`,
    `${at(alice.toUpperCase())}/outbox`,
  ];

  test("has what was sent, octet by octet, at every member, with TLS and without", async () => {
    const mails = ["first", "second", "third"].map((subject) => mailOf(subject));
    for (const [index, mail] of mails.entries()) {
      const client = await loggedIn(ring.member(index), alice);
      const result = await client.send({ from: at(alice), to: [at(bob)] }, mail);
      expect(result).toMatchObject({ stored: true });
      await client.quit();
    }
    // What others send to her is not in it.
    await sendMail(ring.member(0).smtp, { from: "", to: [at(alice)] }, mailOf("to her"));
    const uids = new Set<string>();
    for (const [index, name] of names().entries()) {
      const client = await Pop3Client.connect(ring.member(index).pop3, patience.deadlineMs);
      if (index > 0) await client.startTls({ ca: cert, servername: "localhost" });
      await client.expect(`USER ${name}`);
      await client.expect(`PASS ${password}`);
      const got = await client.all();
      await client.quit();
      const expected = mails.map((mail) => mail.toString("latin1"));
      const bodies = got.map(({ bytes }) => bytes.toString("latin1"));
      expect(bodies.map((body, n) => body.endsWith(expected[n] ?? ""))).toEqual([true, true, true]);
      uids.add(got.map(({ uid }) => uid).join());
    }
    expect(uids.size).toBe(1);
  });

  test("what is deleted in it stays in the recipient's maildrop, and the other way round", async () => {
    const mail = mailOf("kept by one");
    const client = await loggedIn(ring.member(0), alice);
    expect(await client.send({ from: at(alice), to: [at(bob)] }, mail)).toMatchObject({
      stored: true,
    });
    await client.quit();
    await emptied(`${alice}/outbox`);
    expect(await copies(mail)).toEqual([1, 0, 1, 0]);
    await emptied(bob);
    expect(await copies(mail)).toEqual([0, 0, 0, 0]);
  });

  test("is nobody else's, and no mailbox that mail can be sent to", async () => {
    for (const [user, secret] of [
      [`${alice}/outbox`, "wrong"],
      ["nobody-at-all/outbox", password],
      [`${alice}/outbox/outbox`, password],
      [`${alice}/inbox`, password],
    ] as const) {
      const reader = await Pop3Client.connect(ring.member(0).pop3, patience.deadlineMs);
      await reader.expect(`USER ${user}`);
      expect((await reader.command(`PASS ${secret}`)).line, user).toMatch(/^-ERR \[AUTH\]/);
      reader.destroy();
    }
    const client = await connect(ring.member(1), "smtp");
    await client.expect(250, "MAIL FROM:<>");
    expect((await client.command(`RCPT TO:<${alice}/outbox@${domain}>`)).code).toBe(550);
    expect((await client.command(`RCPT TO:<${at(alice)}/outbox>`)).code).toBeGreaterThanOrEqual(
      500,
    );
    client.destroy();
    expect(await bodiesOf(`${alice}/outbox`)).toEqual([]);
  });
});
