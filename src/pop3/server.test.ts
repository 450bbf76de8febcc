import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { pop3Scope } from "../../tests/transcripts/pop3-scope.js";
import { MemoryMaildrops, TestClient } from "../../tests/transcripts/pop3-support.js";
import type { Maildrop, SessionSummary } from "./maildrop.js";
import type { Pop3ServerOptions } from "./options.js";
import { createPop3Server, type Pop3Server } from "./server.js";

const mail = "Subject: a\r\n\r\nbody\r\n";
const { listen, kept } = pop3Scope();

interface Setup {
  readonly maildrops: MemoryMaildrops;
  readonly server: Pop3Server;
  readonly connect: () => TestClient;
  /** How the next session to end has ended. */
  readonly ended: () => Promise<SessionSummary>;
}

async function start(options: Partial<Pop3ServerOptions> = {}): Promise<Setup> {
  const maildrops = new MemoryMaildrops();
  maildrops.add("alice", "secret", [mail, mail, mail]);
  const { server, port, ended } = await listen({ onAuth: maildrops.onAuth, ...options });
  const connect = () => kept(new TestClient(port));
  return { maildrops, server, connect, ended };
}

async function loggedIn(setup: Setup): Promise<TestClient> {
  const client = setup.connect();
  expect(await client.login("alice", "secret")).toMatch(/^\+OK /);
  return client;
}

function never<T>(): Promise<T> {
  return new Promise(() => {});
}

