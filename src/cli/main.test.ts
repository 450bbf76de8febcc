import { describe, expect, test } from "vitest";
import { exitCodes } from "./errors.js";
import { main } from "./main.js";
import { fakeWorld } from "./testing.js";

async function run(...argv: readonly string[]) {
  const world = fakeWorld();
  const code = await main(argv, world);
  return { code, stdout: world.stdoutLines, stderr: world.stderrLines, calls: world.calls };
}

describe("wrong usage is one line on stderr and exit code 2", () => {
  test.each([
    ["", /--addr is missing.*chord up$/],
    ["--frobnicate", /unknown option '--frobnicate'; see chord --help$/],
    ["--bit 3", /unknown option '--bit'.*--bits/],
    ["--bits", /'--bits <n>' argument missing/],
    ["statsu", /no command "statsu"; did you mean "status"\?/],
    [
      "frobnicate",
      /no command "frobnicate"; there are up, drill, user, alias, domain, status, locate, lookup, token/,
    ],
    ["--entry a:1 status", /--entry stands before "status"; put it behind it$/],
    ["--id 9 --addr a:1 --bits 3", /--id 9: must be from 0 to 7 with --bits 3$/],
    ["--addr a:1 --conf /nonexistent", /--conf \/nonexistent: there is no such file/],
    ["--addr a:1 --limit pop3-idle=9", /--limit pop3-idle=9: .* did you mean "pop3-idle-time"\?$/],
    ["user", /chord user needs one of add, passwd, remove, list, show, /],
    ["alias", /chord alias needs one of add, remove or list; see chord alias --help$/],
    ["domain ad x", /no command "ad"; did you mean "add"\?/],
    ["alias add sales", /missing required argument 'target'/],
    ["user quota alice", /give --size SIZE, --messages N, or one of the words none and default$/],
    ["user quota alice lots", /give --size SIZE/],
    ["user quota alice none --size 1G", /give --size SIZE/],
    ["user quota alice --size big", /--size big: must be a size such as 500M or 10G, or none$/],
    [
      "user quota alice --messages 0",
      /--messages 0: must be a whole number from 1 to .*, or none$/,
    ],
    ["user ad alice", /no command "ad"; did you mean "add"\?/],
    ["user add", /missing required argument 'name'/],
    ["user add alice secret", /too many arguments/],
    ["user add alice --password=secret", /^(?!.*secret).*unknown option '--password/],
    ["user add alice", /no terminal to ask for the password; give it on stdin with --password-/],
    ["status --entry nowhere", /--entry nowhere: must be host:port/],
    ["status extra", /too many arguments/],
    ["locate", /missing required argument 'address'/],
    ["lookup", /missing required argument 'key'/],
    ["token --ttl 1y", /--ttl 1y: must be a time from 1s to 7d, for example 30m$/],
    ["--addr a:1 --token s3cret", /^(?!.*s3cret).*--token: must be what chord token printed/],
    ["evict", /missing required argument 'id'/],
    ["up --nodes 0", /--nodes 0: must be a whole number from 1 to 25$/],
    ["up --port 65500", /--port 65500: must be a whole number from 1 to 64538$/],
    ["up --bits 1 --nodes 3", /--bits 1: has only 2 ids, too few for 3 members$/],
    ["up --domain a_b!", /--domain a_b!: must be a name/],
  ])("chord %s", async (line, says) => {
    const { code, stdout, stderr } = await run(...line.split(" ").filter((word) => word !== ""));
    expect(stderr).toHaveLength(1);
    expect(stderr[0]).toMatch(says);
    expect(stderr[0]).toMatch(/^chord: [^\n]+$/);
    expect(stdout).toEqual([]);
    expect(code).toBe(exitCodes.usage);
  });
});

describe("what was asked for is on stdout, exit code 0", () => {
  test.each([
    [["--version"], /^\d+\.\d+\.\d+$/],
    [["--help"], /--evict-after <seconds>/],
    [["user", "add", "--help"], /--password-stdin/],
    [["up", "--help"], /--nodes <n>/],
    [["limits"], /^pop3-idle-time +600 +600 +604800 +seconds +between two commands .*RFC 1939/m],
  ])("chord %j", async (argv, says) => {
    const { code, stdout, stderr } = await run(...argv);
    expect(stdout.join("\n")).toMatch(says);
    expect(stderr).toEqual([]);
    expect(code).toBe(exitCodes.ok);
  });
});

test("an error of unknown kind is one line too, and no stack on other lines", async () => {
  const world = fakeWorld();
  const broken = { ...world, caller: () => Promise.reject(new Error("one\ntwo")) };
  expect(await main(["status"], broken)).toBe(exitCodes.failed);
  expect(world.stderrLines).toHaveLength(1);
  expect(world.stderrLines[0]).toMatch(/^chord: internal error, please report it: Error: one two/);
});
