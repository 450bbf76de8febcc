/**
 * npm run bench:hostile [-- --mails 100000] [-- --only header,list]
 *
 * The nastiest inputs, one after the other, against a running node; for each, the longest that the
 * node's event loop stood still. It is asked from outside: a client says NOOP without a pause, and a
 * stall is a reply that took long while the node's main thread was busy. Needs a build, and Linux.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Member } from "../tests/support/member.js";
import { Pop3Client } from "../tests/support/pop3-client.js";
import { domain, password, Ring } from "../tests/support/ring.js";
import { SmtpClient } from "../tests/support/smtp-client.js";
import { hostPort, Wire } from "../tests/support/wire.js";
import { type Figure, table } from "./figures.js";

const { values } = parseArgs({
  options: { mails: { type: "string", default: "100000" }, only: { type: "string" } },
});
const mailCount = Number(values.mails);
const goalMs = 100;

/** CPU time of a process' main thread, in ms. */
function mainThreadMs({ pid }: Member): number {
  const [ns = "0"] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ");
  return Number(ns) / 1e6;
}

/** Says NOOP until it is stopped, and remembers the longest wait. */
class Probe {
  #worstMs = 0;
  #isOver = false;
  #running: Promise<void> = Promise.resolve();

  static async at(member: Member): Promise<Probe> {
    const probe = new Probe();
    const client = await SmtpClient.connect(member.smtp, { deadlineMs: 120_000 });
    probe.#running = (async () => {
      while (!probe.#isOver) {
        const [startMs, startCpuMs] = [performance.now(), mainThreadMs(member)];
        await client.command("NOOP");
        const waitedMs = performance.now() - startMs;
        const busyMs = mainThreadMs(member) - startCpuMs;
        probe.#worstMs = Math.max(probe.#worstMs, Math.min(waitedMs, busyMs));
        await sleep(2);
      }
      client.destroy();
    })();
    return probe;
  }

  async stop(): Promise<number> {
    this.#isOver = true;
    await this.#running;
    return this.#worstMs;
  }
}

/** Sends octets as they are, at full speed, and reads until the other side or `quietMs` ends it. */
async function pour(
  addr: string,
  pieces: Iterable<Buffer | string>,
  quietMs = 1_000,
): Promise<void> {
  const socket = connect(hostPort(addr));
  socket.on("error", () => undefined);
  socket.setMaxListeners(0);
  let heardMs = performance.now();
  const greeted = new Promise((resolve) => socket.once("data", resolve));
  socket.on("data", () => {
    heardMs = performance.now();
  });
  // Who talks before the greeting is sent away by SMTP; not every port has one.
  await Promise.race([greeted, sleep(1_000)]);
  for (const piece of pieces) {
    if (socket.destroyed) return;
    if (!socket.write(piece)) {
      await Promise.race([
        new Promise((resolve) => socket.once("drain", resolve)),
        new Promise((resolve) => socket.once("close", resolve)),
      ]);
    }
  }
  heardMs = performance.now();
  while (!socket.destroyed && performance.now() - heardMs < quietMs) await sleep(20);
  socket.destroy();
}

function* times(count: number, piece: Buffer | string): Iterable<Buffer | string> {
  for (let n = 0; n < count; n += 1) yield piece;
}

const to = (box: string) => ({ from: "", to: [`${box}@${domain}`] });

async function mail(member: Member, bytes: Buffer | string, box = "ann"): Promise<void> {
  const client = await SmtpClient.connect(member.smtp, { deadlineMs: 120_000 });
  const { reply } = await client.send(to(box), Buffer.from(bytes));
  client.destroy();
  if (reply.code !== 250) process.stderr.write(`    ${reply.lines.join()}\n`);
}

/** Many small mails over a few connections. */
async function fill(member: Member, box: string, count: number): Promise<void> {
  let left = count;
  const work = async (): Promise<void> => {
    const wire = await Wire.connect(member.smtp, 120_000);
    const line = async () => {
      for (;;) if (/^\d{3}(?: |$)/.test(await wire.line())) return;
    };
    await line();
    wire.write("EHLO fill.test\r\n");
    await line();
    while (left-- > 0) {
      wire.write(`MAIL FROM:<>\r\nRCPT TO:<${box}@${domain}>\r\nDATA\r\n`);
      for (let n = 0; n < 3; n += 1) await line();
      wire.write(`Subject: ${left}\r\n\r\n.\r\n`);
      await line();
    }
    wire.destroy();
  };
  await Promise.all(Array.from({ length: 32 }, work));
}

