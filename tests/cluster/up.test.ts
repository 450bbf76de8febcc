/** `chord up` is the first thing a newcomer runs: what it prints has to work as it is printed. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { chordBin, status } from "../support/chord.js";
import { freeRingPorts } from "../support/ports.js";
import { endWithUs, hasProgram, runOk } from "../support/process.js";
import { waitUntil, within } from "../support/wait.js";

const folder = mkdtempSync(join(tmpdir(), "ringpost-test-"));
let up: ChildProcess | undefined;
let output = "";

afterEach(async (context) => {
  if (context.task.result?.state === "fail") process.stderr.write(output.slice(-20_000));
  if (up !== undefined && up.exitCode === null) {
    // Members outlive a killed parent, so they are ended one by one.
    const members = up.pid === undefined ? [] : childrenOf(up.pid);
    up.kill("SIGKILL");
    for (const pid of members) process.kill(pid, "SIGKILL");
  }
  rmSync(folder, { recursive: true, force: true });
});

function childrenOf(pid: number): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return list === "" ? [] : list.split(" ").map(Number);
}

/** The commands with `curl` in what was printed, continuation lines joined, prompts taken off. */
function printedCommands(): string[] {
  return output
    .replaceAll(/\\\n\s*/g, " ")
    .split("\n")
    .map((line) => line.replace(/^\s*(\$ )?/, ""))
    .filter((line) => /^(curl|printf|echo) /.test(line) && /\bcurl /.test(line));
}

test("three nodes, the printed commands, a killed member, SIGTERM", async (context) => {
  if (!hasProgram("curl")) context.skip("curl is not installed");
  const port = await freeRingPorts(6);
  const args = [chordBin, "up", "--nodes", "3", "--data", folder, "--port", String(port)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  endWithUs(child);
  up = child;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const entry = `127.0.0.1:${port}`;
  const threeActive = async (): Promise<boolean> => {
    const { members } = await status(entry);
    return members.length === 3 && members.every(({ state }) => state === "active");
  };

  await waitUntil(() => printedCommands().length >= 2, {
    deadlineMs: 90_000,
    what: "the commands to try",
  });
  await waitUntil(threeActive, { deadlineMs: 60_000, what: "three members", everyMs: 200 });

  // All in the order printed: the first ones send, the last one reads.
  let last = "";
  for (const command of printedCommands()) {
    last = (await runOk("bash", ["-c", command], { cwd: folder })).stdout.toString();
  }
  expect(last).toMatch(/^Return-Path: </m);

  const pid = child.pid ?? 0;
  const members = childrenOf(pid);
  expect(members).toHaveLength(3);
  const victim = members[1] ?? 0;
  process.kill(victim, "SIGKILL");
  await waitUntil(
    () => {
      const now = childrenOf(pid);
      return now.length === 3 && !now.includes(victim);
    },
    { deadlineMs: 60_000, what: "the killed member to be started again" },
  );
  await waitUntil(threeActive, { deadlineMs: 60_000, what: "three members again", everyMs: 200 });

  const all = childrenOf(pid);
  child.kill("SIGTERM");
  expect(await within(exited, 30_000, "chord up to end")).toBe(0);
  for (const member of all) expect(() => process.kill(member, 0), `pid ${member}`).toThrow();
}, 180_000);
