/**
 * What deleted messages cost: passes single messages through one mailbox of a real store, as a queue
 * whose consumer keeps up does, and prints what is left after each step.
 *
 *   npx tsx bench/tombstones.ts [messages] [messages per write] [messages between floors; 0: none]
 */
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BodyDigest, MailboxName, MemberUuid, MessageId } from "../src/shared/ids.js";
import { packIds } from "../src/shared/floor.js";
import type { Operation } from "../src/shared/operation.js";
import { openStore } from "../src/store/index.js";

const total = Number(process.argv[2] ?? 200_000);
const together = Number(process.argv[3] ?? 500);
const perFloor = Number(process.argv[4] ?? 10_000);
const steps = 4;
/** Messages of the flow that a floor spares although they were removed: its last intention. */
const sparedLast = 50;
const mailbox = "orders@ring.test/queue" as MailboxName;
const coordinator = "4f1c8f1e-7f0e-4d2f-9c57-7a3f1de3a111" as MemberUuid;

function octetsIn(path: string): number {
  const entries = fs.readdirSync(path, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + fs.statSync(join(entry.parentPath, entry.name)).size, 0);
}

const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: console.error, error: console.error };
const directory = fs.mkdtempSync(join(tmpdir(), "ringpost-tombstones-"));
const limits = { segmentOctets: 8 * 1024 * 1024, compactAutomatically: false };
const store = await openStore({ directory, log, limits });

function report(passed: number): void {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const mib = (octets: number): string => (octets / 1024 ** 2).toFixed(1);
  console.log(
    `${passed} passed: heap ${mib(heapUsed)} MiB, buffers ${mib(arrayBuffers)} MiB, ` +
      `views ${mib(octetsIn(join(directory, "views")))} MiB, ` +
      `journal ${mib(octetsIn(join(directory, "journal")))} MiB`,
  );
}

const flow = "80f10f10f1";
const timeOf = (n: number): string => (1_800_000_000_000 + n).toString(16).padStart(12, "0");

/** Stays behind by as much, as those of a ring do by some seconds. */
function floorAt(n: number, last: readonly MessageId[]): Operation {
  const floor = { below: timeOf(Math.max(0, n - perFloor)), spared: packIds(last) };
  return { kind: "RaiseFloor", mailbox, floor };
}

function messageOf(n: number): { id: MessageId; add: Operation; body: Buffer; digest: BodyDigest } {
  const id = `${timeOf(n)}8000${flow}${randomBytes(3).toString("hex")}` as MessageId;
  const body = Buffer.from(`message ${n}`);
  const digest = createHash("sha256").update(body).digest("hex") as BodyDigest;
  const message = {
    ...{ id, digest, bodyOctets: body.length, trace: "Return-Path: <>\r\n" },
    ...{ receivedAtMs: Date.now(), fingerprint: `ebm/${id}`, coordinator },
  };
  return { id, digest, body, add: { kind: "AddMessage", mailbox, message } };
}

try {
  report(0);
  for (let n = 0; n < total; ) {
    const some = Array.from({ length: Math.min(together, total - n) }, (_, i) => messageOf(n + i));
    await store.write(
      some.map(({ add }) => add),
      some.map(({ digest, body }) => ({ kind: "bytes", digest, bytes: body })),
    );
    await store.write(
      some.map(({ id }) => ({
        kind: "RemoveMessage",
        mailbox,
        tombstone: { id, removedAtMs: Date.now() },
      })),
    );
    n += some.length;
    if (perFloor > 0 && Math.floor(n / perFloor) > Math.floor((n - some.length) / perFloor)) {
      await store.write([
        floorAt(
          n,
          some.slice(-sparedLast).map(({ id }) => id),
        ),
      ]);
    }
    if (Math.floor(n / (total / steps)) === Math.floor((n - some.length) / (total / steps)))
      continue;
    const before = performance.now();
    const { messages, summary } = await store.contents(mailbox);
    const listed = performance.now() - before;
    await store.compact();
    console.log(
      `listed in ${listed.toFixed(0)} ms: ${messages.length} live, ${summary.tombstones} deleted`,
    );
    report(n);
  }
} finally {
  await store.close();
  fs.rmSync(directory, { recursive: true, force: true });
}
