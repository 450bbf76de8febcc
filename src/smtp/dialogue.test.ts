import net from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RawClient, start, type Running } from "./testing.js";

let running: Running;
let client: RawClient;
const open: RawClient[] = [];

beforeEach(async () => {
  running = await start({ limits: { recipientsMax: 100, messageOctetsMax: 1_000_000 } });
  client = await connect();
});

afterEach(async () => {
  for (const each of open.splice(0)) each.socket.destroy();
  await running.server.close();
});

async function connect(): Promise<RawClient> {
  const each = await RawClient.greeted(running.port);
  open.push(each);
  return each;
}

describe("greeting and EHLO", () => {
  test("offers what it can do, and nothing else", async () => {
    expect(await client.ask("EHLO client.test")).toBe(
      [
        "250-mx.ring.test",
        "250-PIPELINING",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-ENHANCEDSTATUSCODES",
        "250 SIZE 1000000",
      ].join("\r\n"),
    );
    expect(await client.ask("HELO client.test")).toBe("250 mx.ring.test");
  });

  test("a client that talks before the greeting gets no service", async () => {
    const socket = net.connect({ host: "127.0.0.1", port: running.port });
    const early = new RawClient(socket);
    open.push(early);
    early.write("EHLO too.soon\r\nMAIL FROM:<>\r\n");
    expect(await early.reply()).toBe("554 5.5.1 you talked before the greeting");
    expect(await early.reply()).toBe("");
  });

  test("half a line before the greeting is talking, too", async () => {
    const early = new RawClient(net.connect({ host: "127.0.0.1", port: running.port }));
    open.push(early);
    early.write("EH");
    expect(await early.reply()).toMatch(/^554 5\.5\.1 /);
  });
});

describe("replies", () => {
  test.each([
    ["NOOP", "250 2.0.0"],
    ["noop anything", "250 2.0.0"],
    ["RSET", "250 2.0.0"],
    ["VRFY alice", "252 2.5.0"],
    ["VRFY", "501 5.5.4"],
    ["HELP", "214 2.0.0"],
    ["QUIT", "221 2.0.0"],
    ["FROBNICATE", "500 5.5.2"],
    ["", "500 5.5.2"],
    ["\0NOOP", "500 5.5.2"], // S2
    ["LHLO x", "502 5.5.1"],
    ["WIZ x", "500 5.5.2"],
    ["AUTH PLAIN AGEAYg==", "502 5.5.1"],
    ["STARTTLS", "502 5.5.1"],
    ["EXPN staff", "502 5.5.1"],
    ["BDAT 3 LAST", "502 5.5.1"],
    ["XCLIENT ADDR=1.2.3.4", "550 5.7.1"], // S28
    ["XFORWARD ADDR=1.2.3.4", "550 5.7.1"],
    ["PROXY TCP4 1.2.3.4 5.6.7.8 1 2", "550 5.7.1"],
    ["DATA", "503 5.5.1"],
    ["RCPT TO:<alice@ring.test>", "503 5.5.1"],
    ["MAIL FROM:<bob@else.test>", "250 2.1.0"],
    ["MAIL FROM:<>", "250 2.1.0"],
    ["mail from: <bob@else.test>  size=10  body=8bitmime", "250 2.1.0"],
    ['MAIL FROM:<"b o > b"@else.test>', "250 2.1.0"],
    ["MAIL FROM:<@a.test,@b.test:bob@else.test>", "250 2.1.0"],
    ["MAIL FROM:<bob@[192.0.2.1]>", "250 2.1.0"],
    ["MAIL FROM:bob@else.test", "501 5.1.7"],
    ["MAIL FROM:<bob>", "501 5.1.7"],
    ["MAIL FROM:<bob@else.test", "501 5.1.7"],
    ["MAIL TO:<bob@else.test>", "501 5.1.7"],
    ["MAIL FROM:<bob@else..test>", "501 5.1.7"],
    [`MAIL FROM:<${"b".repeat(65)}@else.test>`, "501 5.1.7"],
    ["MAIL FROM:<bob@else.test> SIZE=1000000", "250 2.1.0"],
    ["MAIL FROM:<bob@else.test> SIZE=1000001", "552 5.3.4"], // S23
    ["MAIL FROM:<bob@else.test> SIZE=99999999999999999999", "552 5.3.4"],
    ["MAIL FROM:<bob@else.test> SIZE=x", "501 5.5.4"],
    ["MAIL FROM:<bob@else.test> SIZE", "501 5.5.4"],
    ["MAIL FROM:<bob@else.test> SIZE=1 SIZE=2", "501 5.5.4"],
    ["MAIL FROM:<bob@else.test> BODY=BINARYMIME", "501 5.5.4"],
    ["MAIL FROM:<bob@else.test> SMTPUTF8=1", "501 5.5.4"],
    ["MAIL FROM:<bob@else.test> FOO=BAR", "555 5.5.4"], // S15
    ["MAIL FROM:<bob@else.test> RET=FULL", "555 5.5.4"],
    ["MAIL FROM:<bob@else.test> __PROTO__=1", "501 5.5.4"],
    ["MAIL FROM:<bob@else.test> AUTH=<>", "555 5.5.4"],
    ["MAIL FROM:<böb@else.test>", "553 5.6.7"], // S16
    ["MAIL FROM:<böb@else.test> SMTPUTF8", "250 2.1.0"],
    ["MAIL FROM:<bob@élse.test>", "553 5.6.7"],
  ])("%j is answered %s", async (command, reply) => {
    await client.ask("EHLO client.test");
    expect((await client.ask(command)).slice(0, reply.length)).toBe(reply);
  });

  test("octets that are no UTF-8 are no address", async () => {
    await client.ask("EHLO client.test");
    const line = Buffer.from("MAIL FROM:<b\xffb@else.test> SMTPUTF8\r\n", "latin1");
    expect(await client.ask(line)).toMatch(/^501 5\.1\.7 /);
  });

  test("MAIL needs EHLO or HELO, and comes once", async () => {
    expect(await client.ask("MAIL FROM:<bob@else.test>")).toMatch(/^503 5\.5\.1 /);
    await client.ask("HELO client.test");
    expect(await client.ask("MAIL FROM:<bob@else.test>")).toMatch(/^250 2\.1\.0 /);
    expect(await client.ask("MAIL FROM:<bob@else.test>")).toMatch(/^503 5\.5\.1 /);
    await client.ask("RSET");
    expect(await client.ask("MAIL FROM:<bob@else.test>")).toMatch(/^250 2\.1\.0 /);
    await client.ask("EHLO client.test");
    expect(await client.ask("RCPT TO:<alice@ring.test>")).toMatch(/^503 5\.5\.1 /);
  });

  test("S1: a command of 20 kB is one error, and the session lives", async () => {
    expect(await client.ask(`NOOP ${"x".repeat(20_000)}`)).toBe("500 5.5.2 line too long");
    client.write("x".repeat(5_000));
    client.write("x".repeat(5_000));
    expect(await client.ask("")).toBe("500 5.5.2 line too long");
    expect(await client.ask("NOOP")).toBe("250 2.0.0 ok");
  });

  test("what never becomes a command is cut off", async () => {
    const answers: string[] = [];
    for (let i = 0; i < 10; i++) answers.push(await client.ask("NONSENSE"));
    expect(answers.at(-1)).toMatch(/^421 4\.7\.0 /);
    expect(await client.reply()).toBe("");
  });

  test("a page that posts to the port is cut off", async () => {
    expect(await client.ask("POST / HTTP/1.1")).toMatch(/^421 4\.7\.0 /);
  });
});

