/** `chord up`: a ring on this machine in one command. */
import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { takeLock } from "../shared/lock.js";
import { makeDirectory } from "../shared/make-directory.js";
import { openEntry, upNoteName, type UpNote } from "./entry.js";
import { CliError, exitCodes } from "./errors.js";
import type { MemberInfo } from "./parent-link.js";
import { stopRequests } from "./stop-requests.js";
import { ensureAccounts, ensurePostmaster, trialAccounts } from "./up-accounts.js";
import { type PlannedMember, planUp, type UpOptions, type UpPlan } from "./up-plan.js";
import { UpRing } from "./up-ring.js";
import { readyText } from "./up-text.js";
import type { World } from "./world.js";

const agreementDeadlineMs = 60_000;

/** Runs until it is stopped; returns the exit code. @throws CliError, StoreLockedError */
export async function up(world: World, options: UpOptions): Promise<number> {
  const plan = planUp(options);
  const lock = await takeDirectory(plan.dataDir);
  try {
    await refuseTakenPorts(plan);
    return await runRing(world, plan);
  } finally {
    await rm(join(plan.dataDir, upNoteName), { force: true });
    await lock.release();
  }
}

async function takeDirectory(dataDir: string) {
  try {
    makeDirectory(dataDir);
    return await takeLock(dataDir, join(dataDir, "lock"));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if (error.name === "StoreLockedError") throw new CliError(error.message);
    throw new CliError(`${dataDir} can't be used (${error.message}); give another with --data`);
  }
}

async function refuseTakenPorts({ members, port }: UpPlan): Promise<void> {
  for (const { number, ports } of members) {
    for (const [use, wanted] of Object.entries(ports)) {
      const code = await bindError(wanted);
      if (code === undefined) continue;
      const why = code === "EADDRINUSE" ? "is already in use" : `can't be opened (${code})`;
      const other = port + 200 < 60_000 ? port + 200 : 5_000;
      const advice = `choose other ports, for example with --port ${other}`;
      throw new CliError(`port ${wanted} (${use} of node ${number}) ${why}; ${advice}`);
    }
  }
}

function bindError(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(undefined)));
  });
}

async function runRing(world: World, plan: UpPlan): Promise<number> {
  const { output, self } = world;
  const ring = new UpRing({ self, say: (line) => output.line(line) });
  const stop = stopRequests((code) => {
    ring.kill();
    process.exit(code);
  });
  const aborted = new AbortController();
  // Members get their own channel to notice when even this is not executed.
  process.once("exit", () => ring.kill());
  try {
    output.line(`Starting ${plan.members.length} members; logs in ${plan.dataDir}/node-*.log`);
    const opening = openRing(world, plan, { ring, signal: aborted.signal });
    const first = await Promise.race([opening, stop.requested]);
    if (first === "open") await stop.requested;
    else opening.catch(() => undefined);
    output.line("Stopping the members …");
    return exitCodes.ok;
  } finally {
    aborted.abort();
    await ring.stop();
    stop.release();
  }
}

interface Opening {
  readonly ring: UpRing;
  readonly signal: AbortSignal;
}

async function openRing(world: World, plan: UpPlan, { ring, signal }: Opening): Promise<"open"> {
  const infos = await startMembers(ring, plan.members);
  await noteMembers(plan);
  const accounts = await trialAccounts(plan.dataDir);
  const entry = await openEntry(world, { entry: plan.members[0]?.addr ?? "" });
  const patience = { deadlineMs: agreementDeadlineMs, signal };
  await ensureAccounts(entry, accounts, patience);
  await ensurePostmaster(entry, accounts[0]?.name ?? "", patience);
  const { domain, dataDir } = plan;
  for (const line of readyText({ domain, dataDir, members: infos, accounts })) {
    world.output.line(line);
  }
  return "open";
}

/**
 * Members with data know each other and may need each other: they start together. Then those
 * without join them; if nobody has data, the first founds the ring.
 */
async function startMembers(
  ring: UpRing,
  members: readonly PlannedMember[],
): Promise<readonly MemberInfo[]> {
  const known = members.filter(({ dataDir }) => existsSync(dataDir));
  const [first, ...later] = members.filter((member) => !known.includes(member));
  const founders = known.length > 0 || first === undefined ? known : [first];
  const joiners = founders === known && first !== undefined ? [first, ...later] : later;
  const entries = founders.map(({ addr }) => addr);
  const start = (member: PlannedMember) =>
    ring.start(
      member,
      entries.filter((addr) => addr !== member.addr),
    );
  const infos = [
    ...(await Promise.all(founders.map(start))),
    ...(await Promise.all(joiners.map(start))),
  ];
  return members.flatMap(({ addr }) => infos.filter((info) => info.addr === addr));
}

async function noteMembers({ dataDir, members }: UpPlan): Promise<void> {
  const note: UpNote = { pid: process.pid, members: members.map(({ addr }) => addr) };
  await writeFile(join(dataDir, upNoteName), `${JSON.stringify(note)}\n`, { mode: 0o600 });
}
