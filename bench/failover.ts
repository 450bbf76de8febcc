/**
 * npm run bench:failover [-- --trials 60] [-- --only kill,freeze,heal,two] [-- --json]
 *
 * How long clients wait when members die, freeze or are cut off: real processes on loopback, and
 * the goals beside the figures. All probes of a trial run at the same time. Needs a build.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { ringIdOf } from "../src/ring/identifier.js";
import type { MemberStatus } from "../src/shared/admin.js";
import type { Member } from "../tests/support/member.js";
import { Pop3Client } from "../tests/support/pop3-client.js";
import { adminWithin, domain, password, Ring } from "../tests/support/ring.js";
import { waitUntil } from "../tests/support/wait.js";
import { Cable, type CutMode } from "./cable.js";
import { Times } from "./client.js";
import { type Figure, table } from "./figures.js";
import { login, retrieve, send } from "./probes.js";

const { values } = parseArgs({
  options: {
    trials: { type: "string", default: "60" },
    only: { type: "string", default: "kill,freeze,heal,two" },
    json: { type: "boolean", default: false },
  },
});
const trials = Number(values.trials);
const admin = adminWithin(5_000);
const rings: Ring[] = [];
const figures: Figure[] = [];

function note(text: string): void {
  process.stderr.write(`failover: ${text}\n`);
}

/** Quantiles of one kind of wait, with the goals in milliseconds. */
function put(name: string, times: Times, goals: Goals[string]): void {
  const quantiles = [
    ["median", 0.5, goals.p50],
    ["p99", 0.99, goals.p99],
    ["worst", 1, goals.worst],
  ] as const;
  for (const [what, share, value] of quantiles) {
    figures.push({
      name: `${name}, ${what}`,
      value: times.quantile(share),
      unit: "ms",
      ...(value !== undefined && { goal: { kind: "atMost", value } as const }),
    });
  }
}

/** Times by name, in the order in which they first came. */
class Sheet {
  readonly #times = new Map<string, Times>();

  add(name: string, ms: number): void {
    const times = this.#times.get(name) ?? new Times();
    this.#times.set(name, times);
    times.add(ms);
  }

