/** Handing in mail: RFC 6409. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { WayOut, WayOutAnswer } from "../mailbox/ports.js";
import type { SmtpServerOptions } from "./server.js";
import { RawClient, start, type Running } from "./testing.js";
import { alice, FakeAuthenticator, FakeSenders, FakeTls } from "./testing-auth.js";

let running: Running;
let senders: FakeSenders;
const open: RawClient[] = [];

async function setUp(options: Partial<SmtpServerOptions> = {}): Promise<RawClient> {
  senders = new FakeSenders();
  const submission = {
    authenticator: new FakeAuthenticator(),
    senders,
    plainAuth: "loopback",
  } as const;
  running = await start({ submission, ...options });
  return connect();
}

async function connect(): Promise<RawClient> {
  const client = await RawClient.greeted(running.port);
  open.push(client);
  await client.ask("EHLO client.test");
  return client;
}

async function login(client: RawClient): Promise<void> {
  const response = Buffer.from(`\0${alice.user}\0${alice.pass}`).toString("base64");
  expect(await client.ask(`AUTH PLAIN ${response}`)).toMatch(/^235 /);
}

/** Sends one mail of alice's; the text has CRLF line ends and needs no dots doubled. */
async function send(client: RawClient, text: string, to = ["bob@ring.test"]): Promise<string> {
  await client.ask(`MAIL FROM:<${alice.user}>`);
  for (const each of to) await client.ask(`RCPT TO:<${each}>`);
  await client.ask("DATA");
  return client.ask(`${text}.`);
}

const kept = (mailbox: string) => running.receiver.kept.filter((each) => each.mailbox === mailbox);

afterEach(async () => {
  for (const each of open.splice(0)) each.socket.destroy();
  await running.server.close();
});

test("S38: nobody hands in mail without AUTH", async () => {
  const client = await setUp();
  expect(await client.ask("MAIL FROM:<alice@ring.test>")).toBe("530 5.7.0 authentication required");
  expect(await client.ask("RCPT TO:<bob@ring.test>")).toMatch(/^503 /);
  expect(await client.ask("DATA")).toMatch(/^503 /);
  expect(running.receiver.resolved).toBe(0);
});

describe("as whom", () => {
  let client: RawClient;

  beforeEach(async () => {
    client = await setUp();
    await login(client);
  });

  test.each([
    ["<alice@ring.test>", "250 2.1.0"],
    ["<alice+tag@ring.test>", "250 2.1.0"],
    ["<bob@ring.test>", "553 5.7.1"], // S37
    ["<alice@else.test>", "553 5.7.1"],
    ["<undecided@ring.test>", "451 4.3.0"],
    ["<>", "250 2.1.0"],
    ["<alice@ring.test> AUTH=<>", "250 2.1.0"],
    ["<alice@ring.test> AUTH=e+3Dmc2@example.com", "250 2.1.0"],
    ["<alice@ring.test> AUTH", "501 5.5.4"],
    ["<alice@ring.test> AUTH=+3", "501 5.5.4"],
    ["<alice@ring.test> AUTH=<> AUTH=<>", "501 5.5.4"],
    ["<bob@ring.test> AUTH=<>", "553 5.7.1"],
    ["<alice>", "501 5.1.7"],
  ])("S37: MAIL FROM:%s is answered %s", async (sender, reply) => {
    expect((await client.ask(`MAIL FROM:${sender}`)).slice(0, reply.length)).toBe(reply);
    const began = reply.startsWith("250");
    expect(await client.ask("RCPT TO:<bob@ring.test>")).toMatch(began ? /^250 / : /^503 /);
  });

  test("S38: with AUTH, too, mail goes to our own domains only, where there is no way out", async () => {
    await client.ask("MAIL FROM:<alice@ring.test>");
    expect(await client.ask("RCPT TO:<bob@else.test>")).toMatch(/^550 5\.7\.1 .*--relay/);
  });

  test("an answer that comes after its deadline begins no mail", async () => {
    await running.server.close();
    const slow = await setUp({ limits: { receiverMs: 100, sweepIntervalMs: 5 } });
    await login(slow);
    let release: () => void = () => undefined;
    senders.gate = new Promise((resolve) => {
      release = resolve;
    });
    expect(await slow.ask("MAIL FROM:<alice@ring.test>")).toMatch(/^451 4\.3\.0 /);
    release();
    await senders.gate;
    expect(await slow.ask("RCPT TO:<bob@ring.test>")).toMatch(/^503 /);
  });

  test("who can't be checked is told to come again", async () => {
    senders.maySend = () => Promise.reject(new Error("boom"));
    expect(await client.ask("MAIL FROM:<alice@ring.test>")).toMatch(/^451 4\.3\.0 /);
  });
});

