import { once } from "node:events";
import { Readable } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MemoryMaildrops, TestClient } from "../../tests/transcripts/pop3-support.js";
import type { MessageBody, SessionSummary } from "./maildrop.js";
import { createPop3Server, type Pop3Server } from "./server.js";

let server: Pop3Server;
let client: TestClient;
let ended: Promise<SessionSummary>;
let bodies: (() => MessageBody | Promise<MessageBody>)[] = [];

/** Logs in to a maildrop whose messages have these sizes and bodies. */
async function open(...mails: [octets: number, body: () => MessageBody | Promise<MessageBody>][]) {
  bodies = mails.map(([, body]) => body);
  const messages = mails.map(([octets], index) => ({ uid: `u${index}`, octets }));
  const maildrops = new MemoryMaildrops();
  maildrops.add("alice", "secret", []);
  maildrops.change = (maildrop) => ({
    ...maildrop,
    messages,
    retrieve: (index) => bodies[index]?.() ?? Promise.reject(new Error("none")),
  });
  let onEnd: (summary: SessionSummary) => void = () => {};
  ended = new Promise((resolve) => {
    onEnd = resolve;
  });
  server = createPop3Server({
    onAuth: maildrops.onAuth,
    onClose: (_, summary) => onEnd(summary),
    limits: { readDeadlineMs: 2_000 },
  });
  const { port } = await server.listen({ port: 0, host: "127.0.0.1" });
  client = new TestClient(port);
  await client.login("alice", "secret");
}

beforeEach(() => {
  bodies = [];
});

afterEach(async () => {
  client.socket.destroy();
  await server.close({ deadlineMs: 1_000 });
});

async function* pieces(...texts: string[]): AsyncIterable<Buffer> {
  for (const text of texts) yield Buffer.from(text, "latin1");
}

async function* failing(text: string): AsyncIterable<Buffer> {
  yield Buffer.from(text);
  throw new Error("disk on fire");
}

async function* stopping(text: string): AsyncIterable<Buffer> {
  yield Buffer.from(text);
  await new Promise(() => {});
}

async function* endless(onReturn: () => void): AsyncIterable<Buffer> {
  try {
    yield Buffer.from("Subject: a\r\n\r\n");
    for (;;) yield Buffer.from("line\r\n");
  } finally {
    onReturn();
  }
}

describe("RETR", () => {
  const hostile = `A: \xff\0\r\n\r\n.\r\n..\n.\n\r.\r${"x".repeat(5_000)}\r\n.end`;

  test("gives the exact octets, in memory or in pieces (P6, S4)", async () => {
    const { length } = hostile;
    await open(
      [length, () => Buffer.from(hostile, "latin1")],
      [length, () => pieces(...hostile)],
      [length, () => Readable.from([Buffer.from(hostile, "latin1")])],
      [0, () => pieces()],
      [0, () => Buffer.alloc(0)],
    );
    const stuffed = `${hostile.replace(/\r\n\./g, "\r\n..")}\r\n.\r\n`;
    for (const number of [1, 2, 3]) {
      expect(await client.ask(`RETR ${number}`)).toBe(`+OK ${length} octets\r\n`);
      expect(await client.until("\r\n.\r\n")).toBe(stuffed);
    }
    for (const number of [4, 5]) {
      client.send(`RETR ${number}\r\n`);
      expect(await client.until("\r\n.\r\n")).toBe("+OK 0 octets\r\n.\r\n");
    }
  });

  test.each([
    ["throws at once", 10, () => Promise.reject(new Error("disk on fire"))],
    ["is shorter in memory", 10, () => Buffer.from("short")],
    ["is longer in memory", 3, () => Buffer.from("longer")],
    ["has nothing at all", 10, () => pieces()],
    ["gives nothing for too long", 10, () => new Promise<Buffer>(() => {})],
    ["has a first piece that is too long", 3, () => pieces("longer")],
  ])("a body that %s is a temporary error", async (_, octets, body) => {
    await open([octets, body]);
    expect(await client.ask("RETR 1")).toMatch(/^-ERR \[SYS\/TEMP\] /);
    expect(await client.ask("NOOP")).toBe("+OK\r\n");
  });

  test.each([
    ["fails", 100, () => failing("begin\r\n")],
    ["ends too early", 100, () => pieces("begin\r\n", "end\r\n")],
    ["is too long", 10, () => pieces("begin\r\n", "end, too late\r\n")],
    ["stops", 100, () => stopping("begin\r\n")],
  ])("a body that %s in the middle cuts the line", async (_, octets, body) => {
    await open([octets, body]);
    expect(await client.ask("RETR 1")).toMatch(/^\+OK /);
    expect(await client.rest()).not.toContain("\r\n.\r\n");
    expect(await ended).toMatchObject({ reason: "bodyFailed", retrieved: 0 });
  });

  test("a client that leaves ends the reading", async () => {
    let onReturn = () => {};
    const returned = new Promise<void>((resolve) => {
      onReturn = resolve;
    });
    await open([1e9, () => endless(onReturn)]);
    await client.ask("RETR 1");
    client.socket.destroy();
    await returned;
    expect(await ended).toMatchObject({ reason: "disconnected" });
  });
});

describe("TOP", () => {
  test("stops reading early and closes the body", async () => {
    let onReturn = () => {};
    const returned = new Promise<void>((resolve) => {
      onReturn = resolve;
    });
    await open([1e9, () => endless(onReturn)]);
    client.send("TOP 1 2\r\n");
    expect(await client.until("\r\n.\r\n")).toMatch(
      /\r\nSubject: a\r\n\r\nline\r\nline\r\n\.\r\n$/,
    );
    await returned;
    expect(await client.ask("NOOP")).toBe("+OK\r\n");
  });
});

test("50 MB to a slow reader keep less than 10 MB (P14)", async () => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const pieceOctets = 256 * 1024;
  const count = 200;
  async function* body(): AsyncIterable<Buffer> {
    for (let n = 0; n < count; n++) yield Buffer.alloc(pieceOctets, "0123456789abcd\r\n");
  }
  await open([pieceOctets * count, body]);
  const { socket } = client;
  socket.removeAllListeners("data");
  let received = 0;
  let sampledAt = 0;
  let growth = 0;
  collect();
  const before = process.memoryUsage().arrayBuffers;
  socket.on("data", (chunk) => {
    received += chunk.length;
    if (received - sampledAt > 2_000_000) {
      sampledAt = received;
      collect();
      growth = Math.max(growth, process.memoryUsage().arrayBuffers - before);
    }
    socket.pause();
    setImmediate(() => socket.resume());
  });
  socket.write("RETR 1\r\nQUIT\r\n");
  await once(socket, "end");
  expect(received).toBeGreaterThan(pieceOctets * count);
  expect(growth).toBeLessThan(10 * 1024 * 1024);
  expect(await ended).toMatchObject({ reason: "quit", retrieved: 1 });
});
