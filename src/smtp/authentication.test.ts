/** AUTH on the submission listeners: RFC 4954, as seen by a client of raw octets. */
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { SmtpServerOptions, Submission } from "./server.js";
import { RawClient, start, type Running } from "./testing.js";
import { alice, FakeAuthenticator, FakeSenders, FakeTls, scramProof } from "./testing-auth.js";

let tls: FakeTls;
let running: Running;
let authenticator: FakeAuthenticator;
const open: RawClient[] = [];

beforeAll(() => {
  tls = new FakeTls();
});

async function setUp(
  submission: Partial<Submission> = {},
  options: Partial<SmtpServerOptions> = {},
): Promise<number> {
  authenticator = new FakeAuthenticator();
  const senders = new FakeSenders();
  running = await start({
    ...{ tls, ...options },
    submission: { authenticator, senders, plainAuth: "loopback", ...submission },
  });
  return running.port;
}

async function keep(client: Promise<RawClient>): Promise<RawClient> {
  const each = await client;
  open.push(each);
  return each;
}

async function hello(port: number): Promise<RawClient> {
  const client = await keep(RawClient.greeted(port));
  await client.ask("EHLO client.test");
  return client;
}

afterEach(async () => {
  for (const each of open.splice(0)) each.socket.destroy();
  await running.server.close();
});

const b64 = (text: string) => Buffer.from(text).toString("base64");
const plain = (pass = alice.pass) => b64(`\0${alice.user}\0${pass}`);
const granted = "235 2.7.0 authenticated";

