import type { AdminCaller } from "../shared/admin.js";
import type { ConnectOptions, Ringpost } from "../sdk/index.js";
import type { CallerOptions } from "./caller.js";
import { createOutput, type Output } from "./output.js";

/** What the commands need from outside; tests bring their own. */
export interface World {
  readonly output: Output;
  readonly stdin: NodeJS.ReadStream;
  /** For what takes over the whole terminal; all else writes to `output`. */
  readonly stdout?: NodeJS.WriteStream;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** How to start `chord` again: the program and the arguments before the command's. */
  readonly self: { readonly command: string; readonly args: readonly string[] };
  caller(options?: CallerOptions): Promise<AdminCaller>;
  /** A client of the ring, as programs are. @throws RingpostError */
  ringpost(options: ConnectOptions): Promise<Ringpost>;
}

export function processWorld(): World {
  const { env, stdin, stdout, stderr } = process;
  return {
    output: createOutput({ stdout, stderr, env }),
    ...{ stdin, stdout },
    env,
    cwd: process.cwd(),
    self: { command: process.execPath, args: [...process.execArgv, process.argv[1] ?? ""] },
    // Loaded when needed: gRPC would triple the time of `chord --help`.
    caller: async (options) => (await import("./caller.js")).memberCaller(options),
    ringpost: async (options) => (await import("../sdk/index.js")).connect(options),
  };
}
