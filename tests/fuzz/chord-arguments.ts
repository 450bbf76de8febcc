/** The command line: whatever is typed, it is a command or one line says why not. */
import fc from "fast-check";
import { CommanderError } from "commander";
import { ConfigError } from "../../src/config/index.js";
import { CliError } from "../../src/cli/errors.js";
import { main } from "../../src/cli/main.js";
import { createProgram } from "../../src/cli/program.js";
import { fakeWorld } from "../../src/cli/testing.js";
import { check, fuzzer } from "./fuzzer.js";

const words = [
  ...["user", "add", "passwd", "remove", "list", "status", "locate", "lookup", "leave", "evict"],
  ...["repair", "restore", "up", "drill", "help", "--help", "--version", "--json", "--entry"],
  ...[
    "127.0.0.1:5000",
    "--force",
    "--id",
    "--from",
    "5",
    "alice",
    "--bits",
    "--",
    "-x",
    "--password-stdin",
  ],
  ...[
    "--addr",
    "--conf",
    "--nodes",
    "--seed",
    "",
    "--entry=",
    "--id=7",
    "__proto__",
    "--__proto__",
  ],
];
const word = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...words) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 12 }) },
);

/** Commands that only ask members; the others start processes or write files. */
const asking = new Set(["user", "status", "locate", "lookup", "evict", "repair", "restore"]);

export const chordArguments = fuzzer({
  name: "chord-arguments",
  testRuns: 300,
  inputs: fc.array(word, { maxLength: 7 }),
  async run(argv) {
    const world = fakeWorld({ stdin: "secret\n" });
    if (asking.has(argv[0] ?? "")) {
      const code = await main(argv, world);
      const isHelp = code === 0 && world.stdoutLines.length > 0;
      check(isHelp || code === 1 || code === 2, () => `exit code ${code}`);
      if (isHelp) return;
      check(world.stdoutLines.length === 0, () => `says ${world.stdoutLines.join()}`);
      const said = world.stderrLines.filter((line) => line.startsWith("chord: "));
      check(said.length === 1, () => `${said.length} lines: ${world.stderrLines.join(" / ")}`);
      check(!/[\p{Cc}]/u.test(said[0] ?? ""), () => `not one line: ${JSON.stringify(said)}`);
      return;
    }
    // What would be run is only noted.
    const run: string[] = [];
    const program = createProgram(world, () => undefined);
    for (const command of [program, ...program.commands]) {
      command.action(() => {
        run.push(command.name());
      });
    }
    try {
      await program.parseAsync([...argv], { from: "user" });
      check(run.length <= 1, () => `runs ${run.join()}`);
    } catch (error) {
      const isExpected =
        error instanceof CommanderError ||
        error instanceof CliError ||
        error instanceof ConfigError;
      check(isExpected, () => `throws ${String(error)}`);
    }
  },
});
