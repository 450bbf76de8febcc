import { join } from "node:path";
import type { StatusReply } from "../../src/shared/admin.js";
import { type ProcessResult, runOk, runProcess } from "./process.js";

/** The built command, run as its users run it. RINGPOST_BIN points the tests at another build. */
export const chordBin =
  process.env["RINGPOST_BIN"] ?? join(import.meta.dirname, "../../dist/chord.js");

/** Runs `chord …` to its end, whatever its exit code. */
export function chord(
  args: readonly string[],
  options: { readonly stdin?: string; readonly deadlineMs?: number } = {},
): Promise<ProcessResult> {
  return runProcess(process.execPath, [chordBin, ...args], options);
}

/** Runs `chord …`; throws with its output unless it exits with 0. */
export async function chordOk(
  args: readonly string[],
  options: { readonly stdin?: string; readonly deadlineMs?: number } = {},
): Promise<string> {
  const result = await runOk(process.execPath, [chordBin, ...args], options);
  return result.stdout.toString();
}

export async function addUser(entry: string, name: string, password: string): Promise<void> {
  await chordOk(["user", "add", name, "--entry", entry, "--password-stdin"], {
    stdin: `${password}\n`,
  });
}

export async function status(entry: string): Promise<StatusReply> {
  return JSON.parse(await chordOk(["status", "--entry", entry, "--json"])) as StatusReply;
}
