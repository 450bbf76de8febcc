/** Runs the load generators and the reference server as processes of their own. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { endWithUs, runOk } from "../tests/support/process.js";
import { within } from "../tests/support/wait.js";
import type { Pop3LoadResult } from "./load-pop3.js";
import type { SmtpLoadResult } from "./load-smtp.js";

type Flags = Readonly<Record<string, string | number | boolean>>;

async function generate(script: string, flags: Flags): Promise<unknown> {
  const args = Object.entries(flags).flatMap(([name, value]) => {
    if (value === false) return [];
    return value === true ? [`--${name}`] : [`--${name}`, String(value)];
  });
  const file = join(import.meta.dirname, script);
  const { stdout } = await runOk(process.execPath, ["--import", "tsx", file, ...args], {
    deadlineMs: 600_000,
  });
  const result = JSON.parse(stdout.toString()) as { faults: number; faultCounts: object };
  if (result.faults > 0) {
    process.stderr.write(`${script}: faults ${JSON.stringify(result.faultCounts)}\n`);
  }
  return result;
}

export async function smtpLoad(targets: readonly string[], flags: Flags): Promise<SmtpLoadResult> {
  const all = { targets: targets.join(","), ...flags };
  return (await generate("load-smtp.ts", all)) as SmtpLoadResult;
}

export async function pop3Load(targets: readonly string[], flags: Flags): Promise<Pop3LoadResult> {
  const all = { targets: targets.join(","), ...flags };
  return (await generate("load-pop3.ts", all)) as Pop3LoadResult;
}

/**
 * Starts a server that stores nothing: `bare` is smtp-server that only drains, `ours` the node's
 * own listener with a receiver that answers at once.
 */
export async function reference(
  kind: "bare" | "ours",
): Promise<{ target: string; child: ChildProcess }> {
  const script = join(import.meta.dirname, "smtp-bare.ts");
  const child = fork(script, [kind], { execArgv: ["--import", "tsx"] });
  endWithUs(child);
  const [port] = (await within(once(child, "message"), 30_000, `${kind} server`)) as [number];
  return { target: `127.0.0.1:${port}`, child };
}