describe("recipients", () => {
  beforeEach(async () => {
    await client.ask("EHLO client.test");
    await client.ask("MAIL FROM:<bob@else.test>");
  });

  test.each([
    ["alice@ring.test", "250 2.1.5"],
    ["postmaster", "250 2.1.5"],
    ["@relay.test:alice@ring.test", "250 2.1.5"],
    ["nobody@ring.test", "550 5.1.1"], // S13
    ["alice@elsewhere.test", "550 5.7.1"], // S38
    ["undecided@ring.test", "451 4.3.0"], // S14
    ["", "501 5.1.3"],
    ["alice", "501 5.1.3"],
    ["alice@ring..test", "501 5.1.3"],
    ["../../x@ring.test", "501 5.1.3"], // S19
    [`${"a".repeat(65)}@ring.test`, "501 5.1.3"], // S18
    ["ålice@ring.test", "553 5.6.7"], // S16
  ])("<%s> is answered %s", async (address, reply) => {
    expect((await client.ask(`RCPT TO:<${address}>`)).slice(0, reply.length)).toBe(reply);
  });

  test("DSN was not offered: its parameters are unknown", async () => {
    expect(await client.ask("RCPT TO:<alice@ring.test> NOTIFY=NEVER")).toMatch(/^555 5\.5\.4 /);
  });

  test("S11: 100,000 recipients: a hundred, then 452", async () => {
    const commands = Array.from({ length: 100_000 }, (_, i) => `RCPT TO:<u${i}@ring.test>\r\n`);
    client.write(commands.join(""));
    const replies = await client.replies(100_000);
    expect(replies.slice(0, 100).every((reply) => reply.startsWith("250 2.1.5"))).toBe(true);
    expect(new Set(replies.slice(100))).toEqual(new Set(["452 4.5.3 too many recipients"]));
    expect(running.receiver.resolved).toBe(100);
  });

  test("S12, S20, S22: spellings of one mailbox are one copy", async () => {
    for (const address of ["alice", "alice", "ALICE", "alice+tag", "bob"]) {
      expect(await client.ask(`RCPT TO:<${address}@ring.test>`)).toMatch(/^250 2\.1\.5 /);
    }
    expect(await client.ask("DATA")).toBe("354 end data with <CR><LF>.<CR><LF>");
    expect(await client.ask("hi\r\n.")).toMatch(/^250 2\.0\.0 /);
    expect(running.receiver.kept.map(({ mailbox }) => mailbox)).toEqual([
      "alice@ring.test",
      "bob@ring.test",
    ]);
  });

  test("a receiver that fails is no reason to say `unknown`", async () => {
    running.receiver.resolve = () => Promise.reject(new Error("boom"));
    expect(await client.ask("RCPT TO:<alice@ring.test>")).toMatch(/^451 4\.3\.0 /);
  });
});

