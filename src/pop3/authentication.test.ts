import { describe, expect, test } from "vitest";
import { pop3Scope } from "../../tests/transcripts/pop3-scope.js";
import { MemoryMaildrops, TestClient } from "../../tests/transcripts/pop3-support.js";
import {
  allowsPlaintext,
  plainExchange,
  type SaslExchange,
  type SaslReply,
} from "./authentication.js";
import type { Credentials, SessionInfo } from "./maildrop.js";
import type { Pop3ServerOptions } from "./options.js";

const { listen, kept } = pop3Scope();

async function start(options: Partial<Pop3ServerOptions>) {
  const maildrops = new MemoryMaildrops();
  maildrops.add("alice", "secret", ["Subject: a\r\n\r\n"]);
  const usernames: (string | undefined)[] = [];
  const { server, port } = await listen({
    onAuth: maildrops.onAuth,
    authMethods: ["USER", "SCRAM-SHA-256", "OAUTHBEARER", "PLAIN"],
    onClose: (_, { username }) => usernames.push(username),
    ...options,
  });
  const client = kept(new TestClient(port));
  await client.line();
  return { client, maildrops, server, usernames };
}

const base64 = (text: string) => Buffer.from(text).toString("base64");

/** Says what is scripted, and keeps what it is told. */
function scripted(replies: readonly (() => SaslReply | Promise<SaslReply>)[]) {
  const heard: (string | undefined)[] = [];
  const left = [...replies];
  const exchange: SaslExchange = {
    async respond(data) {
      heard.push(data?.toString());
      const next = left.shift();
      if (next === undefined) throw new Error("more than was expected");
      return next();
    },
  };
  return { exchange, heard };
}

const challenge = (text: string) => (): SaslReply => ({
  kind: "challenge",
  data: Buffer.from(text),
});
const done = (kind: "denied" | "inUse" | "tempfail") => (): SaslReply => ({
  kind: "done",
  answer: { kind },
});

describe("onSasl, RFC 5034 §4", () => {
  test("an exchange in three steps opens the maildrop", async () => {
    const alice = new MemoryMaildrops();
    alice.add("alice", "x", ["Subject: a\r\n\r\n"]);
    const opened = async (): Promise<SaslReply> => {
      const answer = await alice.onAuth({ method: "PLAIN", username: "alice", password: "x" });
      return { kind: "done", answer: { ...answer, username: "alice" } as typeof answer };
    };
    const { exchange, heard } = scripted([challenge("server first"), challenge(""), opened]);
    const asked: string[] = [];
    const { client, server, usernames } = await start({
      onSasl: (mechanism, session) => {
        asked.push(`${mechanism} from ${session.remoteAddress}`);
        return exchange;
      },
    });
    expect(await client.ask(`AUTH scram-sha-256 ${base64("n,,n=alice")}`)).toBe(
      `+ ${base64("server first")}\r\n`,
    );
    expect(await client.ask(base64("client final"))).toBe("+ \r\n");
    expect(await client.ask("")).toBe("+OK logged in, 1 messages\r\n");
    expect(asked).toEqual(["SCRAM-SHA-256 from 127.0.0.1"]);
    expect(heard).toEqual(["n,,n=alice", "client final", ""]);
    expect(await client.ask("QUIT")).toMatch(/^\+OK/);
    await server.close();
    expect(usernames).toEqual(["alice"]);
    expect(alice.released).toBe(1);
  });

  test.each([
    ["AUTH PLAIN", undefined],
    ["AUTH PLAIN =", ""],
    [`AUTH PLAIN ${base64("\0a\0b")}`, "\0a\0b"],
  ])("%s", async (line, first) => {
    const { exchange, heard } = scripted([done("denied")]);
    const { client } = await start({ onSasl: () => exchange });
    expect(await client.ask(line)).toMatch(/^-ERR \[AUTH\]/);
    expect(heard).toEqual([first]);
  });

  // RFC 7628 §3.2.3: the server tells in a challenge why; the client answers with 0x01.
  test("an OAUTHBEARER failure is a challenge, then the refusal", async () => {
    const { exchange, heard } = scripted([challenge('{"status":"invalid_token"}'), done("denied")]);
    const { client } = await start({ onSasl: () => exchange });
    expect(await client.ask(`AUTH OAUTHBEARER ${base64("n,,\x01auth=Bearer x\x01\x01")}`)).toBe(
      `+ ${base64('{"status":"invalid_token"}')}\r\n`,
    );
    expect(await client.ask("AQ==")).toMatch(/^-ERR \[AUTH\]/);
    expect(heard[1]).toBe("\x01");
  });

  test.each([
    ["in use", done("inUse"), /^-ERR \[IN-USE\]/],
    ["can't tell", done("tempfail"), /^-ERR \[SYS\/TEMP\]/],
    ["throws", () => Promise.reject(new Error("bug")), /^-ERR \[SYS\/TEMP\]/],
    ["too late", () => new Promise<never>(() => {}), /^-ERR \[SYS\/TEMP\]/],
    ["malformed", () => ({ kind: "malformed" }) as const, /^-ERR malformed/],
  ])("%s; then the session goes on", async (_, reply, answer) => {
    const { exchange } = scripted([challenge("?"), reply]);
    const { client } = await start({ onSasl: () => exchange, limits: { authDeadlineMs: 500 } });
    await client.ask("AUTH SCRAM-SHA-256");
    expect(await client.ask("eA==")).toMatch(answer);
    expect(await client.ask("USER alice")).toMatch(/^\+OK/);
    expect(await client.ask("PASS secret")).toMatch(/^\+OK/);
  });

  test("* cancels: the exchange is not asked again", async () => {
    const { exchange, heard } = scripted([challenge("?")]);
    const { client } = await start({ onSasl: () => exchange });
    await client.ask("AUTH SCRAM-SHA-256");
    expect(await client.ask("*")).toMatch(/^-ERR/);
    expect(heard).toEqual([undefined]);
    expect(await client.ask("CAPA now")).toMatch(/^-ERR syntax/);
  });

  test("a begin that throws is a temporary failure", async () => {
    const onSasl = () => {
      throw new Error("bug");
    };
    const { client } = await start({ onSasl });
    expect(await client.ask("AUTH PLAIN")).toMatch(/^-ERR \[SYS\/TEMP\]/);
  });

  test("a maildrop that was opened for nobody any more is released", async () => {
    const { maildrops, client } = await start({
      onSasl: (_, { signal }) => ({
        async respond() {
          client.socket.resetAndDestroy();
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          const who = { method: "PLAIN", username: "alice", password: "secret" } as const;
          return { kind: "done", answer: await maildrops.onAuth(who) };
        },
      }),
    });
    const released = new Promise<void>((resolve) => {
      maildrops.change = (maildrop) => ({ ...maildrop, release: () => resolve() });
    });
    client.send("AUTH SCRAM-SHA-256\r\n");
    await released;
  });

  test("CAPA lists the mechanisms, in the order of the options", async () => {
    const { client } = await start({ onSasl: () => scripted([]).exchange });
    client.send("CAPA\r\n");
    expect(await client.until("\r\n.\r\n")).toContain("SASL SCRAM-SHA-256 OAUTHBEARER PLAIN\r\n");
  });

  test("throttled tries count as failed ones: guessing in one connection has an end", async () => {
    const throttled = { kind: "throttled", retryAfterMs: 5_000 } as const;
    const limits = { authFailuresMax: 3 };
    const { client } = await start({
      onAuth: async () => throttled,
      authMethods: ["USER"],
      limits,
    });
    client.send("USER a\r\nPASS b\r\n".repeat(3));
    const replies = (await client.rest()).split("\r\n");
    expect(replies.filter((reply) => reply.startsWith("-ERR [SYS/TEMP]"))).toHaveLength(3);
  });
});

