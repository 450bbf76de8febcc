/** `chord drill`: shows on this machine that the promises hold. */
import { randomInt } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseWhole } from "../config/index.js";
import { Drill } from "../drill/drill.js";
import { type DrillReport, reportText } from "../drill/report.js";
import { spawnMember } from "./drill-process.js";
import { CliError, exitCodes, usageError } from "./errors.js";
import { stopRequests } from "./stop-requests.js";
import type { World } from "./world.js";

export interface DrillCommandOptions {
  readonly minutes: string;
  readonly members: string;
  readonly replicas: string;
  readonly seed?: string;
  readonly json?: boolean;
  readonly keep?: boolean;
}

const minutesMax = 24 * 60;
const adminDeadlineMs = 5_000;

/** Returns 0 only if all is well. @throws CliError */
export async function drill(world: World, options: DrillCommandOptions): Promise<number> {
  const plan = planDrill(options);
  const folder = await mkdtemp(join(tmpdir(), "ringpost-drill-"));
  const { output, self } = world;
  const running = new Drill({
    ...plan,
    folder,
    spawn: (member) => spawnMember(self, member),
    admin: await world.caller({ deadlineMs: adminDeadlineMs }),
    say: (line) => output.note(line),
  });
  const stop = stopRequests((code) => process.exit(code));
  try {
    const run = running.run();
    const report = await Promise.race([run, stop.requested]);
    run.catch(() => undefined);
    await running.stop();
    if (typeof report === "string") {
      await rm(folder, { recursive: true, force: true });
      output.note(`stopped (${report}); nothing is left behind`);
      return exitCodes.cancelled;
    }
    return await conclude(world, options, report, folder);
  } catch (error) {
    await running.stop();
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(`the drill could not be held: ${why} (logs: ${join(folder, "logs")})`);
  } finally {
    stop.release();
  }
}

async function conclude(
  { output }: World,
  { json, keep }: DrillCommandOptions,
  found: DrillReport,
  folder: string,
): Promise<number> {
  const isKept = keep === true || !found.ok;
  const report = isKept ? { ...found, kept: folder } : found;
  if (isKept) await writeFile(join(folder, "report.json"), `${JSON.stringify(report)}\n`);
  else await rm(folder, { recursive: true, force: true });
  if (json === true) output.line(JSON.stringify(report));
  else for (const line of reportText(report)) output.line(line);
  return found.ok ? exitCodes.ok : exitCodes.refused;
}

function planDrill(options: DrillCommandOptions) {
  const minutes = Number(options.minutes);
  if (!(minutes > 0 && minutes <= minutesMax)) {
    throw usageError(`--minutes ${options.minutes}: must be a number above 0, at most 1440`);
  }
  const replicas = wholeOption("replicas", options.replicas, { min: 2, max: 6 });
  // A ring of two goes on with one copy when one is silent: it promises less than is drilled here.
  const members = wholeOption("members", options.members, { min: replicas + 1, max: 15 });
  const seed =
    options.seed === undefined
      ? randomInt(1_000_000)
      : wholeOption("seed", options.seed, { min: 0, max: 2 ** 31 });
  return { faultSeconds: Math.round(minutes * 600) / 10, replicas, members, seed };
}

function wholeOption(name: string, text: string, range: { min: number; max: number }): number {
  const parsed = parseWhole(text, range);
  if (parsed.ok) return parsed.value;
  throw usageError(`--${name} ${text}: must ${parsed.why}`);
}