  put(prefix: string, goals: Goals): void {
    for (const [name, times] of this.#times) put(`${prefix}, ${name}`, times, goals[name] ?? {});
  }
}

async function grow(members: number, cables: Cable[] = []): Promise<Ring> {
  note(`starting a ring of ${members}`);
  const ring = new Ring({ members, replicas: 2 });
  rings.push(ring);
  for (let n = 0; n < members; n += 1) {
    const cable = cables[n];
    if (cable) process.env["grpc_proxy"] = await cable.listen();
    const member = await ring.make();
    ring.members.push(member);
    member.start();
    delete process.env["grpc_proxy"];
    await member.ready();
    await settled(ring);
  }
  return ring;
}

const statusOf = (member: Member): Promise<MemberStatus> => admin(member.addr, "memberStatus", {});

/** Every running member is active at one epoch and knows its neighbours. */
async function settled(ring: Ring): Promise<void> {
  await waitUntil(
    async () => {
      const all = await Promise.all(ring.running.map(statusOf));
      const epochs = new Set(all.map(({ rosterEpoch }) => rosterEpoch));
      return all.every(({ state }) => state === "active") && epochs.size === 1 && areIdeal(all);
    },
    { deadlineMs: 60_000, what: "the ring to settle", everyMs: 50 },
  );
}

function clockwise(ring: Ring): Member[] {
  return ring.members.toSorted((a, b) => Number(a.id) - Number(b.id));
}

/** Successors and predecessors as they should be among all of them. */
function areIdeal(all: readonly MemberStatus[]): boolean {
  const ids = all.map(({ id }) => Number(id)).sort((a, b) => a - b);
  return all.every(({ id, successors, predecessor }) => {
    const at = ids.indexOf(Number(id));
    const others = [...ids.slice(at + 1), ...ids.slice(0, at)];
    return (
      successors.map(Number).join() === others.slice(0, 4).join() &&
      (others.length === 0 || Number(predecessor) === others.at(-1))
    );
  });
}

/** `count` accounts for each member to be the first owner of, by the member's place. */
async function addAccounts(ring: Ring, count: number): Promise<string[][]> {
  const members = clockwise(ring);
  const byOwner: string[][] = members.map(() => []);
  for (let n = 0; byOwner.some((names) => names.length < count); n += 1) {
    const key = ringIdOf(`user-${n}@${domain}`, ring.bits);
    const at = members.findIndex(({ id }) => BigInt(id) >= key);
    const names = byOwner[at < 0 ? 0 : at];
    if (names && names.length < count) names.push(`user-${n}`);
  }
  for (const name of byOwner.flat()) {
    await admin(ring.entry.addr, "userAdd", { name: `${name}@${domain}`, password });
  }
  return byOwner;
}

/** Roles of the accounts of one owner; the rest are for cold logins, a new one each time. */
const warmInside = 0;
const warmOutside = 1;
const mailed = 2;
const read = 3;
const held = 4;
const firstCold = 5;
const coldAccounts = 6;

interface Trial {
  readonly sheet: Sheet;
  readonly victim: number;
  readonly round: number;
  readonly members: readonly Member[];
  readonly accounts: readonly (readonly string[])[];
  readonly strike: () => Promise<unknown>;
}

/** All probes at once around one stroke of fate; resolves when all have succeeded. */
async function trial({ sheet, victim, round, members, accounts, strike }: Trial): Promise<void> {
  const after = (steps: number): Member => {
    const member = members[(victim + steps) % members.length];
    if (!member) throw new Error("no such member");
    return member;
  };
  const account = (role: number, owner = victim): string =>
    accounts[owner % members.length]?.[role] ?? "";
  await login(after(1).pop3, account(warmInside));
  await login(after(3).pop3, account(warmOutside));
  const session = await Pop3Client.login(after(3).pop3, account(read), password);
  // The lock lies where the victim is, or where it isn't, in turn.
  const lockOwner = victim + (round % 2);
  const holder = await Pop3Client.login(after(0).pop3, account(held, lockOwner), password);
  const cold = account(firstCold + (round % coldAccounts));
  const large = retrieve(session, 2);
  await sleep(1);
  const struck = strike();
  const time = async (name: string, probe: Promise<number>): Promise<void> => {
    sheet.add(name, await probe);
  };
  const lockBeganMs = performance.now();
  await Promise.all([
    time("login inside the group", login(after(1).pop3, account(warmInside))),
    time("login outside the group", login(after(3).pop3, account(warmOutside))),
    time("first login (the password is hashed)", login(after(4).pop3, cold)),
    time("mail", send(after(4).smtp, account(mailed))),
    time("RETR under way, 1 MiB", large).then(() =>
      time("RETR in an open session", retrieve(session, 1)),
    ),
    time("login to a maildrop locked there", lockFree(after(2), lockOwner, lockBeganMs)),
  ]);
  await struck;
  await session.quit();
  holder.destroy();

  function lockFree(at: Member, owner: number, beganMs: number): Promise<number> {
    return login(at.pop3, account(held, owner), beganMs);
  }
}

async function fill(ring: Ring, accounts: readonly (readonly string[])[]): Promise<void> {
  for (const names of accounts) {
    await send(ring.entry.smtp, names[read] ?? "");
    await send(ring.entry.smtp, names[read] ?? "", 1024 * 1024);
  }
  for (const member of ring.members) await warmUp(member, accounts[0]?.[mailed] ?? "");
  await ring.copiesEqual(
    accounts.flatMap((names) => names[read] ?? []),
    { copies: 3 },
  );
}

type Goals = Record<string, { p50?: number; p99?: number; worst?: number }>;

/** A process that has just begun is slow for other reasons; those that are alive have served before. */
async function warmUp(member: Member, account: string): Promise<void> {
  for (let n = 0; n < 20; n += 1) await login(member.pop3, account);
  for (let n = 0; n < 10; n += 1) await send(member.smtp, account);
}

const killGoals: Goals = {
  "login inside the group": { p50: 150, p99: 500 },
  "login outside the group": { p50: 150, p99: 500 },
  "first login (the password is hashed)": { p50: 150, p99: 500 },
  mail: { p50: 150, p99: 500 },
  "RETR in an open session": { p50: 150, p99: 500 },
  "RETR under way, 1 MiB": { p99: 1_500 },
  "login to a maildrop locked there": { worst: 2_000 },
};
const freezeGoals: Goals = Object.fromEntries(
  Object.entries(killGoals).map(([name, { p99 }]) => [
    name,
    p99 === undefined ? { worst: 2_000 } : { p99: 1_500 },
  ]),
);

async function measureKill(): Promise<void> {
  const ring = await grow(5);
  const accounts = await addAccounts(ring, firstCold + coldAccounts);
  await fill(ring, accounts);
  const members = clockwise(ring);
  const sheet = new Sheet();
  for (let n = 0; n < trials; n += 1) {
    const victim = n % members.length;
    const member = members[victim];
    if (!member) continue;
    const round = Math.floor(n / members.length);
    const strike = (): Promise<unknown> => member.kill("SIGKILL");
    await trial({ sheet, victim, round, members, accounts, strike });
    await member.restart();
    await settled(ring);
    await warmUp(member, accounts[victim]?.[mailed] ?? "");
    // A restarted member grants no locks for one lease.
    await sleep(1_600);
  }
  sheet.put("kill -9", killGoals);
  await ring.stopAll();
}

async function measureFreeze(): Promise<void> {
  const ring = await grow(5);
  const accounts = await addAccounts(ring, firstCold + coldAccounts);
  await fill(ring, accounts);
  const members = clockwise(ring);
  const sheet = new Sheet();
  for (let n = 0; n < trials; n += 1) {
    const victim = n % members.length;
    const member = members[victim];
    const other = members[(victim + 3) % members.length];
    if (!member || !other) continue;
    const round = Math.floor(n / members.length);
    const strike = (): Promise<unknown> => member.kill("SIGSTOP");
    const beganMs = performance.now();
    await trial({ sheet, victim, round, members, accounts, strike });
    // While links are found to be silent and given up, too.
    for (let worst = 0; ; ) {
      worst = Math.max(worst, await login(other.pop3, accounts[victim]?.[warmOutside] ?? ""));
      if (performance.now() - beganMs < 3_000) continue;
      sheet.add("worst login of three seconds", worst);
      break;
    }
    await member.kill("SIGCONT");
    await sleep(200);
    await settled(ring);
    await sleep(600);
  }
  sheet.put("SIGSTOP", { ...freezeGoals, "worst login of three seconds": { p99: 1_500 } });
  await ring.stopAll();
}

/** In a ring of two the survivor has to notice that it is alone before it may go on. */
async function measureTwo(): Promise<void> {
  const ring = await grow(2);
  const accounts = await addAccounts(ring, 2);
  const sheet = new Sheet();
  for (let n = 0; n < trials; n += 1) {
    const victim = n % 2;
    const [member, other] = [ring.member(victim), ring.member(1 - victim)];
    const signal = n % 4 < 2 ? "SIGKILL" : "SIGSTOP";
    const [loggedIn = "", mailTo = ""] = accounts[n % 2] ?? [];
    await login(other.pop3, loggedIn);
    const struck = member.kill(signal);
    await Promise.all([
      login(other.pop3, loggedIn).then((ms) => sheet.add(`${signal}, login`, ms)),
      send(other.smtp, mailTo).then((ms) => sheet.add(`${signal}, mail`, ms)),
    ]);
    await struck;
    if (signal === "SIGSTOP") await member.kill("SIGCONT");
    else await member.restart();
    await sleep(200);
    await settled(ring);
    await sleep(1_600);
  }
  const quick = { p50: 150, p99: 500 };
  sheet.put("ring of two", {
    ...{ "SIGKILL, login": quick, "SIGKILL, mail": quick },
    ...{ "SIGSTOP, login": { p99: 1_500 }, "SIGSTOP, mail": { p99: 1_500 } },
  });
  await ring.stopAll();
}

async function measureHeal(): Promise<void> {
  const cables = Array.from({ length: 5 }, () => new Cable());
  const ring = await grow(5, cables);
  const accounts = (await addAccounts(ring, 1)).flat();
  const members = clockwise(ring);
  const sheet = new Sheet();
  for (let n = 0; n < trials; n += 1) {
    const mode: CutMode = n % 2 === 0 ? "reset" : "silent";
    // Neighbours in every second pair of trials, otherwise the split goes across.
    const others = n % 4 < 2 ? [1, 2] : [0, 3];
    const isApart = (place: number): boolean => others.includes((place + n) % 5);
    for (const [index, from] of ring.members.entries()) {
      for (const [place, to] of members.entries()) {
        if (isApart(members.indexOf(from)) !== isApart(place)) cables[index]?.cut(to.addr, mode);
      }
    }
    // Through a member of the side that the majority of the mailbox's group is on.
    const frontOf = (owner: number): string => {
      const group = [owner, owner + 1, owner + 2].map((place) => place % 5);
      const apart = group.filter(isApart).length >= 2;
      return members[group.find((place) => isApart(place) === apart) ?? 0]?.smtp ?? "";
    };
    await Promise.all([
      ...accounts.map((name, owner) => send(frontOf(owner), name)),
      sleep(3_000 + 1_000 * (n % 5)),
    ]);
    for (const cable of cables) cable.mend();
    const split = await healed(ring, accounts);
    for (const [what, ms] of Object.entries(split)) sheet.add(`${mode}, ${what}`, ms);
    note(`${n + 1}: ${mode} ${JSON.stringify(split)}`);
    await sleep(1_000);
  }
  const goal = { worst: 5_000 };
  sheet.put("healed", {
    ...{ "reset, pointers": goal, "silent, pointers": goal },
    ...{ "reset, roster and links": goal, "silent, roster and links": goal },
    ...{ "reset, replicas": goal, "silent, replicas": goal },
  });
  await ring.stopAll();
  for (const cable of cables) cable.close();
}

/** When each part of the ring is whole again, in milliseconds from now. */
async function healed(ring: Ring, accounts: readonly string[]): Promise<Record<string, number>> {
  const beganMs = performance.now();
  const since = async (what: string, condition: () => Promise<boolean>): Promise<number> => {
    await waitUntil(condition, { deadlineMs: 60_000, what, everyMs: 50 });
    return performance.now() - beganMs;
  };
  const [pointers, links, replicas] = await Promise.all([
    since("pointers", async () => areIdeal(await Promise.all(ring.members.map(statusOf)))),
    since("roster and links", async () => {
      const views = await Promise.all(ring.members.map(({ addr }) => admin(addr, "status", {})));
      const lines = views.flatMap(({ members }) => members);
      const epochs = new Set(lines.map(({ rosterEpoch }) => rosterEpoch));
      return lines.length === 25 && epochs.size === 1 && lines.every((m) => m.state === "active");
    }),
    since("replicas", async () => {
      for (const name of accounts) {
        const { copies, equal } = await admin(ring.entry.addr, "locate", {
          address: `${name}@${domain}`,
        });
        if (!equal || copies.filter(({ inGroup }) => inGroup).length !== 3) return false;
      }
      return true;
    }),
  ]);
  return { pointers, "roster and links": links, replicas };
}

const sections = { kill: measureKill, freeze: measureFreeze, two: measureTwo, heal: measureHeal };
try {
  for (const [name, measure] of Object.entries(sections)) {
    if (values.only.split(",").includes(name)) await measure();
  }
} finally {
  for (const ring of rings) {
    await ring.stopAll();
    ring.remove("everything");
  }
  process.stdout.write(`\nNode ${process.version}, ${trials} trials each\n\n${table(figures)}\n`);
  if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
}