const hello = "EHLO x.test\r\nMAIL FROM:<>\r\n";
const inData = `${hello}RCPT TO:<ann@${domain}>\r\nDATA\r\n`;
const mebioctet = 1024 * 1024;

async function session(
  member: Member,
  box: string,
  work: (client: Pop3Client) => Promise<unknown>,
) {
  const client = await Pop3Client.login(member.pop3, box, password, 120_000);
  await work(client);
  await client.quit();
}

/** Reads all, and keeps nothing. */
function swallow(member: Member, box: string, commands: string): Promise<void> {
  return pour(member.pop3, [`USER ${box}\r\nPASS ${password}\r\n${commands}QUIT\r\n`], 5_000);
}

type Attack = readonly [name: string, run: (member: Member) => Promise<unknown>];

const attacks: readonly Attack[] = [
  [
    "header: one line of 30 MB",
    (m) => mail(m, `X-Long: ${"x".repeat(30 * mebioctet)}\r\n\r\nx\r\n`),
  ],
  ["header: 1,000,000 lines", (m) => mail(m, `${"Message-ID: x\r\n".repeat(1e6)}\r\nx\r\n`)],
  ["data: 50 MB of dots", (m) => mail(m, "..............................\r\n".repeat(1.5e6))],
  [
    "data: 50 MB of lines of one dot",
    (m) => pour(m.smtp, [inData, ...times(64, "..\r\n".repeat(mebioctet / 5)), "\r\n.\r\n"]),
  ],
  ["data: 30 MB of empty lines", (m) => mail(m, "\r\n".repeat(15 * mebioctet))],
  [
    "data: 20 MB of bare CR",
    (m) => pour(m.smtp, [inData, ...times(20, Buffer.alloc(mebioctet, 13)), "\r\n.\r\n"]),
  ],
  [
    "data: parts nested 10,000 deep",
    (m) =>
      mail(
        m,
        Array.from(
          { length: 10_000 },
          (_, n) => `Content-Type: multipart/mixed; boundary=b${n}\r\n\r\n--b${n}\r\n`,
        ).join(""),
      ),
  ],
  [
    "data: 100,000 parts",
    (m) =>
      mail(m, `Content-Type: multipart/mixed; boundary=b\r\n\r\n${"--b\r\n\r\nx\r\n".repeat(1e5)}`),
  ],
  [
    "commands: 300,000 NOOP in one go",
    (m) => pour(m.smtp, ["EHLO x\r\n", ...times(30, "NOOP\r\n".repeat(10_000))]),
  ],
  [
    "commands: 100,000 RCPT",
    (m) =>
      pour(m.smtp, [
        hello,
        ...times(
          10,
          Array.from({ length: 10_000 }, (_, n) => `RCPT TO:<u${n}@${domain}>\r\n`).join(""),
        ),
      ]),
  ],
  [
    "commands: 1,000 recipients, known",
    async (m) =>
      pour(m.smtp, [
        hello,
        Array.from({ length: 1_000 }, (_, n) => `RCPT TO:<ann+${n}@${domain}>\r\n`).join(""),
        "DATA\r\n",
        "x\r\n.\r\n",
      ]),
  ],
  [
    "commands: 50 MB without an end of line",
    (m) => pour(m.smtp, times(50, Buffer.alloc(mebioctet, 120))),
  ],
  [
    "commands: 1,000,000 empty lines",
    (m) => pour(m.smtp, ["EHLO x\r\n", ...times(10, "\r\n".repeat(1e5))]),
  ],
  [
    "commands: addresses that are slow to match",
    (m) =>
      pour(m.smtp, [
        "EHLO x\r\n",
        ...times(2_000, `MAIL FROM:<"${"\\a".repeat(1_900)}>\r\n`),
        ...times(2_000, `MAIL FROM:<${"a.".repeat(1_900)}>\r\n`),
      ]),
  ],
  [
    "500 connections at once, SMTP",
    async (m) =>
      Promise.all(Array.from({ length: 400 }, () => pour(m.smtp, ["EHLO x\r\nQUIT\r\n"]))),
  ],
  [
    "500 connections at once, POP3",
    async (m) => Promise.all(Array.from({ length: 90 }, () => pour(m.pop3, ["CAPA\r\nQUIT\r\n"]))),
  ],
  [
    "POP3: 50 MB without an end of line",
    (m) => pour(m.pop3, times(50, Buffer.alloc(mebioctet, 120))),
  ],
  [
    "POP3: 100 wrong passwords at once",
    async (m) =>
      Promise.all(
        Array.from({ length: 50 }, () =>
          pour(m.pop3, ["USER ann\r\nPASS x\r\nUSER ann\r\nPASS y\r\n"], 10_000),
        ),
      ),
  ],
  ["ring port: 50 MB of chance", (m) => pour(m.addr, times(50, randomBytes(mebioctet)))],
  [
    "ring port: HTTP/2, then chance",
    (m) =>
      pour(m.addr, [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
        ...times(50, randomBytes(mebioctet)),
      ]),
  ],
  [
    "ring port: a frame of 16 MB is announced",
    (m) =>
      pour(m.addr, [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
        Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
        ...times(16, Buffer.alloc(mebioctet)),
      ]),
  ],
  [`fill: ${mailCount} mails into one mailbox`, (m) => fill(m, "bob", mailCount)],
  ["list: login and STAT", (m) => session(m, "bob", (client) => client.stat())],
  ["list: LIST", (m) => session(m, "bob", (client) => client.multiline("LIST"))],
  ["list: UIDL", (m) => session(m, "bob", (client) => client.multiline("UIDL"))],
  [
    "list: 50 times LIST and UIDL in one go",
    (m) => swallow(m, "bob", "LIST\r\nUIDL\r\n".repeat(50)),
  ],
  [
    "list: 20,000 TOP in one go",
    (m) =>
      swallow(m, "bob", Array.from({ length: 20_000 }, (_, n) => `TOP ${n + 1} 0\r\n`).join("")),
  ],
  ["list: 50,000 times STAT and RSET", (m) => swallow(m, "bob", "STAT\r\nRSET\r\n".repeat(50_000))],
  [
    "list: DELE of all, then QUIT",
    (m) =>
      swallow(m, "bob", Array.from({ length: mailCount }, (_, n) => `DELE ${n + 1}\r\n`).join("")),
  ],
  ["RETR of 50 MB of dots", (m) => swallow(m, "ann", "RETR 3\r\n")],
  ["RETR of 30 MB in one line", (m) => swallow(m, "ann", "RETR 1\r\n")],
  [
    "LIST by somebody who does not read",
    async (m) => {
      const socket = connect(hostPort(m.pop3)).pause();
      socket.on("error", () => undefined);
      socket.write(`USER ann\r\nPASS ${password}\r\n${"RETR 1\r\n".repeat(20)}`);
      await sleep(5_000);
      socket.destroy();
    },
  ],
];

const only = values.only?.split(",");
const figures: Figure[] = [];
const ring = new Ring({ members: 1, replicas: 0 });
try {
  await ring.grow();
  await ring.addUsers(["ann", "bob"]);
  const member = ring.member(0);
  for (const [name, run] of attacks) {
    if (only && !only.some((word) => name.startsWith(word))) continue;
    const probe = await Probe.at(member);
    const startMs = performance.now();
    await run(member).catch((error: unknown) => process.stderr.write(`    ${String(error)}\n`));
    const seconds = (performance.now() - startMs) / 1_000;
    const stallMs = await probe.stop();
    const goal = { kind: "atMost", value: goalMs } as const;
    figures.push({
      name,
      value: Math.round(stallMs),
      unit: "ms",
      goal,
      note: `${seconds.toFixed(1)} s`,
    });
    process.stderr.write(`${name}: ${stallMs.toFixed(0)} ms in ${seconds.toFixed(1)} s\n`);
  }
  const status = (await ring.status()).members[0];
  const rss = Math.round((status?.rssBytes ?? 0) / mebioctet);
  figures.push({ name: "memory in the end", value: rss, unit: "MB" });
} finally {
  await ring.stopAll();
  ring.remove("everything");
}
console.log(table(figures));