describe("to other domains, where there is a way out", () => {
  const text = "Date: x\r\nMessage-ID: <a@b>\r\n\r\nz\r\n";
  let asked: [string, number][];
  let added: number;
  let answer: WayOutAnswer;
  let client: RawClient;

  beforeEach(async () => {
    [asked, added, answer] = [[], 0, "open"];
    const wayOut: WayOut = {
      ask: async (user, octets) => {
        asked.push([user, octets]);
        return answer;
      },
      added: () => (added += 1),
    };
    const users = { authenticator: new FakeAuthenticator(), senders: new FakeSenders() };
    running = await start({ submission: { ...users, plainAuth: "loopback", wayOut } });
    client = await connect();
    await login(client);
  });

  test("one copy each, beside those of our own, without a Return-Path", async () => {
    const to = ["bob@else.test", "bob@ring.test", "eve@else.test", "bob@else.test"];
    expect(await send(client, text, to)).toMatch(/^250 2\.0\.0 /);
    expect(running.receiver.deliveries).toMatchObject([
      {
        mailboxes: ["bob@ring.test", "alice@ring.test/outbox"],
        elsewhere: ["bob@else.test", "eve@else.test"],
      },
    ]);
    const [copy] = kept("to bob@else.test");
    expect(copy?.trace).toMatch(/^Received: from client\.test .*\r\n/);
    expect(copy?.trace).toContain("for <bob@else.test>");
    expect(copy?.trace).not.toContain("eve");
    expect(kept("bob@ring.test")[0]?.trace).toMatch(/^Return-Path: <alice@ring\.test>\r\n/);
    expect(added).toBe(1);
  });

  test("counted for each recipient, with the size that was said", async () => {
    await client.ask("MAIL FROM:<alice@ring.test> SIZE=77");
    for (const to of ["a@else.test", "b@else.test", "bob@ring.test", "b@else.test"]) {
      expect(await client.ask(`RCPT TO:<${to}>`)).toMatch(/^250 /);
    }
    expect(asked).toEqual([
      ["alice@ring.test", 77],
      ["alice@ring.test", 77],
    ]);
  });

  test.each([
    ["throttled", "450 4.7.1"],
    ["full", "452 4.3.1"],
    ["undecided", "451 4.3.0"],
  ] as const)("%s: %s, and nobody is added", async (what, reply) => {
    answer = what;
    await client.ask("MAIL FROM:<alice@ring.test>");
    expect((await client.ask("RCPT TO:<a@else.test>")).slice(0, 9)).toBe(reply);
    expect(await client.ask("DATA")).toMatch(/^503 /);
  });

  test.each(["[127.0.0.1]", "[IPv6:::1]"])("never to an address literal: %s", async (literal) => {
    await client.ask("MAIL FROM:<alice@ring.test>");
    expect(await client.ask(`RCPT TO:<a@${literal}>`)).toMatch(/^550 5\.7\.1 /);
    expect(asked).toEqual([]);
  });

  test("what could not be stored is not sent", async () => {
    running.receiver.refuse = () => ({ kind: "tempfail", why: "too few" });
    expect(await send(client, text, ["bob@else.test"])).toMatch(/^451 4\.3\.0 /);
    expect(added).toBe(0);
  });

  test("a loop: RFC 5321 §6.3; what stays here can't come back", async () => {
    const received = (count: number) => `Received: from a by b; x\r\n`.repeat(count);
    expect(await send(client, `${received(101)}${text}`, ["bob@else.test"])).toMatch(
      /^554 5\.4\.6 /,
    );
    expect(await send(client, `${received(100)}${text}`, ["bob@else.test"])).toMatch(/^250 /);
    expect(await send(client, `${received(101)}${text}`, ["bob@ring.test"])).toMatch(/^250 /);
    expect(running.receiver.deliveries).toHaveLength(2);
  });

  test("never for who has not authenticated, and never at the port for everybody", async () => {
    const stranger = await connect();
    expect(await stranger.ask("MAIL FROM:<alice@ring.test>")).toMatch(/^530 /);
    expect(await stranger.ask("RCPT TO:<bob@else.test>")).toMatch(/^503 /);
    await running.server.close();
    running = await start();
    const other = await connect();
    await other.ask("MAIL FROM:<alice@ring.test>");
    expect(await other.ask("RCPT TO:<bob@else.test>")).toBe("550 5.7.1 relaying denied");
    expect(asked).toEqual([]);
  });
});