describe("what is offered where", () => {
  const all = "AUTH SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN";
  test.each([
    ["loopback", "clear", all],
    ["always", "clear", all],
    ["never", "clear", "AUTH SCRAM-SHA-256"],
    ["never", "TLS", all],
  ] as const)("plain-auth %s, %s", async (plainAuth, how, offer) => {
    const port = await setUp({ plainAuth });
    const client = await keep(how === "TLS" ? RawClient.startedTls(port) : RawClient.greeted(port));
    expect(await client.ask("EHLO client.test")).toContain(`250-${offer}\r\n`);
  });

  test.each(["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "plain"])(
    "S27: AUTH %s in clear, where it is not offered: 538, and the password is not looked at",
    async (mechanism) => {
      const client = await hello(await setUp({ plainAuth: "never" }));
      expect(await client.ask(`AUTH ${mechanism}`)).toMatch(/^538 5\.7\.11 /);
      expect(await client.ask(`AUTH ${mechanism} ${plain()}`)).toMatch(/^538 5\.7\.11 /);
      expect(authenticator.tries).toEqual([]);
      expect(await client.ask("MAIL FROM:<alice@ring.test>")).toMatch(/^530 5\.7\.0 /);
    },
  );

  test("nothing, once the client has said who it is", async () => {
    const client = await hello(await setUp());
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toBe(granted);
    expect(await client.ask("EHLO client.test")).not.toContain("AUTH");
  });

  test("on the listener for everybody's mail there is no AUTH", async () => {
    running = await start({ tls });
    const client = await keep(RawClient.startedTls(running.port));
    expect(await client.ask("EHLO client.test")).not.toContain("AUTH");
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toMatch(/^502 5\.5\.1 /);
  });
});

describe("the mechanisms", () => {
  let client: RawClient;

  beforeEach(async () => {
    client = await hello(await setUp());
  });

  test("PLAIN, with an initial response and without", async () => {
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toBe(granted);
    const other = await hello(running.port);
    expect(await other.ask("auth plain")).toBe("334");
    expect(await other.ask(plain())).toBe(granted);
    expect(authenticator.tries[0]?.from).toEqual({ address: "127.0.0.1", protocol: "smtp" });
  });

  test("a challenge without data has its space (RFC 4954 §4)", async () => {
    let text = "";
    client.socket.on("data", (more: string) => {
      text += more;
    });
    await client.ask("AUTH PLAIN");
    expect(text).toBe("334 \r\n");
  });

  test("LOGIN, with an initial response and without", async () => {
    expect(await client.ask("AUTH LOGIN")).toBe(`334 ${b64("Username:")}`);
    expect(await client.ask(b64(alice.user))).toBe(`334 ${b64("Password:")}`);
    expect(await client.ask(b64(alice.pass))).toBe(granted);
    const other = await hello(running.port);
    expect(await other.ask(`AUTH LOGIN ${b64(alice.user)}`)).toBe(`334 ${b64("Password:")}`);
    expect(await other.ask(b64(alice.pass))).toBe(granted);
  });

  test.each([
    ["XOAUTH2", `user=${alice.user}\x01auth=Bearer ${alice.token}\x01\x01`],
    ["OAUTHBEARER", `n,a=${alice.user},\x01auth=Bearer ${alice.token}\x01\x01`],
  ])("%s", async (mechanism, response) => {
    expect(await client.ask(`AUTH ${mechanism} ${b64(response)}`)).toBe(granted);
    const other = await hello(running.port);
    const wrong = b64(response.replace(alice.token, "wrong"));
    const error = await other.ask(`AUTH ${mechanism} ${wrong}`);
    expect(Buffer.from(error.slice(4), "base64").toString()).toBe('{"status":"invalid_token"}');
    expect(await other.ask("AQ==")).toMatch(/^535 5\.7\.8 /);
  });

  test.each([
    ["right", alice.pass, granted],
    ["wrong", "guess", "535 5.7.8 authentication failed"],
  ])("SCRAM-SHA-256, a password that is %s", async (_what, pass, answer) => {
    const first = `n=${alice.user},r=fyko+d2lbbFgONRv9qkxdawL`;
    const reply = await client.ask(`AUTH SCRAM-SHA-256 ${b64(`n,,${first}`)}`);
    const serverFirst = Buffer.from(reply.slice(4), "base64").toString();
    const [, nonce = "", salt = ""] = /^r=([^,]+),s=([^,]+),i=4096$/.exec(serverFirst) ?? [];
    const bare = `c=biws,r=${nonce}`;
    const { expected, signature } = scramProof(
      pass,
      Buffer.from(salt, "base64"),
      `${first},${serverFirst},${bare}`,
    );
    const last = await client.ask(b64(`${bare},p=${expected}`));
    if (answer !== granted) return expect(last).toBe(answer);
    expect(last).toBe(`334 ${b64(`v=${signature}`)}`);
    // RFC 4954 §4: the client answers the last challenge with an empty line.
    expect(await client.ask("")).toBe(granted);
  });
});

describe("what an exchange may look like", () => {
  let client: RawClient;

  beforeEach(async () => {
    client = await hello(await setUp());
  });

  test.each([
    ["AUTH", "501 5.5.4"],
    ["AUTH PLAIN AAAA BBBB", "501 5.5.4"],
    ["AUTH CRAM-MD5", "504 5.5.4"],
    ["AUTH __PROTO__", "504 5.5.4"],
    ["AUTH PLAIN nonsense!", "501 5.5.2"],
    ["AUTH PLAIN AAA", "501 5.5.2"],
    ["AUTH PLAIN A===", "501 5.5.2"],
    ["AUTH PLAIN \xff\xff\xff\xff", "501 5.5.2"],
    [`AUTH PLAIN ${b64("no zero octets")}`, "501 5.5.2"],
    ["AUTH PLAIN =", "501 5.5.2"], // An empty response; not what PLAIN has.
    [`AUTH PLAIN ${plain("wrong")}`, "535 5.7.8"],
    [`AUTH PLAIN ${b64(`bob@ring.test\0${alice.user}\0${alice.pass}`)}`, "535 5.7.8"],
    [`AUTH PLAIN ${"A".repeat(12_292)}`, "500 5.5.6"],
  ])("%.60j is answered %s, and the client may try again", async (command, reply) => {
    expect((await client.ask(command)).slice(0, reply.length)).toBe(reply);
    expect(await client.ask("MAIL FROM:<alice@ring.test>")).toMatch(/^530 5\.7\.0 /);
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toBe(granted);
  });

  test.each([
    ["*", "501 5.7.0"],
    ["not base64", "501 5.5.2"],
    ["=", "501 5.5.2"],
    ["QUIT", "501 5.5.2"], // Base64, as it happens.
    ["A".repeat(12_292), "500 5.5.6"],
    ["A".repeat(20_000), "500 5.5.6"],
  ])("%.60j within an exchange is answered %s, and ends it", async (line, reply) => {
    await client.ask("AUTH PLAIN");
    expect((await client.ask(line)).slice(0, reply.length)).toBe(reply);
    expect(await client.ask("NOOP")).toMatch(/^250 /);
    expect(await client.ask("AUTH PLAIN")).toBe("334");
    expect(await client.ask(plain())).toBe(granted);
  });

  test("a line of 12,288 octets of base64 is taken", async () => {
    const long = b64(`\0${alice.user}\0${"x".repeat(9_216 - alice.user.length - 2)}`);
    expect(long).toHaveLength(12_288);
    expect(await client.ask(`AUTH PLAIN ${long}`)).toMatch(/^535 5\.7\.8 /);
    await client.ask("AUTH PLAIN");
    expect(await client.ask(long)).toMatch(/^535 5\.7\.8 /);
  });

  test("that room is for AUTH alone", async () => {
    expect(await client.ask(`NOOP ${"x".repeat(4_090)}`)).toBe("500 5.5.2 line too long");
    expect(await client.ask(`NOOP ${"x".repeat(4_089)}`)).toMatch(/^250 /);
  });

  test("needs a hello first", async () => {
    const other = await keep(RawClient.greeted(running.port));
    expect(await other.ask(`AUTH PLAIN ${plain()}`)).toMatch(/^503 5\.5\.1 /);
  });

  test("comes once, and not within a transaction", async () => {
    await client.ask(`AUTH PLAIN ${plain()}`);
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toMatch(/^503 5\.5\.1 /);
    await client.ask("MAIL FROM:<alice@ring.test>");
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toMatch(/^503 5\.5\.1 /);
    expect(await client.ask("RCPT TO:<bob@ring.test>")).toMatch(/^250 /);
  });

  test("a hello or RSET does not end it; STARTTLS does (RFC 3207 §4.2)", async () => {
    await client.ask(`AUTH PLAIN ${plain()}`);
    await client.ask("EHLO client.test");
    await client.ask("RSET");
    expect(await client.ask("MAIL FROM:<alice@ring.test>")).toMatch(/^250 2\.1\.0 /);
    await client.ask("STARTTLS");
    const secure = await keep(client.secure());
    await secure.ask("EHLO client.test");
    expect(await secure.ask("MAIL FROM:<alice@ring.test>")).toMatch(/^530 5\.7\.0 /);
    expect(await secure.ask(`AUTH PLAIN ${plain()}`)).toBe(granted);
  });

  test("what is pipelined behind AUTH waits for its answer", async () => {
    client.write(
      `AUTH PLAIN ${plain()}\r\nMAIL FROM:<alice@ring.test>\r\nRCPT TO:<b@ring.test>\r\n`,
    );
    expect(await client.replies(3)).toEqual([
      granted,
      "250 2.1.0 sender ok",
      "250 2.1.5 recipient ok",
    ]);
  });
});

describe("who can't be let in", () => {
  test.each([
    [{ kind: "tempfail" }, "454 4.7.0 can't tell now, try again later", false],
    [
      { kind: "throttled", retryAfterMs: 1_500 },
      "421 4.7.0 too many tries, come again in 2 s",
      true,
    ],
    [{ kind: "denied" }, "535 5.7.8 authentication failed", false],
  ] as const)("%j", async (answer, reply, closes) => {
    const client = await hello(await setUp());
    authenticator.answer = answer;
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toBe(reply);
    expect(await client.ask("NOOP")).toMatch(closes ? /^$/ : /^250 /);
  });

  test("S35: eleven wrong tries on one connection: ten times 535, then 421", async () => {
    const client = await hello(await setUp());
    for (let i = 0; i < 10; i++) {
      expect(await client.ask(`AUTH PLAIN ${plain("wrong")}`)).toMatch(/^535 5\.7\.8 /);
    }
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toMatch(/^421 4\.7\.0 /);
    expect(await client.reply()).toBe("");
    expect(authenticator.tries).toHaveLength(10);
  });

  test("STARTTLS does not begin the count of wrong tries anew", async () => {
    const client = await hello(await setUp({}, { limits: { authFailuresMax: 1 } }));
    expect(await client.ask(`AUTH PLAIN ${plain("wrong")}`)).toMatch(/^535 5\.7\.8 /);
    await client.ask("STARTTLS");
    const secure = await keep(client.secure());
    await secure.ask("EHLO client.test");
    expect(await secure.ask(`AUTH PLAIN ${plain()}`)).toMatch(/^421 4\.7\.0 /);
  });

  test("one who does nothing but talk before AUTH", async () => {
    const client = await hello(await setUp({}, { limits: { commandsBeforeAuthMax: 5 } }));
    for (let i = 0; i < 4; i++) expect(await client.ask("NOOP")).toMatch(/^250 /);
    expect(await client.ask("NOOP")).toBe("421 4.7.0 too many commands before AUTH");
    expect(await client.reply()).toBe("");
  });

  test("an answer that comes after its deadline lets nobody in", async () => {
    const client = await hello(
      await setUp({}, { limits: { receiverMs: 100, sweepIntervalMs: 5 } }),
    );
    let release: () => void = () => undefined;
    authenticator.gate = new Promise((resolve) => {
      release = resolve;
    });
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toMatch(/^454 4\.7\.0 /);
    release();
    await authenticator.gate;
    expect(await client.ask("MAIL FROM:<alice@ring.test>")).toMatch(/^530 5\.7\.0 /);
  });

  test("a client that leaves before its answer", async () => {
    const client = await hello(await setUp());
    let release: () => void = () => undefined;
    authenticator.gate = new Promise((resolve) => {
      release = resolve;
    });
    client.write(`AUTH PLAIN ${plain()}\r\n`);
    client.socket.resetAndDestroy();
    await client.closed();
    release();
    const other = await hello(running.port);
    expect(await other.ask(`AUTH PLAIN ${plain()}`)).toBe(granted);
  });

  test("an authenticator that fails is a 454, not the end", async () => {
    const client = await hello(await setUp());
    authenticator.password = () => Promise.reject(new Error("boom"));
    expect(await client.ask(`AUTH PLAIN ${plain()}`)).toMatch(/^454 4\.7\.0 /);
    expect(await client.ask("NOOP")).toMatch(/^250 /);
  });
});

test("what the client has proved is its own: another connection is nobody", async () => {
  const port = await setUp();
  const [client, other] = [await hello(port), await hello(port)];
  await client.ask(`AUTH PLAIN ${plain()}`);
  expect(await other.ask("MAIL FROM:<alice@ring.test>")).toMatch(/^530 5\.7\.0 /);
});

test("passwords, right or wrong, are not in the log", async () => {
  const lines: unknown[] = [];
  const log = (...args: unknown[]) => lines.push(args);
  const port = await setUp({}, { log: { debug: log, info: log, warn: log, error: log } });
  const client = await hello(port);
  await client.ask(`AUTH PLAIN ${plain("wr0ng-one")}`);
  await client.ask(`AUTH PLAIN ${plain()}`);
  const text = JSON.stringify(lines);
  expect(text).toContain("authentication failed");
  expect(text).toContain("alice@ring.test");
  for (const secret of ["wr0ng-one", alice.pass, plain(), plain("wr0ng-one")]) {
    expect(text).not.toContain(JSON.stringify(secret).slice(1, -1));
  }
});
