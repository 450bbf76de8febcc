/**
 * npm run bench:recovery [-- --messages 100000] [--mailboxes 200]
 *
 * A ring of four with three copies of everything. One member is killed and evicted: how long until
 * there are three copies again, and what its clients notice meanwhile. Then an empty member joins:
 * how long that takes, and how many octets it is sent over how many it has to have. Needs a build.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { addUser, chordOk } from "../tests/support/chord.js";
import type { Member } from "../tests/support/member.js";
import { domain, password, Ring } from "../tests/support/ring.js";
import { waitUntil } from "../tests/support/wait.js";
import { mailboxName } from "./client.js";
import { type Figure, table } from "./figures.js";
import { smtpLoad } from "./generator.js";

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "100000" },
    mailboxes: { type: "string", default: "200" },
    json: { type: "boolean", default: false },
  },
});
const messages = Number(values.messages);
const mailboxes = Number(values.mailboxes);
const spread = { mailboxes, domain };
const recoveryDeadlineMs = 20 * 60_000;
const figures: Figure[] = [];

const note = (text: string): void => void process.stderr.write(`bench: ${text}\n`);

function put(figure: Figure): void {
  figures.push(figure);
  note(`${figure.name}: ${figure.value ?? "-"} ${figure.unit} ${figure.note ?? ""}`);
}

async function addMailboxes(ring: Ring): Promise<void> {
  const names = Array.from({ length: mailboxes }, (_, index) => mailboxName(index));
  const work = async (): Promise<void> => {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const added = name;
      await waitUntil(() => addUser(ring.entry.addr, added, password).then(() => true), {
        ...{ deadlineMs: 60_000, everyMs: 500 },
        what: `the account ${added}`,
      });
    }
  };
  await Promise.all([work(), work()]);
}

/** True when digests show that every key has all its copies, and no change is in progress. */
async function isWhole(ring: Ring, members: number): Promise<boolean> {
  const status = await ring.status();
  const { copies } = status;
  const active = status.members.filter(({ state }) => state === "active").length;
  const isFull = copies.complete && (copies.byCopies[copies.wanted] ?? 0) === copies.keys;
  return isFull && copies.keys >= mailboxes && active === members;
}

const untilWhole = (ring: Ring, members: number): Promise<unknown> =>
  waitUntil(() => isWhole(ring, members), {
    ...{ deadlineMs: recoveryDeadlineMs, everyMs: 250 },
    what: "all copies to be there",
  });

/** A few clients that send all the time, a second at a time, until they are told to stop. */
function clients(ring: Ring): { stop: () => Promise<void>; p50: () => string } {
  const seen: { p50Ms: number; p99Ms: number; mails: number; faults: number }[] = [];
  let stopped = false;
  const run = (async (): Promise<void> => {
    while (!stopped) {
      const targets = ring.running.map((member) => member.smtp);
      const flags = { ...spread, connections: 4, seconds: 3, warmup: 0 };
      const { p50Ms, p99Ms, mails, faults } = await smtpLoad(targets, flags);
      seen.push({ p50Ms: p50Ms ?? 0, p99Ms: p99Ms ?? 0, mails, faults });
    }
  })();
  return {
    stop: async () => {
      stopped = true;
      await run;
    },
    p50: () => {
      const mails = seen.reduce((sum, one) => sum + one.mails, 0);
      const faults = seen.reduce((sum, one) => sum + one.faults, 0);
      const middle = seen.map(({ p50Ms }) => p50Ms).sort((a, b) => a - b)[seen.length >> 1] ?? 0;
      const worst = Math.max(0, ...seen.map(({ p99Ms }) => p99Ms));
      return `${mails} mails, p50 ${middle} ms, worst p99 of 3 s ${worst} ms, ${faults} faults`;
    },
  };
}

