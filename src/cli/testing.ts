/** A world for tests: what is written is kept, and members are made up. */
import { Readable } from "node:stream";
import {
  type AdminCaller,
  AdminError,
  type AdminMethod,
  type AdminMethods,
} from "../shared/admin.js";
import type { Output } from "./output.js";
import type { World } from "./world.js";

export type FakeMember = {
  readonly [M in AdminMethod]?: (
    args: AdminMethods[M]["args"],
  ) => AdminMethods[M]["reply"] | AdminError;
};

export interface FakeWorld extends World {
  readonly stdoutLines: string[];
  readonly stderrLines: string[];
  /** What `output.write` was given. */
  readonly written: Buffer[];
  /** `addr method {args}` of every call, in order. */
  readonly calls: string[];
  /** Secrets directories that were asked for; "" where that of the member asked is meant. */
  readonly credentials: string[];
}

interface FakeWorldOptions {
  /** Who answers where. Nobody answers elsewhere. */
  readonly members?: Readonly<Record<string, FakeMember>>;
  readonly stdin?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly isTerminal?: boolean;
  readonly ringpost?: World["ringpost"];
}

export function fakeWorld(options: FakeWorldOptions = {}): FakeWorld {
  const {
    members = {},
    stdin = "",
    env = {},
    cwd = "/nonexistent",
    isTerminal = false,
    ringpost,
  } = options;
  const stdoutLines: string[] = [];
  const stderrLines: string[] = [];
  const written: Buffer[] = [];
  const calls: string[] = [];
  const credentials: string[] = [];
  const output: Output = {
    line: (text = "") => void stdoutLines.push(text),
    write: async (octets) => void written.push(Buffer.from(octets)),
    note: (text) => void stderrLines.push(text),
    prompt: (text) => void stderrLines.push(text),
    style: (_style, text) => text,
    isTerminal,
    color: false,
  };
  const caller: AdminCaller = async (addr, method, args) => {
    calls.push(`${addr} ${method} ${JSON.stringify(args)}`);
    const answer = members[addr]?.[method]?.(args as never);
    if (answer === undefined) {
      throw new AdminError("unavailable", `no member can be reached at ${addr}: ECONNREFUSED`);
    }
    if (answer instanceof AdminError) throw answer;
    return answer as never;
  };
  return {
    output,
    stdin: Readable.from([stdin]) as unknown as NodeJS.ReadStream,
    env,
    cwd,
    self: { command: "/nonexistent", args: [] },
    caller: (asked) => {
      credentials.push(asked?.credentials ?? "");
      return Promise.resolve(caller);
    },
    ringpost: ringpost ?? (() => Promise.reject(new Error("no ring in this test"))),
    stdoutLines,
    stderrLines,
    written,
    calls,
    credentials,
  };
}
