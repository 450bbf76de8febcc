/**
 * npm run soak -- --runs 200 --seconds 10 [--parallel 2] [--first-seed 1] [--members 4] [--json]
 *
 * Many short drills with successive seeds, each a fresh ring. Prints a line per run that failed,
 * with its seed and where its logs are, and a table of all. Needs a build. Exits with 1 if any
 * failed.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { type Wrong, wrongs } from "../src/drill/book.js";
import { type DrillReport, type FaultRecord, recoveryTable } from "../src/drill/report.js";
import { chordBin } from "../tests/support/chord.js";
import { endWithUs } from "../tests/support/process.js";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "200" },
    seconds: { type: "string", default: "10" },
    parallel: { type: "string", default: "1" },
    "first-seed": { type: "string", default: "1" },
    /** Otherwise three, four and five in turn. */
    members: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const runs = Number(values.runs);
const firstSeed = Number(values["first-seed"]);

interface Totals {
  runs: number;
  failed: number;
  /** Runs that gave no report. */
  broken: number;
  offered: number;
  acknowledged: number;
  refused: number;
  unanswered: number;
  fetched: number;
  deleted: number;
  wrong: Record<Wrong, number>;
  problems: number;
  faults: FaultRecord[];
}

const totals: Totals = {
  ...{ runs: 0, failed: 0, broken: 0, offered: 0, acknowledged: 0, refused: 0, unanswered: 0 },
  ...{ fetched: 0, deleted: 0, problems: 0 },
  wrong: { lost: 0, doubled: 0, resurrected: 0, corrupt: 0, refused: 0 },
  faults: [],
};

async function runOne(seed: number): Promise<void> {
  const members = values.members ?? String(3 + (seed % 3));
  const minutes = String(Number(values.seconds) / 60);
  const args = ["drill", "--json", "--minutes", minutes, "--members", members];
  const child = spawn(process.execPath, [chordBin, ...args, "--seed", String(seed)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  endWithUs(child);
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit"),
  ]);
  totals.runs += 1;
  let report: DrillReport;
  try {
    report = JSON.parse(stdout) as DrillReport;
  } catch {
    totals.broken += 1;
    console.log(`seed ${seed}, ${members} members: no report: ${stderr.trim().split("\n").at(-1)}`);
    return;
  }
  add(report);
  if (!report.ok) console.log(failureLine(report));
  if (totals.runs % 10 === 0) process.stderr.write(`soak: ${totals.runs} of ${runs} runs\n`);
}

function add({ ok, mails, wrong, problems, faults }: DrillReport): void {
  if (!ok) totals.failed += 1;
  for (const key of ["offered", "acknowledged", "refused", "unanswered"] as const) {
    totals[key] += mails[key];
  }
  totals.fetched += mails.fetched;
  totals.deleted += mails.deleted;
  for (const key of wrongs) totals.wrong[key] += wrong[key];
  totals.problems += problems.length;
  totals.faults.push(...faults);
}

function failureLine({ seed, members, wrong, problems, kept }: DrillReport): string {
  const broken = wrongs.filter((key) => wrong[key] > 0).map((key) => `${wrong[key]} ${key}`);
  const said = [...broken, ...problems].join("; ");
  return `seed ${seed}, ${members} members: ${said}; kept in ${kept}`;
}

function summary(): string[] {
  const { wrong, faults } = totals;
  const line = (name: string, count: number): string =>
    `  ${name.padEnd(24)}${count.toLocaleString("en-US").padStart(12)}`;
  return [
    "",
    `${totals.runs} runs of ${values.seconds} s`,
    line("failed", totals.failed),
    line("without a report", totals.broken),
    line("mails offered", totals.offered),
    line("acknowledged", totals.acknowledged),
    line("refused, sent again", totals.refused),
    line("unanswered, sent again", totals.unanswered),
    line("fetched and compared", totals.fetched),
    line("deleted", totals.deleted),
    ...wrongs.map((key) => line(key === "refused" ? "turned away" : key, wrong[key])),
    line("other problems", totals.problems),
    "",
    ...recoveryTable(faults),
  ];
}

async function work(): Promise<void> {
  while (next < firstSeed + runs && !isStopped) {
    const seed = next;
    next += 1;
    await runOne(seed);
  }
}

let next = firstSeed;
let isStopped = false;
// Ctrl-C ends the drills too, by their own handling; a SIGTERM lets the running ones finish.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    isStopped = true;
  });
}
await Promise.all(Array.from({ length: Number(values.parallel) }, work));
if (values.json) console.log(JSON.stringify(totals));
else for (const text of summary()) console.log(text);
process.exitCode = totals.failed + totals.broken > 0 ? 1 : 0;
