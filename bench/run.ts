/**
 * npm run bench [-- --quick] [-- --only smtp,ring]
 *
 * Measures whole nodes from outside, beside a server that stores nothing, and prints the figures
 * with the goals. Sections: reference, smtp, connections, pop3, hold, ring. Needs a build.
 */
import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Member } from "../tests/support/member.js";
import { addUser } from "../tests/support/chord.js";
import { domain, password, Ring } from "../tests/support/ring.js";
import { mailboxName } from "./client.js";
import { type Figure, table } from "./figures.js";
import { pop3Load, reference, smtpLoad } from "./generator.js";

const { values } = parseArgs({
  options: {
    /** Shorter runs and fewer mails: shows that everything works, not how fast it is. */
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const quick = values.quick;
const seconds = quick ? 2 : 8;
const mailboxes = quick ? 20 : 100;
const heldMessages = quick ? 5_000 : 100_000;
const spread = { mailboxes, domain };
const figures: Figure[] = [];

function note(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

function put(figure: Figure): void {
  figures.push(figure);
  note(`${figure.name}: ${figure.value ?? "-"} ${figure.unit} ${figure.note ?? ""}`);
}

const atLeast = (value: number) => ({ kind: "atLeast", value }) as const;
const atMost = (value: number) => ({ kind: "atMost", value }) as const;

/** Adds the accounts, a few at a time: each is a process that hashes a password. */
async function addMailboxes(ring: Ring): Promise<void> {
  const names = Array.from({ length: mailboxes }, (_, index) => mailboxName(index));
  const work = async (): Promise<void> => {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      await addUser(ring.entry.addr, name, password);
    }
  };
  await Promise.all([work(), work(), work()]);
}

async function grow(members: number): Promise<Ring> {
  note(`starting ${members === 1 ? "one node" : `a ring of ${members}`}`);
  const ring = new Ring({ members, replicas: 2 });
  rings.push(ring);
  for (let n = 0; n < members; n += 1) await ring.grow();
  return ring;
}
const rings: Ring[] = [];

/** Resident memory in MB, as the kernel counts it. */
function rssMb(member: Member): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${member.pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) / 1024;
}

/** Resident memory when it has stopped changing: three seconds within 1 MB, or after a minute. */
async function restingMb(member: Member): Promise<number> {
  let last = rssMb(member);
  for (let calm = 0, tries = 0; calm < 3 && tries < 60; tries += 1) {
    await sleep(1_000);
    const now = rssMb(member);
    calm = Math.abs(now - last) < 1 ? calm + 1 : 0;
    last = now;
  }
  return last;
}

/** Mails per second at 1, 16 and 64 connections; returns the rate at 16. */
async function smtpLevels(
  name: string,
  targets: readonly string[],
  goal16?: number,
): Promise<number> {
  let at16 = 0;
  for (const connections of [1, 16, 64]) {
    const result = await smtpLoad(targets, { ...spread, connections, seconds });
    const slow = `p50 ${result.p50Ms} ms, p99 ${result.p99Ms} ms`;
    put({
      name: `${name}, ${connections} connection${connections === 1 ? "" : "s"}`,
      value: result.perSecond,
      unit: "mails/s",
      ...(goal16 !== undefined && connections === 16 ? { goal: atLeast(goal16) } : {}),
      note: `${slow}${result.faults > 0 ? `, ${result.faults} FAULTS` : ""}`,
    });
    if (connections === 16) at16 = result.perSecond;
  }
  return at16;
}

/** A connection for each mail, and how long the greeting takes then. */
async function connectionPerMail(name: string, targets: readonly string[]): Promise<void> {
  const flags = { ...spread, connections: 16, seconds, "per-connection": 1, warmup: 20 };
  const result = await smtpLoad(targets, flags);
  const slow = `p50 ${result.p50Ms} ms, p99 ${result.p99Ms} ms`;
  put({
    name: `${name}, a connection per mail`,
    value: result.perSecond,
    unit: "mails/s",
    note: slow,
  });
  putGreeting(`${name}, SMTP greeting`, result, name === "bare smtp-server");
}

function putGreeting(
  name: string,
  result: { readonly greetingP50Ms: number | null; readonly greetingP99Ms: number | null },
  reference = false,
): void {
  put({
    name,
    value: result.greetingP50Ms,
    unit: "ms p50",
    ...(reference ? {} : { goal: atMost(20) }),
    note: `p99 ${result.greetingP99Ms} ms, 16 connections`,
  });
}

let bareRate: number | undefined;

async function measureReference(): Promise<void> {
  const { target, child } = await reference("bare");
  bareRate = await smtpLevels("bare smtp-server", [target]);
  await connectionPerMail("bare smtp-server", [target]);
  child.kill("SIGKILL");
  const ours = await reference("ours");
  await smtpLevels("our listener, no store", [ours.target]);
  ours.child.kill("SIGKILL");
}

function putShare(name: string, rate: number): void {
  if (bareRate === undefined) return;
  const value = (100 * rate) / bareRate;
  put({ name: `${name}, share of bare`, value, unit: "%", note: "16 connections" });
}

/** One node, from its start to holding many messages; the sections share it. */
async function measureOneNode(wanted: ReadonlySet<string>): Promise<void> {
  const ring = await grow(1);
  const node = ring.member(0);
  if (wanted.has("hold")) {
    const value = await restingMb(node);
    put({ name: "one node, RSS at rest", value, unit: "MB", goal: atMost(120) });
  }
  await addMailboxes(ring);
  if (wanted.has("smtp")) {
    putShare("one node", await smtpLevels("one node", [node.smtp], 3_000));
  }
  if (wanted.has("connections")) await connectionPerMail("one node", [node.smtp]);
  if (wanted.has("pop3")) await measurePop3("one node", [node.pop3], [node.smtp], true);
  if (wanted.has("hold")) await measureHolding(ring, node);
  await ring.stopAll();
}

async function measurePop3(
  name: string,
  pop3: readonly string[],
  smtp: readonly string[],
  goals: boolean,
): Promise<void> {
  // Enough mails in each maildrop to measure fetching, not logging in.
  await smtpLoad(smtp, { ...spread, connections: 16, mails: mailboxes * 100 });
  const login = { mailboxes, password, connections: 8 };
  const cold = await pop3Load(pop3, { ...login, sessions: mailboxes, retrievals: 0 });
  put({
    name: `${name}, POP3 first login`,
    value: cold.loginP50Ms,
    unit: "ms p50",
    note: `p99 ${cold.loginP99Ms} ms, 8 at once, the password is hashed`,
  });
  for (const pipelined of [false, true]) {
    const result = await pop3Load(pop3, { ...login, connections: 16, seconds, pipelined });
    const how = pipelined ? "pipelined" : "lock-step";
    const slow = pipelined ? "" : `p50 ${result.p50Ms} ms, p99 ${result.p99Ms} ms, `;
    put({
      name: `${name}, POP3 ${how}`,
      value: result.perSecond,
      unit: "RETR/s",
      ...(goals ? { goal: atLeast(pipelined ? 15_000 : 8_000) } : {}),
      note: `${slow}login p50 ${result.loginP50Ms} ms${result.faults > 0 ? ", FAULTS" : ""}`,
    });
    if (!pipelined) putGreeting(`${name}, POP3 greeting`, result);
  }
}

async function measureHolding(ring: Ring, node: Member): Promise<void> {
  const held = (await ring.status()).members[0]?.messages ?? 0;
  const mails = Math.max(0, heldMessages - held);
  if (mails > 0) await smtpLoad([node.smtp], { ...spread, connections: 64, mails, warmup: 0 });
  const messages = (await ring.status()).members[0]?.messages ?? 0;
  const many = `${messages} messages of 4 KiB`;
  put({ name: "one node, RSS holding them", value: await restingMb(node), unit: "MB", note: many });
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    await node.kill(signal);
    const beganMs = performance.now();
    await node.restart();
    put({
      name: `one node, start-up after ${signal}`,
      value: (performance.now() - beganMs) / 1_000,
      unit: "s",
      goal: atMost(2),
      note: many,
    });
  }
  const value = await restingMb(node);
  put({ name: "one node, RSS after start-up", value, unit: "MB", note: many });
}

async function measureRing(): Promise<void> {
  const ring = await grow(3);
  await addMailboxes(ring);
  const smtp = ring.members.map((member) => member.smtp);
  const pop3 = ring.members.map((member) => member.pop3);
  putShare("ring of three", await smtpLevels("ring of three", smtp, 1_200));
  await connectionPerMail("ring of three", smtp);
  await measurePop3("ring of three", pop3, smtp, false);
  await ring.stopAll();
}

const sections = ["reference", "smtp", "connections", "pop3", "hold", "ring"];
const wanted = new Set(values.only?.split(",") ?? sections);
for (const name of wanted) {
  if (!sections.includes(name)) throw new Error(`--only ${name}: one of ${sections.join(", ")}`);
}
try {
  if (wanted.has("reference")) await measureReference();
  const oneNode = ["smtp", "connections", "pop3", "hold"];
  if (oneNode.some((name) => wanted.has(name))) await measureOneNode(wanted);
  if (wanted.has("ring")) await measureRing();
} finally {
  for (const ring of rings) {
    await ring.stopAll();
    ring.remove("everything");
  }
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "?"}, ${memory}`;
  const head = `Node ${process.version}, ${machine}, mails of 4 KiB, ${mailboxes} mailboxes`;
  process.stdout.write(`\n${head}${quick ? ", --quick" : ""}\n\n${table(figures)}\n`);
  if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
}
