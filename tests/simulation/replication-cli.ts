/**
 * The simulation by hand: `npm run simulate -- --seed 7`, or many seeds with `--seeds 1000`. Exits
 * with 1 when something that was promised did not hold.
 */
import { Command, InvalidArgumentError } from "commander";
import {
  allEvents,
  drawPlan,
  type EventKind,
  type Plan,
  type PlanOptions,
} from "./replication-plan.js";
import { runPlan, type Verdict } from "./replication-scenario.js";
import { keepOnly, keepText, nameOf, shrink } from "./replication-shrink.js";
import { tell } from "./replication-story.js";

interface CliOptions {
  readonly seed: number;
  readonly seeds: number;
  readonly members?: number;
  readonly minutes?: number;
  readonly events?: readonly EventKind[];
  readonly disks?: "memory" | "journal";
  readonly keep?: string;
  readonly trace?: boolean;
  readonly shrink: boolean;
}

const number = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError("not a number");
  return value;
};

const eventList = (text: string): readonly EventKind[] =>
  text.split(",").map((name) => {
    const kind = allEvents.find((known) => known === name);
    if (!kind) throw new InvalidArgumentError(`events are ${allEvents.join(", ")}`);
    return kind;
  });

const disksOf = (text: string): "memory" | "journal" => {
  if (text !== "memory" && text !== "journal") {
    throw new InvalidArgumentError("disks are memory or journal");
  }
  return text;
};

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

function planFor(seed: number, options: CliOptions): Plan {
  const { members, minutes, events, disks, keep } = options;
  const drawn: PlanOptions = {
    seed,
    ...(members !== undefined && { members }),
    ...(minutes !== undefined && { busyMs: minutes * 60_000 }),
    ...(events && { events }),
    ...(disks && { disks }),
  };
  const plan = drawPlan(drawn);
  return keep === undefined ? plan : keepOnly(plan, keep);
}

/** The command that runs the plan again. */
function commandFor(plan: Plan, options: CliOptions): string {
  const { minutes } = options;
  const words = [
    `npm run simulate -- --seed ${plan.seed} --members ${plan.members}`,
    ...(minutes === undefined ? [] : [`--minutes ${minutes}`]),
    `--events ${plan.kinds.join(",")}`,
    `--disks ${plan.disks} --keep ${keepText(plan.items)}`,
  ];
  return words.join(" ");
}

async function explain(plan: Plan, verdict: Verdict, options: CliOptions): Promise<void> {
  const name = nameOf(verdict.violations[0] ?? "");
  const small = await shrink(plan, name, {});
  print(
    `shrunk from ${plan.items.length} to ${small.plan.items.length} items in ${small.runs} runs:`,
  );
  for (const line of await tell(small.plan)) print(line);
  print(`again: ${commandFor(small.plan, options)}`);
}

/** One run, with its verdict. True when all held. */
async function runOne(seed: number, options: CliOptions): Promise<boolean> {
  const plan = planFor(seed, options);
  const witness = options.trace ? print : undefined;
  const verdict = await runPlan(plan, { ...(witness && { witness }) });
  const { mails, acknowledged, removed, epochs, restMs, violations, hash } = verdict;
  if (options.seeds === 1 || violations.length > 0) {
    print(
      `seed ${seed}: ${plan.members} members, ${plan.disks} disks, events ${plan.kinds.join(" ")}: ` +
        `${mails} mails, ${acknowledged} acknowledged, ${removed} deleted, ${epochs} epochs, ` +
        `at rest after ${restMs / 1_000} s`,
    );
    for (const violation of violations) print(`  VIOLATION ${violation}`);
    print(`  ${violations.length === 0 ? "all held" : "FAILED"}, hash ${hash}`);
  }
  if (violations.length > 0 && options.shrink) await explain(plan, verdict, options);
  return violations.length === 0;
}

async function run(options: CliOptions): Promise<void> {
  const startedMs = performance.now();
  const failed: number[] = [];
  const minutes = (): number => (performance.now() - startedMs) / 60_000;
  for (let done = 1; done <= options.seeds; done += 1) {
    const seed = options.seed + done - 1;
    if (!(await runOne(seed, options))) failed.push(seed);
    if (options.seeds > 1 && done % 100 === 0) {
      print(`${done} seeds, ${failed.length} failed, ${Math.round(done / minutes())} a minute`);
    }
  }
  if (options.seeds > 1) {
    const { seed, seeds } = options;
    print(
      `seeds ${seed} to ${seed + seeds - 1}: ${failed.length} failed` +
        `${failed.length > 0 ? ` (${failed.join(" ")})` : ""}, ` +
        `${minutes().toFixed(1)} minutes, ${Math.round(seeds / minutes())} seeds a minute`,
    );
  }
  if (failed.length > 0) process.exitCode = 1;
}

await new Command("simulate")
  .description("Whole rings of real members on simulated time, network and disks.")
  .option("--seed <n>", "the first seed", number, 1)
  .option("--seeds <count>", "how many seeds", number, 1)
  .option("--members <n>", "members at the start; drawn when absent", number)
  .option("--minutes <m>", "simulated time under load and faults; 25 s when absent", number)
  .option("--events <list>", `drawn when absent; of ${allEvents.join(",")}`, eventList)
  .option("--disks <kind>", "memory or journal; drawn when absent", disksOf)
  .option("--keep <items>", "only these items of the plan, as a shrunk run prints them")
  .option("--trace", "print everything that happens")
  .option("--no-shrink", "do not look for the shortest history of a failure")
  .action(run)
  .parseAsync();
