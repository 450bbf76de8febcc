/** `npm run fuzz -- [--minutes N] [--only name,name] [--seed S] [--parallel 2]`: see tests/README.md. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { performance } from "node:perf_hooks";
import { fuzzers } from "./all.js";
import { campaign } from "./campaign.js";
import { saveToCorpus } from "./corpus.js";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    only: { type: "string" },
    seed: { type: "string" },
    parallel: { type: "string", default: "1" },
    /** Of one fuzzer, in this process. */
    worker: { type: "boolean", default: false },
  },
});
const minutes = number("minutes", values.minutes);
const seed =
  values.seed === undefined ? Math.floor(Math.random() * 2 ** 30) : number("seed", values.seed);
const only = values.only?.split(",");
const chosen = fuzzers.filter(({ name }) => only?.includes(name) ?? true);
if (chosen.length === 0) {
  throw new Error(
    `there is no fuzzer ${values.only}; there are ${fuzzers.map(({ name }) => name).join(" ")}`,
  );
}

/** End with this process. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill();
});

function number(option: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new Error(`--${option} ${text} is no number`);
}

if (values.worker) process.exitCode = (await runHere()) ? 0 : 1;
else process.exitCode = (await runAll()) ? 0 : 1;

/** One fuzzer in this process: heap and stalls are its own. */
async function runHere(): Promise<boolean> {
  const [fuzzer] = chosen;
  if (!fuzzer) return true;
  await fuzzer.open?.();
  const result = await campaign(fuzzer, { seed, untilMs: performance.now() + minutes * 60_000 });
  await fuzzer.close?.();
  const { name, executions, seconds, stallMs, heapGrowthOctets, failure } = result;
  const row = [
    name.padEnd(18),
    String(executions).padStart(11),
    (executions / seconds).toFixed(0).padStart(8),
    stallMs.toFixed(0).padStart(9),
    (heapGrowthOctets / 2 ** 20).toFixed(1).padStart(8),
    failure === undefined ? "" : `  FAILED, seed ${failure.seed}`,
  ];
  console.log(row.join(" "));
  if (failure === undefined) return true;
  console.log(`  ${failure.error}\n  kept as ${saveToCorpus(name, failure.input)}`);
  return false;
}

async function runAll(): Promise<boolean> {
  console.log(`seed ${seed}, ${minutes} min each; longest stall in ms, heap growth in MiB\n`);
  console.log("fuzzer              executions  per sec  stall ms heap MiB");
  const waiting = [...chosen];
  let allGood = true;
  const lane = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      if ((await runApart(next.name)) !== 0) allGood = false;
    }
  };
  await Promise.all(Array.from({ length: number("parallel", values.parallel) || 1 }, lane));
  return allGood;
}

function runApart(name: string): Promise<number> {
  const args = ["--worker", "--only", name, "--minutes", String(minutes), "--seed", String(seed)];
  const child = fork(fileURLToPath(import.meta.url), args, {
    execArgv: [...process.execArgv, "--expose-gc"],
  });
  running.add(child);
  return new Promise((resolve) => {
    child.once("close", (code) => {
      running.delete(child);
      resolve(code ?? 1);
    });
  });
}