describe("a copy in the sender's outbox", () => {
  let client: RawClient;

  beforeEach(async () => {
    client = await setUp();
    await login(client);
  });

  test("is stored in the same delivery, octet by octet", async () => {
    const text = "Date: x\r\nMessage-ID: <a@b>\r\nSubject: y\r\n\r\nz\r\n";
    expect(await send(client, text)).toMatch(/^250 2\.0\.0 /);
    expect(running.receiver.deliveries.map(({ mailboxes }) => mailboxes)).toEqual([
      ["bob@ring.test", "alice@ring.test/outbox"],
    ]);
    expect(kept("alice@ring.test/outbox")[0]?.body.toString()).toBe(text);
    const trace = kept("alice@ring.test/outbox")[0]?.trace ?? "";
    expect(trace).toMatch(/^Return-Path: <alice@ring\.test>\r\nReceived: from client\.test /);
    expect(trace).toContain("with ESMTPA");
    expect(trace).not.toContain("for <");
  });

  test("beside the sender's own copy, when she writes to herself", async () => {
    await send(client, "Subject: y\r\n\r\nz\r\n", ["alice@ring.test"]);
    expect(running.receiver.kept.map(({ mailbox }) => mailbox)).toEqual([
      "alice@ring.test",
      "alice@ring.test/outbox",
    ]);
  });

  test("is there for the null sender, too", async () => {
    await client.ask("MAIL FROM:<>");
    await client.ask("RCPT TO:<bob@ring.test>");
    await client.ask("DATA");
    expect(await client.ask("Subject: read\r\n\r\n.")).toMatch(/^250 /);
    expect(kept("alice@ring.test/outbox")).toHaveLength(1);
  });

  test("the 250 says how far the worst of all copies got", async () => {
    running.receiver.refuse = () => ({ kind: "tempfail", why: "the outbox is not safe" });
    expect(await send(client, "Subject: y\r\n\r\nz\r\n")).toMatch(/^451 4\.3\.0 /);
    expect(running.receiver.kept).toEqual([]);
  });

  test("no copy tells of the other recipients", async () => {
    const to = ["bob@ring.test", "secret@ring.test", "carol@ring.test", "carol+hidden@ring.test"];
    await send(client, "To: bob@ring.test\r\nSubject: y\r\n\r\nz\r\n", to);
    expect(running.receiver.kept).toHaveLength(4);
    for (const { mailbox, trace } of running.receiver.kept) {
      for (const address of to) {
        if (address !== mailbox) expect(trace).not.toContain(address);
      }
    }
  });

  test("mail from anybody for a mailbox makes no copy", async () => {
    await running.server.close();
    running = await start();
    const other = await connect();
    expect(await send(other, "Subject: y\r\n\r\nz\r\n")).toMatch(/^250 /);
    expect(running.receiver.kept.map(({ mailbox }) => mailbox)).toEqual(["bob@ring.test"]);
  });
});

