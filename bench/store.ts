/**
 * Measures the store: durable appends, what keeping the views costs, opening and reading.
 *   npx tsx bench/store.ts [messages]
 */
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BodyDigest, MailboxName, MemberUuid, MessageId } from "../src/shared/ids.js";
import { type DurableStore, openStore } from "../src/store/index.js";

const messages = Number(process.argv[2] ?? 100_000);
const writers = 64;
const mailboxes = 100;
const bodyOctets = 4_096;

const quiet = { debug() {}, info() {}, warn: console.warn, error: console.error };
const directory = fs.mkdtempSync(join(process.env["BENCH_DIR"] ?? tmpdir(), "store-bench-"));
const print = (line: string) => process.stdout.write(`${line}\n`);

/** Bodies are made beforehand: making them is not what is measured. */
const pool = Array.from({ length: 2_000 }, () => randomBytes(bodyOctets));

function bodyOf(n: number) {
  const bytes = Buffer.from(pool[n % pool.length] ?? Buffer.alloc(bodyOctets));
  bytes.writeUInt32BE(n);
  const digest = createHash("sha256").update(bytes).digest("hex") as BodyDigest;
  return { kind: "bytes" as const, digest, bytes };
}

function addOf(n: number, digest: BodyDigest) {
  const mailbox = `user${n % mailboxes}@ring.test` as MailboxName;
  const id = `0190${n.toString(16).padStart(28, "0")}` as MessageId;
  const trace =
    `Return-Path: <sender${n}@example.org>\r\nReceived: from client.example.org ([192.0.2.1])\r\n` +
    `\tby ring.test with ESMTP id ${id} for <${mailbox}>;\r\n\tFri, 1 Jan 2027 00:00:00 +0000\r\n`;
  const message = {
    id,
    digest,
    bodyOctets,
    trace,
    receivedAtMs: 1_800_000_000_000 + n,
    fingerprint: digest,
    coordinator: "4f1c8f1e-7f0e-4d2f-9c57-7a3f1de3a111" as MemberUuid,
  };
  return { kind: "AddMessage" as const, mailbox, message };
}

async function measure(label: string, count: number, work: () => Promise<void>): Promise<void> {
  const cpuBefore = process.cpuUsage();
  const before = performance.now();
  await work();
  const ms = performance.now() - before;
  const { user, system } = process.cpuUsage(cpuBefore);
  const cpuUs = ((user + system) / count).toFixed(1);
  print(
    `${label}: ${ms.toFixed(0)} ms, ${((count / ms) * 1000).toFixed(0)}/s, CPU ${cpuUs} µs each`,
  );
}

async function write(store: DurableStore, from: number, to: number): Promise<void> {
  let next = from;
  const writer = async () => {
    while (next < to) {
      const n = next++;
      const body = bodyOf(n);
      await store.write([addOf(n, body.digest)], [body]);
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
}

/** As a cluster would: at a fixed rate, over a long time. */
async function paced(store: DurableStore, from: number, perSecond: number, seconds: number) {
  const started = performance.now();
  let sent = 0;
  const flying = new Set<Promise<void>>();
  while (sent < perSecond * seconds) {
    const due = Math.floor(((performance.now() - started) / 1000) * perSecond);
    for (; sent < Math.min(due, perSecond * seconds); sent++) {
      const body = bodyOf(from + sent);
      const written = store.write([addOf(from + sent, body.digest)], [body]);
      flying.add(written);
      written.then(() => flying.delete(written), console.error);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(flying);
}

async function main(): Promise<void> {
  let store = await openStore({ directory, log: quiet });
  await measure(
    `write ${messages} × 4 KiB, ${writers} writers, ${mailboxes} mailboxes`,
    messages,
    () => write(store, 0, messages),
  );
  print(JSON.stringify(store.stats()));
  await measure("close (views written, checkpoint)", messages, () => store.close());
  let opened = performance.now();
  store = await openStore({ directory, log: quiet });
  print(`open: ${(performance.now() - opened).toFixed(0)} ms`);
  print(`RSS after open: ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB`);
  const perSecond = 1_200;
  await measure(`paced ${perSecond}/s for 15 s`, perSecond * 15, () =>
    paced(store, messages, perSecond, 15),
  );
  print(JSON.stringify(store.stats()));
  await measure("contents of 100 mailboxes", mailboxes, async () => {
    for (let i = 0; i < mailboxes; i++) {
      await store.contents(`user${i}@ring.test` as MailboxName);
    }
  });
  const digests = Array.from({ length: 20_000 }, (_, i) => bodyOf((i * 7_919) % messages).digest);
  await measure("read bodies at random", digests.length, async () => {
    for (const digest of digests) {
      if ((await store.readBody(digest))?.length !== bodyOctets) throw new Error("lost");
    }
  });
  await store.close();
  fs.rmSync(join(directory, "views"), { recursive: true });
  opened = performance.now();
  store = await openStore({ directory, log: quiet });
  print(`open without views: ${(performance.now() - opened).toFixed(0)} ms`);
  await store.close();
  print(`RSS: ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB`);
}

await main().finally(() => fs.rmSync(directory, { recursive: true, force: true }));