/** Octets that the process has read so far, sockets and files. */
function octetsRead(member: Member): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${member.pid}/io`, "utf8"))?.[1] ?? 0);
}

async function lastLog(member: Member, message: string): Promise<Record<string, number>> {
  const line = await waitUntil(
    () =>
      member
        .tail(2_000)
        .split("\n")
        .filter((one) => one.includes(`"${message}"`))
        .at(-1),
    { deadlineMs: recoveryDeadlineMs, everyMs: 5, what: `${member.id} to log "${message}"` },
  );
  return JSON.parse(line) as Record<string, number>;
}

async function measureEviction(ring: Ring): Promise<void> {
  const calm = clients(ring);
  await sleep(9_000);
  await calm.stop();
  const victim = ring.member(3);
  await victim.kill("SIGKILL");
  const busy = clients(ring);
  await waitUntil(async () => (await ring.memberStatus(victim.id))?.state === "unreachable", {
    deadlineMs: 30_000,
    everyMs: 100,
    what: "the dead member to be noticed",
  });
  const beganMs = performance.now();
  await chordOk(["evict", victim.id, "--entry", ring.entry.addr], {
    deadlineMs: recoveryDeadlineMs,
  });
  const settledMs = performance.now() - beganMs;
  await busy.stop();
  await untilWhole(ring, 3);
  const logs = await Promise.all(ring.running.map((member) => lastLog(member, "ranges copied")));
  const copied = logs.reduce((sum, log) => sum + (log["messages"] ?? 0), 0);
  put({
    name: "eviction: until three copies of everything again",
    value: settledMs / 1_000,
    unit: "s",
    goal: { kind: "atMost", value: 60 },
    note: `${copied} mails copied`,
  });
  put({ name: "clients before", value: null, unit: "", note: calm.p50() });
  put({ name: "clients meanwhile", value: null, unit: "", note: busy.p50() });
}

async function measureJoin(ring: Ring): Promise<void> {
  const joiner = await ring.make();
  ring.members.push(joiner);
  const beganMs = performance.now();
  joiner.start();
  await lastLog(joiner, "roster");
  const before = octetsRead(joiner);
  const copied = await lastLog(joiner, "ranges copied");
  const read = octetsRead(joiner) - before;
  await joiner.ready(recoveryDeadlineMs);
  const took = performance.now() - beganMs;
  await ring.settled();
  const fetched = copied["octets"] ?? 0;
  const share = await ring.memberStatus(joiner.id);
  const owed = share?.messages ?? 0;
  put({
    name: "join of an empty member",
    value: took / 1_000,
    unit: "s",
    note: `${owed} mails, ${Math.round(fetched / 2 ** 20)} MiB, fetching ${copied["seconds"] ?? 0} s`,
  });
  put({
    name: "join: mails fetched over mails that it keeps",
    value: (copied["messages"] ?? 0) / owed,
    unit: "",
    goal: { kind: "atMost", value: 1.1 },
  });
  put({
    name: "join: octets its process read over octets of its mails",
    value: read / fetched,
    unit: "",
    note: `${Math.round(read / 2 ** 20)} MiB: protocol, ids, its own files`,
  });
}

const ring = new Ring({ members: 4, replicas: 2, args: ["--evict-after", "3600"] });
try {
  for (let n = 0; n < 4; n += 1) await ring.grow();
  await addMailboxes(ring);
  note(`loading ${messages} messages`);
  const smtp = ring.members.map((member) => member.smtp);
  await smtpLoad(smtp, { ...spread, connections: 64, mails: messages, warmup: 0 });
  await untilWhole(ring, 4);
  await measureEviction(ring);
  await measureJoin(ring);
} catch (error) {
  ring.printLogs();
  throw error;
} finally {
  await ring.stopAll();
  ring.remove("everything");
  const head = `Node ${process.version}, ${messages} messages of 4 KiB in ${mailboxes} mailboxes`;
  process.stdout.write(`\n${head}\n\n${table(figures)}\n`);
  if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
}