/** A promise that the test settles. */
function gate<T>(): { promise: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

describe("pipelining, RFC 2449 §6.6", () => {
  test("a whole session in one segment, ended by the client (P1)", async () => {
    const setup = await start();
    const client = setup.connect();
    const commands = ["USER alice", "PASS secret", "STAT", "RETR 1", "DELE 1", "LIST", "QUIT", ""];
    client.socket.end(commands.join("\r\n"));
    expect((await client.rest()).split("\r\n").slice(1)).toEqual([
      "+OK send PASS",
      "+OK logged in, 3 messages",
      "+OK 3 60",
      "+OK 20 octets",
      "Subject: a",
      "",
      "body",
      ".",
      "+OK message 1 marked as deleted",
      "+OK 2 messages",
      "2 20",
      "3 20",
      ".",
      "+OK signing off, 1 removed",
      "",
    ]);
    expect(await setup.ended()).toEqual({
      reason: "quit",
      username: "alice",
      retrieved: 1,
      removed: 1,
    });
  });

  test("octet by octet", async () => {
    const client = await loggedIn(await start());
    for (const octet of "STAT\r\nRETR 2\r\nQUIT\r\n") client.send(octet);
    expect(await client.rest()).toBe(
      `+OK 3 60\r\n+OK 20 octets\r\n${mail}.\r\n+OK signing off\r\n`,
    );
  });

  test("commands wait while a message is being read", async () => {
    const setup = await start();
    const reading = gate<Buffer>();
    setup.maildrops.change = (maildrop) => ({ ...maildrop, retrieve: () => reading.promise });
    const client = await loggedIn(setup);
    client.send("STAT\r\nRETR 1\r\nDELE 1\r\nSTAT\r\n");
    expect(await client.line()).toBe("+OK 3 60\r\n");
    reading.open(Buffer.from(mail));
    expect(await client.until("+OK 2 40\r\n")).toContain(`${mail}.\r\n+OK message 1 marked`);
  });

  test("what is waiting is bounded: the client is not read from", async () => {
    const setup = await start();
    setup.maildrops.change = (maildrop) => ({ ...maildrop, retrieve: never });
    const client = await loggedIn(setup);
    client.send("RETR 1\r\n");
    let taken = false;
    client.socket.write(Buffer.alloc(32 * 1024 * 1024, "NOOP\r\n"), () => {
      taken = true;
    });
    const other = setup.connect();
    await other.line();
    for (let turns = 0; turns < 40; turns++) await other.ask("CAPA now");
    expect(taken).toBe(false);
  });
});

describe("the end of a session", () => {
  test.each([
    ["a reset", (client: TestClient) => client.socket.resetAndDestroy()],
    ["an end without QUIT", (client: TestClient) => client.socket.end("QUIT")],
  ])("%s removes nothing and releases (P3)", async (_, leave) => {
    const setup = await start();
    const client = await loggedIn(setup);
    await client.ask("DELE 1");
    leave(client);
    expect(await setup.ended()).toMatchObject({ reason: "disconnected", removed: 0 });
    expect(setup.maildrops.mails.get("alice")).toHaveLength(3);
    expect(setup.maildrops.released).toBe(1);
  });

  test("the maildrop is free when QUIT is answered", async () => {
    const setup = await start();
    for (let n = 0; n < 20; n++) {
      const client = await loggedIn(setup);
      await client.ask("QUIT");
    }
    expect(setup.maildrops.open.size).toBe(0);
  });

  test("a commit goes on when the client leaves, then the lock is released", async () => {
    const setup = await start();
    const asked = gate<void>();
    const committed = gate<void>();
    const events: string[] = [];
    setup.maildrops.change = (maildrop) => ({
      ...maildrop,
      commit: async () => {
        asked.open();
        await committed.promise;
        events.push("commit");
        return { kind: "removed" };
      },
      release: () => void events.push("release"),
    });
    const client = await loggedIn(setup);
    client.send("DELE 1\r\nQUIT\r\n");
    await asked.promise;
    client.socket.resetAndDestroy();
    await once(client.socket, "close");
    committed.open();
    await setup.ended();
    expect(events).toEqual(["commit", "release"]);
  });

  test("a maildrop that was opened for a client that has gone is released", async () => {
    const maildrops = new MemoryMaildrops();
    maildrops.add("alice", "secret", [mail]);
    const asked = gate<AbortSignal>();
    const checked = gate<void>();
    const released = gate<void>();
    const setup = await start({
      onAuth: async (credentials, session) => {
        asked.open(session.signal);
        await checked.promise;
        return maildrops.onAuth(credentials);
      },
    });
    maildrops.change = (maildrop) => ({ ...maildrop, release: () => released.open() });
    const client = setup.connect();
    client.send("USER alice\r\nPASS secret\r\n");
    const signal = await asked.promise;
    client.socket.resetAndDestroy();
    expect(await setup.ended()).toMatchObject({ reason: "disconnected" });
    expect(signal.aborted).toBe(true);
    checked.open();
    await released.promise;
  });

  test("close: told, released; a busy session finishes its command first", async () => {
    const setup = await start();
    const reading = gate<Buffer>();
    const asked = gate<void>();
    setup.maildrops.add("bob", "secret", [mail]);
    setup.maildrops.change = (maildrop, user) => {
      const retrieve = () => {
        asked.open();
        return reading.promise;
      };
      return user === "bob" ? { ...maildrop, retrieve } : maildrop;
    };
    const idle = await loggedIn(setup);
    const busy = setup.connect();
    await busy.login("bob", "secret");
    await idle.ask("DELE 1");
    busy.send("RETR 1\r\nDELE 1\r\nQUIT\r\n");
    await asked.promise;
    const closed = setup.server.close();
    expect(await idle.rest()).toMatch(/^-ERR \[SYS\/TEMP\] .*\r\n$/);
    reading.open(Buffer.from(mail));
    expect(await busy.rest()).toMatch(/body\r\n\.\r\n-ERR \[SYS\/TEMP\] .*\r\n$/);
    await closed;
    expect(setup.maildrops.released).toBe(2);
    expect(setup.maildrops.mails.get("alice")).toHaveLength(3);
    expect(setup.maildrops.mails.get("bob")).toHaveLength(1);
    await expect(once(setup.connect().socket, "connect")).rejects.toThrow("ECONNREFUSED");
  });

  test("close cuts what does not end, a commit too", async () => {
    const setup = await start();
    const asked = gate<AbortSignal>();
    setup.maildrops.change = (maildrop) => ({
      ...maildrop,
      commit: (_, signal) => {
        asked.open(signal);
        return never();
      },
    });
    const client = await loggedIn(setup);
    client.send("DELE 1\r\nQUIT\r\n");
    const signal = await asked.promise;
    await setup.server.close({ deadlineMs: 100 });
    expect(await setup.ended()).toMatchObject({ reason: "shutdown", removed: 0 });
    expect(signal.aborted).toBe(true);
    expect(setup.maildrops.released).toBe(1);
  });
});

describe("deadlines", () => {
  test("autologout: no response, nothing removed, RFC 1939 §3", async () => {
    const setup = await start({ limits: { idleDeadlineMs: 1_500 } });
    const client = await loggedIn(setup);
    await client.ask("DELE 1");
    expect(await client.rest()).toBe("");
    expect(await setup.ended()).toMatchObject({ reason: "autologout", removed: 0 });
    expect(setup.maildrops.released).toBe(1);
  });

  test("a login must come in time, whatever is sent meanwhile (S31)", async () => {
    const setup = await start({ limits: { loginDeadlineMs: 200, errorsMax: 1e9 } });
    const client = setup.connect();
    const drip = setInterval(() => client.send("X"), 20);
    await client.rest();
    clearInterval(drip);
    expect(await setup.ended()).toMatchObject({ reason: "autologout" });
  });

  test("a client that does not read is cut", async () => {
    const setup = await start({ limits: { writeStallMs: 1_000 } });
    const big = Buffer.alloc(64 * 1024 * 1024, "0123456789abcdef\r\n");
    setup.maildrops.add("alice", "secret", [big]);
    const client = await loggedIn(setup);
    client.socket.pause();
    client.send("RETR 1\r\n");
    expect(await setup.ended()).toMatchObject({ reason: "stalled", retrieved: 0 });
  });

  test("many small replies that nobody reads are not made", async () => {
    const setup = await start({ limits: { writeStallMs: 1_000 } });
    let retrieved = 0;
    const body = Buffer.alloc(60_000, "0123456789abcdef\r\n");
    setup.maildrops.change = (maildrop) => ({
      ...maildrop,
      messages: [{ uid: "a", octets: body.length }],
      retrieve: () => {
        retrieved++;
        return body;
      },
    });
    const client = await loggedIn(setup);
    client.socket.pause();
    client.send("RETR 1\r\n".repeat(2_000));
    expect(await setup.ended()).toMatchObject({ reason: "stalled" });
    // What the kernel takes on loopback, 120 MB would be all.
    expect(retrieved).toBeLessThan(500);
  });

  test.each([
    ["login", { authDeadlineMs: 50 }, {}, "", /^-ERR \[SYS\/TEMP\]/],
    ["read", { readDeadlineMs: 50 }, { retrieve: never }, "RETR 1", /^-ERR \[SYS\/TEMP\]/],
    ["commit", { commitDeadlineMs: 50 }, { commit: never }, "QUIT", /^-ERR \[SYS\/TEMP\]/],
    ["release", { releaseDeadlineMs: 50 }, { release: never }, "QUIT", /^\+OK /],
  ])("%s", async (what, limits, change: Partial<Maildrop>, command, reply) => {
    const slow = what === "login" ? { onAuth: never } : {};
    const setup = await start({ limits, ...slow } as Partial<Pop3ServerOptions>);
    setup.maildrops.change = (maildrop) => ({ ...maildrop, ...change });
    const client = setup.connect();
    const login = await client.login("alice", "secret");
    if (what === "login") return expect(login).toMatch(reply);
    await client.ask("DELE 2");
    expect(await client.ask(command)).toMatch(reply);
  });
});

describe("limits", () => {
  test.each([
    ["in all", { connectionsMax: 2 }],
    ["per address", { connectionsPerAddressMax: 2 }],
  ])("connections %s", async (_, limits) => {
    const setup = await start({ limits });
    const [first, second, third] = [setup.connect(), setup.connect(), setup.connect()];
    await Promise.all([first.line(), second.line()]);
    expect(await third.rest()).toMatch(/^-ERR \[SYS\/TEMP\] .*\r\n$/);
    expect(setup.server.connections).toBe(2);
    await first.ask("QUIT");
    first.socket.destroy();
    for (let over = await setup.ended(); over.reason !== "quit"; over = await setup.ended());
    expect(await setup.connect().line()).toMatch(/^\+OK /);
  });

  test("onConnect may refuse, and may fail", async () => {
    const refused = await start({ onConnect: () => ({ kind: "refuse", why: "go away" }) });
    expect(await refused.connect().rest()).toBe("-ERR [SYS/TEMP] go away\r\n");
    const failed = await start({ onConnect: () => Promise.reject(new Error("bug")) });
    expect(await failed.connect().rest()).toMatch(/^-ERR \[SYS\/TEMP\] .*\r\n$/);
  });

  test("a command of 10 MB costs no memory and one error (S1)", async () => {
    const setup = await start();
    const client = await loggedIn(setup);
    const piece = Buffer.alloc(1024 * 1024, "x");
    for (let n = 0; n < 10; n++) client.send(piece);
    expect(await client.ask("\r\nNOOP")).toBe("-ERR line too long\r\n");
    expect(await client.line()).toBe("+OK\r\n");
  });

  test("application errors are told as temporary", async () => {
    const setup = await start({ onAuth: () => Promise.reject(new Error("bug")) });
    expect(await setup.connect().login("alice", "secret")).toMatch(/^-ERR \[SYS\/TEMP\]/);
  });

  test.each([
    ["a uid with a space", { uid: "a b", octets: 1 }],
    ["a uid of 71 octets", { uid: "a".repeat(71), octets: 1 }],
    ["an empty uid", { uid: "", octets: 1 }],
    ["a negative size", { uid: "a", octets: -1 }],
  ])("a maildrop with %s is not served, but released", async (_, message) => {
    const setup = await start();
    setup.maildrops.change = (maildrop) => ({ ...maildrop, messages: [message] });
    expect(await setup.connect().login("alice", "secret")).toMatch(/^-ERR \[SYS\/TEMP\]/);
    expect(setup.maildrops.open.size).toBe(0);
  });

  test.each([
    { name: "two words" },
    { banner: "a\r\nb" },
    { banner: "ready <1@host>" },
    { authMethods: [] },
    { limits: { idleDeadlineMs: 0 } },
    { limits: { commandOctetsMax: 100 } },
  ])("options that can't be: %j", (options) => {
    expect(() => createPop3Server({ onAuth: never, ...options })).toThrow(RangeError);
  });

  test("what is hidden is not announced; methods that are off are refused", async () => {
    const setup = await start({ hideCapabilities: ["UTF8", "EXPIRE"], authMethods: ["PLAIN"] });
    const client = setup.connect();
    await client.line();
    client.send("CAPA\r\n");
    const capabilities = await client.until("\r\n.\r\n");
    for (const hidden of ["UTF8", "EXPIRE", "USER"]) expect(capabilities).not.toContain(hidden);
    expect(await client.ask("USER alice")).toMatch(/^-ERR /);
  });
});
