import type { AdminCaller } from "../shared/admin.js";
import { createOutput, type Output } from "./output.js";

/** What the commands need from outside; tests bring their own. */
export interface World {
  readonly output: Output;
  readonly stdin: NodeJS.ReadStream;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** How to start `chord` again: the program and the arguments before the command's. */
  readonly self: { readonly command: string; readonly args: readonly string[] };
  /** `credentials`: a secrets directory; absent: that of the member asked, if it is here. */
  caller(options?: CallerOptions): Promise<AdminCaller>;
}

export interface CallerOptions {
  readonly credentials?: string | undefined;
  readonly deadlineMs?: number;
}

export function processWorld(): World {
  const { env, stdin, stdout, stderr } = process;
  return {
    output: createOutput({ stdout, stderr, env }),
    stdin,
    env,
    cwd: process.cwd(),
    self: { command: process.execPath, args: [...process.execArgv, process.argv[1] ?? ""] },
    // Loaded when needed: gRPC would triple the time of `chord --help`.
    caller: async (options) => (await import("./caller.js")).memberCaller(options),
  };
}
