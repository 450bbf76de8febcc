import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export interface ProcessResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

const children = new Set<ChildProcess>();

/** Ends with this process, whatever way it ends: a test run must leave nothing behind. */
export function endWithUs(child: ChildProcess): void {
  children.add(child);
  child.once("exit", () => children.delete(child));
}

process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** Runs a program to its end. Does not throw on a failing exit code; does on a missed deadline. */
export function runProcess(
  command: string,
  args: readonly string[],
  options: {
    readonly stdin?: string | Buffer;
    readonly deadlineMs?: number;
    readonly env?: NodeJS.ProcessEnv;
    readonly cwd?: string;
  } = {},
): Promise<ProcessResult> {
  const deadlineMs = options.deadlineMs ?? 60_000;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: "pipe",
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
    });
    endWithUs(child);
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      const said = Buffer.concat([...stdout, ...stderr])
        .toString()
        .slice(-2_000);
      reject(new Error(`${command} ${args.join(" ")}: no end within ${deadlineMs} ms\n${said}`));
    }, deadlineMs);
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
    // A program that does not read its input to the end is judged by its exit code.
    child.stdin.on("error", () => undefined);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const texts = { stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
      resolve({ code, signal, ...texts });
    });
    child.stdin.end(options.stdin ?? "");
  });
}

/** As `runProcess`, and throws with what the program said unless it exits with 0. */
export async function runOk(...args: Parameters<typeof runProcess>): Promise<ProcessResult> {
  const result = await runProcess(...args);
  if (result.code !== 0) {
    const said = `${result.stdout.toString().slice(-2_000)}\n${result.stderr.slice(-2_000)}`;
    throw new Error(
      `${args[0]} ${args[1].join(" ")}: exit ${result.code ?? result.signal}\n${said}`,
    );
  }
  return result;
}

/** True when the program is in PATH. */
export function hasProgram(name: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Skips the running test, and says why in the report, when a program is not installed. */
export function needProgram(context: { skip(note?: string): void }, name: string): void {
  if (!hasProgram(name)) context.skip(`${name} is not installed`);
}
