import { CommanderError } from "commander";
import { ConfigError } from "../config/index.js";
import { AdminError } from "../shared/admin.js";
import { CliError, exitCodes, oneLine } from "./errors.js";
import { createProgram } from "./program.js";
import type { World } from "./world.js";

/**
 * Runs one command line to its end and returns the exit code. Whatever goes wrong is said in
 * exactly one line on stderr.
 */
export async function main(argv: readonly string[], world: World): Promise<number> {
  let exitCode: number = exitCodes.ok;
  const program = createProgram(world, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(argv, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
    const { line, code } = judge(error);
    world.output.note(`chord: ${oneLine(line)}`);
    return code;
  }
}

function judge(error: unknown): { readonly line: string; readonly code: number } {
  if (error instanceof CommanderError) {
    // Without the value of an option that we don't know: it may be a password.
    const message = error.message.replace(/'(--[\w-]+)=[^']*'/, "'$1'");
    const line = `${message.replace(/^error: /, "").replace(/\.$/, "")}; see chord --help`;
    return { line, code: exitCodes.usage };
  }
  if (error instanceof ConfigError) return { line: error.message, code: exitCodes.usage };
  if (error instanceof CliError) return { line: error.message, code: error.exitCode };
  if (error instanceof AdminError) {
    const code = error.code === "invalid" ? exitCodes.usage : exitCodes.refused;
    return { line: error.message, code };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { line: `internal error, please report it: ${text}`, code: exitCodes.failed };
}