describe("Date and Message-ID, where they are missing (RFC 6409 §8)", () => {
  const date = /^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r$/m;
  const messageId = /^Message-ID: <[0-9a-f-]{36}@mx\.ring\.test>\r$/m;

  test.each([
    ["both", "Subject: x\r\n\r\ny\r\n", true, true],
    ["Date", "Message-ID: <a@b>\r\n\r\ny\r\n", true, false],
    ["Message-ID", "date: x\r\n\r\ny\r\n", false, true],
    ["none", "Date: x\r\nMessage-ID: <a@b>\r\n\r\nDate: y\r\n", false, false],
    [
      "both: what the body says does not count",
      "X: y\r\n\r\nDate: x\r\nMessage-ID: <a@b>\r\n",
      true,
      true,
    ],
  ])("%s", async (_what, text, hasDate, hasId) => {
    const client = await setUp();
    await login(client);
    expect(await send(client, text)).toMatch(/^250 /);
    for (const mailbox of ["bob@ring.test", "alice@ring.test/outbox"]) {
      const [copy] = kept(mailbox);
      expect(date.test(copy?.trace ?? "")).toBe(hasDate);
      expect(messageId.test(copy?.trace ?? "")).toBe(hasId);
      // What was sent stays as it was, to the octet.
      expect(copy?.body.toString()).toBe(text);
    }
    const ids = running.receiver.kept.map(({ trace }) => messageId.exec(trace)?.[0]);
    expect(new Set(ids).size).toBe(1);
  });

  test("a large mail is spooled as it came, with its header looked at", async () => {
    const client = await setUp({ limits: { inlineBodyOctetsMax: 1_000 } });
    await login(client);
    const long = `X-Long: ${"x".repeat(5_000)}\r\n`;
    const text = `Subject: x\r\n${long}Date: x\r\n\r\n${`${"y".repeat(98)}\r\n`.repeat(1_000)}`;
    expect(await send(client, text)).toMatch(/^250 /);
    const [copy] = kept("bob@ring.test");
    expect(copy?.body.toString()).toBe(text);
    expect(date.test(copy?.trace ?? "")).toBe(false);
    expect(messageId.test(copy?.trace ?? "")).toBe(true);
    expect(await running.receiver.spooled()).toHaveLength(1);
  });

  test("S33: a retry is the same mail, whatever was added to each try", async () => {
    const client = await setUp();
    await login(client);
    await send(client, "Subject: x\r\n\r\ny\r\n");
    await send(client, "Subject: x\r\n\r\ny\r\n");
    const [first, second] = running.receiver.deliveries;
    expect(first?.body.digest).toBe(second?.body.digest);
    expect(first?.mailboxes).toEqual(second?.mailboxes);
    const ids = kept("bob@ring.test").map(({ trace }) => messageId.exec(trace)?.[0]);
    expect(new Set(ids).size).toBe(2);
  });

  test("mail that only passes is left as it is", async () => {
    running = await start();
    const client = await connect();
    await send(client, "Subject: x\r\n\r\ny\r\n");
    expect(running.receiver.kept[0]?.trace).not.toMatch(/^(Date|Message-ID):/m);
  });
});

test("within TLS: ESMTPSA", async () => {
  const client = await setUp({ tls: new FakeTls() });
  await client.ask("STARTTLS");
  const secure = await client.secure();
  open.push(secure);
  await secure.ask("EHLO client.test");
  await login(secure);
  await send(secure, "Subject: x\r\n\r\ny\r\n");
  expect(kept("bob@ring.test")[0]?.trace).toContain("with ESMTPSA (TLSv1.3)");
});
