import { once } from "node:events";
import { connect as connectTls, createSecureContext, type TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import { contextsOf, makeCertificate } from "../../tests/support/certificate.js";
import { pop3Scope } from "../../tests/transcripts/pop3-scope.js";
import { MemoryMaildrops, TestClient } from "../../tests/transcripts/pop3-support.js";
import type { SessionInfo } from "./maildrop.js";
import type { Pop3ServerOptions } from "./options.js";
import { createPop3Server } from "./server.js";

const mail = "Subject: a\r\n\r\nbody\r\n";
const certificate = makeCertificate();
const ca = certificate.cert;
const { listen, kept } = pop3Scope();

async function start(options: Partial<Pop3ServerOptions> = {}) {
  const maildrops = new MemoryMaildrops();
  maildrops.add("alice", "secret", [mail, mail]);
  const logins: SessionInfo[] = [];
  const { server, port, ended } = await listen({
    tls: contextsOf(certificate),
    onAuth: (credentials, session) => {
      logins.push(session);
      return maildrops.onAuth(credentials);
    },
    ...options,
  });
  return {
    ...{ maildrops, server, port, logins, ended },
    connect: () => kept(new TestClient(port)),
    /** For `implicitTls`. */
    connectTls: (more = {}) =>
      kept(new TestClient(connectTls({ port, host: "127.0.0.1", ca, ...more }))),
    /** Greeted, and secured by STLS. */
    async secured(more = {}) {
      const clear = kept(new TestClient(port));
      await clear.line();
      expect(await clear.ask("STLS")).toBe("+OK begin TLS\r\n");
      return kept(await clear.secured({ ca, ...more }));
    },
  };
}

async function capabilities(client: TestClient): Promise<string[]> {
  client.send("CAPA\r\n");
  return (await client.until("\r\n.\r\n")).split("\r\n").slice(1, -2);
}

async function login(client: TestClient): Promise<string> {
  await client.ask("USER alice");
  return client.ask("PASS secret");
}

describe("STLS, RFC 2595 §4", () => {
  test("a session in clear up to STLS, then protected", async () => {
    const { connect, logins } = await start({ plainAuth: "never" });
    const clear = connect();
    await clear.line();
    const before = await capabilities(clear);
    expect(before).toContain("STLS");
    expect(before.filter((line) => /^(USER$|SASL)/.test(line))).toEqual([]);
    await clear.ask("STLS");
    const client = kept(await clear.secured({ ca }));
    const after = await capabilities(client);
    expect(after).not.toContain("STLS");
    expect(after).toEqual(expect.arrayContaining(["USER", "SASL PLAIN"]));
    expect(await login(client)).toMatch(/^\+OK /);
    client.send("RETR 1\r\nDELE 1\r\nQUIT\r\n");
    expect(await client.rest()).toContain(`+OK 20 octets\r\n${mail}.\r\n`);
    expect(logins[0]).toMatchObject({ secure: true, tls: { version: "TLSv1.3" } });
    expect(logins[0]?.tls?.cipher).toMatch(/^TLS_/);
  });

  test("a session in clear says so", async () => {
    const { connect, logins } = await start();
    await connect().login("alice", "secret");
    expect(logins[0]).toMatchObject({ secure: false, tls: undefined });
  });

  test("what was pipelined behind it is discarded, not executed in TLS (P11)", async () => {
    const { connect, logins } = await start();
    const clear = connect();
    await clear.line();
    clear.send("STLS\r\nUSER alice\r\nPASS secret\r\nSTAT\r\nUSER al");
    expect(await clear.line()).toBe("+OK begin TLS\r\n");
    const client = kept(await clear.secured({ ca }));
    // Its answer is the first that comes.
    expect(await client.ask("NOOP")).toBe("-ERR log in first\r\n");
    expect(await client.ask("PASS secret")).toBe("-ERR USER first\r\n");
    expect(logins).toHaveLength(0);
  });

  test("what comes in clear after its answer ends the connection (P11)", async () => {
    const { connect, logins, ended } = await start();
    const clear = connect();
    await clear.line();
    await clear.ask("STLS");
    clear.send("USER alice\r\nPASS secret\r\nSTAT\r\n");
    // At most an alert of the TLS layer; no reply.
    expect(await clear.rest()).not.toMatch(/OK|ERR/);
    expect(await ended()).toMatchObject({ reason: "tlsFailed" });
    expect(logins).toHaveLength(0);
  });

  test("a handshake that fails ends its connection only", async () => {
    const { connect, secured, ended } = await start();
    const neighbour = await secured();
    await login(neighbour);
    for (let n = 0; n < 20; n++) {
      const client = connect();
      await client.line();
      await client.ask("STLS");
      client.send(Buffer.alloc(10 + 500 * n, 255 - n));
      await client.rest();
      expect(await ended()).toMatchObject({ reason: "tlsFailed" });
    }
    expect(await neighbour.ask("NOOP")).toBe("+OK\r\n");
  });

  test("a client that leaves in the handshake", async () => {
    const { connect, ended } = await start();
    for (const leave of ["end", "resetAndDestroy"] as const) {
      const client = connect();
      await client.line();
      await client.ask("STLS");
      client.socket[leave]();
      expect(["tlsFailed", "disconnected"]).toContain((await ended()).reason);
    }
  });

  test.each([{ handshakeDeadlineMs: 100 }, { loginDeadlineMs: 2_000 }])(
    "the handshake must be done in time: %j",
    async (limits) => {
      const { connect, ended } = await start({ limits });
      const client = connect();
      await client.line();
      await client.ask("STLS");
      // The beginning of a record, and then nothing.
      client.send(Buffer.from([22, 3, 1, 1]));
      expect(await client.rest()).toBe("");
      expect(await ended()).toMatchObject({ reason: "tlsFailed" });
    },
  );

  test.each(["TLSv1", "TLSv1.1"] as const)(
    "%s is too old, whatever the context",
    async (version) => {
      const { cert, key } = certificate;
      const old = { minVersion: "TLSv1", ciphers: "ALL@SECLEVEL=0" } as const;
      const context = createSecureContext({ cert, key, ...old });
      const { secured, logins, ended } = await start({ tls: { current: () => context } });
      const tried = secured({ ...old, maxVersion: version }).then((client) => login(client));
      await expect(tried).rejects.toThrow();
      expect(await ended()).toMatchObject({ reason: "tlsFailed" });
      expect(logins).toHaveLength(0);
    },
  );

  test.each(["TLSv1.2", "TLSv1.3"] as const)("%s", async (version) => {
    const { secured, logins } = await start();
    expect(await login(await secured({ minVersion: version, maxVersion: version }))).toMatch(
      /^\+OK/,
    );
    expect(logins[0]?.tls?.version).toBe(version);
  });

  test("a broken record ends the session, and releases its maildrop", async () => {
    const { connect, ended, maildrops } = await start();
    const clear = connect();
    await clear.line();
    await clear.ask("STLS");
    const client = kept(await clear.secured({ ca }));
    await login(client);
    await client.ask("DELE 1");
    clear.socket.write(Buffer.alloc(100, 23));
    expect(await ended()).toMatchObject({ username: "alice", removed: 0 });
    expect(maildrops.released).toBe(1);
  });
});

describe("certificates", () => {
  test("each handshake has the newest; live sessions go on with theirs", async () => {
    const renewed = makeCertificate("renewed");
    const [before, after] = [contextsOf(certificate), contextsOf(renewed)];
    let contexts = before;
    const { secured } = await start({ tls: { current: () => contexts.current() } });
    const live = await secured();
    await login(live);
    contexts = after;
    const next = await secured({ ca: renewed.cert });
    expect(next.socket.getPeerCertificate().subject.CN).toBe("renewed");
    expect(await live.ask("STAT")).toBe("+OK 2 40\r\n");
  });

  test("one that can't be had ends the connection, not the server", async () => {
    const tls = {
      current: () => {
        throw new Error("no such file");
      },
    };
    const { connect, ended } = await start({ tls });
    const client = connect();
    client.send("STLS\r\n");
    await client.rest();
    expect(await ended()).toMatchObject({ reason: "failed" });
    expect(await connect().line()).toMatch(/^\+OK /);
  });

  test("a TLS session is resumed", async () => {
    const { secured } = await start();
    const version = { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } as const;
    const first = await secured(version);
    const session = first.socket.getSession();
    const again = await secured({ ...version, session });
    expect(again.socket.isSessionReused()).toBe(true);
    expect(await login(again)).toMatch(/^\+OK /);
  });
});

describe("TLS from the first octet, RFC 8314 §3.3", () => {
  const options = { implicitTls: true, plainAuth: "never" } as const;

  test("a whole session", async () => {
    const { connectTls, ended, logins } = await start(options);
    const client = connectTls();
    expect(await client.line()).toMatch(/^\+OK /);
    const offered = await capabilities(client);
    expect(offered).toEqual(expect.arrayContaining(["USER", "SASL PLAIN"]));
    expect(offered).not.toContain("STLS");
    expect(await client.ask("STLS")).toMatch(/^-ERR /);
    await login(client);
    client.send("DELE 2\r\nQUIT\r\n");
    expect(await client.rest()).toMatch(/\+OK signing off, 1 removed\r\n$/);
    expect(await ended()).toEqual({ reason: "quit", username: "alice", retrieved: 0, removed: 1 });
    expect(logins[0]).toMatchObject({ secure: true });
  });

  test("commands that come with the client's last handshake message are answered", async () => {
    const { connectTls } = await start(options);
    const client = connectTls();
    client.socket.write("USER alice\r\nPASS secret\r\nSTAT\r\nQUIT\r\n");
    expect(await client.rest()).toContain("+OK 2 40\r\n+OK signing off\r\n");
  });

  test("a client in clear is told nothing that looks like POP3", async () => {
    const { connect, ended } = await start(options);
    const client = connect();
    client.send("USER alice\r\nPASS secret\r\n");
    expect(await client.rest()).not.toMatch(/OK|ERR/);
    expect(await ended()).toMatchObject({ reason: "tlsFailed" });
  });

  test("a client that says nothing is cut at the deadline", async () => {
    const { connect, ended } = await start({ ...options, limits: { handshakeDeadlineMs: 100 } });
    expect(await connect().rest()).toBe("");
    expect(await ended()).toMatchObject({ reason: "tlsFailed" });
  });

  test("one connection too many gets no handshake", async () => {
    const { connectTls } = await start({ ...options, limits: { connectionsMax: 1 } });
    const first = connectTls();
    await first.line();
    const second = connectTls();
    expect(await second.rest()).toBe("");
    expect(await login(first)).toMatch(/^\+OK /);
  });

  test("a browser led here is refused, a POP3 client that says so is served (ALPN)", async () => {
    const { connectTls } = await start(options);
    const browser = connectTls({ ALPNProtocols: ["http/1.1"] });
    expect(await browser.rest()).toBe("");
    const client = connectTls({ ALPNProtocols: ["pop3"] });
    expect(await client.line()).toMatch(/^\+OK /);
    expect((client.socket as TLSSocket).alpnProtocol).toBe("pop3");
  });

  test("large messages arrive octet by octet, also in pieces", async () => {
    const { connectTls, maildrops } = await start(options);
    const lines = ".line with dots\r\n..\r\n0123456789\r\n".repeat(100_000);
    const big = Buffer.from(lines);
    maildrops.add("alice", "secret", [big]);
    maildrops.change = (maildrop) => ({
      ...maildrop,
      async *retrieve() {
        for (let at = 0; at < big.length; at += 50_001) yield big.subarray(at, at + 50_001);
      },
    });
    const client = connectTls();
    await client.line();
    await login(client);
    client.send("RETR 1\r\nQUIT\r\n");
    const stuffed = lines.replaceAll(/^\./gm, "..");
    const expected = `+OK ${big.length} octets\r\n${stuffed}.\r\n+OK signing off\r\n`;
    expect((await client.rest()) === expected).toBe(true);
  });

  test("close: told so in TLS, and the client sees an orderly end", async () => {
    const { connectTls, server } = await start(options);
    const client = connectTls();
    await client.line();
    await login(client);
    const ended = once(client.socket, "end");
    const closed = server.close();
    expect(await client.rest()).toMatch(/^-ERR \[SYS\/TEMP\] .*\r\n$/);
    await ended;
    await closed;
  });
});

test.each([
  { implicitTls: true, tls: undefined },
  { authMethods: ["SCRAM-SHA-256"] },
] as unknown as Partial<Pop3ServerOptions>[])("options that can't be: %j", (options) => {
  const onAuth = async () => ({ kind: "denied" }) as const;
  expect(() => createPop3Server({ onAuth, ...options })).toThrow(RangeError);
});