test("a session has an end, however busy it is", async () => {
  const { client, maildrops, server, usernames } = await start({
    authMethods: ["USER"],
    limits: { sessionDeadlineMs: 2_000 },
  });
  await client.ask("USER alice");
  await client.ask("PASS secret");
  await client.ask("DELE 1");
  const busy = setInterval(() => client.send("NOOP\r\n"), 5);
  // RFC 1939 §3, as an autologout: no response.
  expect(await client.rest()).toMatch(/^(\+OK\r\n)*$/);
  clearInterval(busy);
  await server.close();
  expect(maildrops.mails.get("alice")).toHaveLength(1);
  expect(usernames).toEqual(["alice"]);
});

describe("PLAIN without onSasl, RFC 4616", () => {
  const exchange = (seen: Credentials[] = []) =>
    plainExchange(async (credentials) => {
      seen.push(credentials);
      return { kind: "tempfail" };
    });

  test.each([
    ["no authorization identity", "\0alice\0secret"],
    ["the same", "alice\0alice\0secret"],
  ])("%s", async (_, message) => {
    const seen: Credentials[] = [];
    const reply = await exchange(seen).respond(Buffer.from(message));
    expect(reply).toEqual({ kind: "done", answer: { kind: "tempfail" } });
    expect(seen).toEqual([{ method: "PLAIN", username: "alice", password: "secret" }]);
  });

  test("nobody acts for somebody else; the password is not even looked at", async () => {
    const seen: Credentials[] = [];
    const reply = await exchange(seen).respond(Buffer.from("bob\0alice\0secret"));
    expect(reply).toEqual({ kind: "done", answer: { kind: "denied" } });
    expect(seen).toEqual([]);
  });
});

describe("where passwords may be sent in clear", () => {
  test.each([
    ["127.0.0.1", "127.0.0.1", true],
    ["127.8.9.1", "127.0.0.1", true],
    ["::1", "::1", true],
    ["::ffff:127.0.0.1", "::ffff:127.0.0.1", true],
    ["10.0.0.1", "10.0.0.2", false],
    ["127.0.0.1", "10.0.0.2", false],
    ["10.0.0.1", "127.0.0.1", false],
    ["128.0.0.1", "127.0.0.1", false],
    ["::2", "::1", false],
    ["", "", false],
    ["127.evil", "127.0.0.1", false],
  ])("loopback: %s to %s: %s", (remoteAddress, localAddress, allowed) => {
    const session = { remoteAddress, localAddress } as SessionInfo;
    expect(allowsPlaintext("loopback", session)).toBe(allowed);
    expect(allowsPlaintext("always", session)).toBe(true);
    expect(allowsPlaintext("never", session)).toBe(false);
  });

  test("without TLS to change to, the refusal does not name STLS", async () => {
    const { client } = await start({ plainAuth: "never", authMethods: ["USER", "PLAIN"] });
    for (const line of ["USER alice", "PASS secret", `AUTH PLAIN ${base64("\0alice\0secret")}`]) {
      expect(await client.ask(line)).toMatch(/^-ERR (?!.*STLS)/);
    }
    expect(await client.ask("STAT")).toBe("-ERR log in first\r\n");
  });
});