describe("after the dot", () => {
  test("250 2.0.0 <id> stored=2/3", async () => {
    await client.toData();
    const reply = await client.ask("Subject: x\r\n\r\nhello\r\n.");
    expect(reply).toMatch(/^250 2\.0\.0 [0-9a-f]{32} stored=2\/3$/);
    const [kept] = running.receiver.kept;
    expect(kept?.body.toString()).toBe("Subject: x\r\n\r\nhello\r\n");
    expect(kept?.sender).toBe("bob@else.test");
  });

  test.each([
    [{ kind: "tempfail", why: "1 of 2\r\n250 ok" } as const, "451 4.3.0 1 of 2  250 ok"],
    [{ kind: "full" } as const, "452 4.3.1 no space left, try again later"],
  ])("%j is answered %s", async (answer, reply) => {
    running.receiver.refuse = () => answer;
    await client.toData();
    expect(await client.ask("hello\r\n.")).toBe(reply);
    expect(running.receiver.outcomes).toEqual([]);
    expect(await client.ask("MAIL FROM:<bob@else.test>")).toMatch(/^250 2\.1\.0 /);
  });

  test("a receiver that throws is a temporary failure", async () => {
    running.receiver.refuse = () => {
      throw new Error("boom");
    };
    await client.toData();
    expect(await client.ask("hello\r\n.")).toMatch(/^451 4\.3\.0 /);
    expect(await client.ask("NOOP")).toMatch(/^250 /);
  });

  test("the transaction is over: the next begins with MAIL", async () => {
    await client.toData();
    await client.ask("hello\r\n.");
    expect(await client.ask("RCPT TO:<alice@ring.test>")).toMatch(/^503 5\.5\.1 /);
  });

  test("each copy's trace names its own recipient only (RFC 5321 §7.6)", async () => {
    await client.toData(["alice+x@ring.test", "bob@ring.test"]);
    await client.ask("hi\r\n.");
    const [alice, bob] = running.receiver.kept;
    expect(alice?.trace).toMatch(
      /^Return-Path: <bob@else\.test>\r\nReceived: from client\.test \(\[127\.0\.0\.1\]\) by mx\.ring\.test with ESMTP\r\n\tid [0-9a-f]{32} for <alice\+x@ring\.test>;\r\n\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n$/,
    );
    expect(bob?.trace).toContain("for <bob@ring.test>;");
    expect(bob?.trace).not.toContain("alice");
  });

  test.each([
    ["HELO", "", "with SMTP\r\n"],
    ["EHLO", " SMTPUTF8", "with UTF8SMTP\r\n"],
  ])("%s%s is traced as %j", async (hello, parameter, protocol) => {
    await client.ask(`${hello} client.test`);
    await client.ask(`MAIL FROM:<bob@else.test>${parameter}`);
    await client.ask("RCPT TO:<alice@ring.test>");
    await client.ask("DATA");
    await client.ask("hi\r\n.");
    expect(running.receiver.kept[0]?.trace).toContain(protocol);
  });
});

test("P1: a whole session in one segment is answered in order", async () => {
  const mail = [
    "MAIL FROM:<bob@else.test>",
    "RCPT TO:<nobody@ring.test>",
    "RCPT TO:<alice@ring.test>",
    "DATA",
    "first",
    "..",
    ".",
  ];
  client.write(["EHLO client.test", ...mail, ...mail, "NOOP", "QUIT", ""].join("\r\n"));
  const codes = (await client.replies(13)).map((reply) => reply.slice(0, 3));
  expect(codes.join(" ")).toBe("250 250 550 250 354 250 250 550 250 354 250 250 221");
  expect(running.receiver.kept.map(({ body }) => body.toString())).toEqual([
    "first\r\n.\r\n",
    "first\r\n.\r\n",
  ]);
});

test("P1: commands split at every octet", async () => {
  const session =
    "EHLO c.test\r\nMAIL FROM:<b@else.test>\r\nRCPT TO:<alice@ring.test>\r\nDATA\r\na\r\n.\r\nQUIT\r\n";
  for (const octet of session) {
    client.write(octet);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const codes = (await client.replies(6)).map((reply) => reply.slice(0, 3));
  expect(codes.join(" ")).toBe("250 250 250 354 250 221");
});

test("S10: `__proto__:` is a header like any", async () => {
  await client.toData();
  expect(await client.ask("__proto__: x\r\n\r\n.")).toMatch(/^250 /);
  expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
});
