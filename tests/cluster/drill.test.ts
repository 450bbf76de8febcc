/** The drill that users run: it passes on a sound ring, and notices what it is there to notice. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import type { DrillReport } from "../../src/drill/report.js";
import { chordBin } from "../support/chord.js";
import { Pop3Client } from "../support/pop3-client.js";
import { endWithUs } from "../support/process.js";
import { waitUntil } from "../support/wait.js";

let folder = "";
afterEach((context) => {
  if (context.task.result?.state !== "fail") rmSync(folder, { recursive: true, force: true });
});

/** Starts `chord drill`, whose temporary directory comes into `folder`. */
function startDrill(args: readonly string[]) {
  folder = mkdtempSync(join(tmpdir(), "ringpost-test-"));
  const child = spawn(process.execPath, [chordBin, "drill", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TMPDIR: folder },
  });
  endWithUs(child);
  let progress = "";
  child.stderr.on("data", (chunk: Buffer) => {
    progress += chunk.toString();
  });
  const ended = Promise.all([text(child.stdout), once(child, "exit")]).then(([stdout, [code]]) => ({
    stdout,
    code: code as number,
    progress,
  }));
  return { child, ended, says: (words: string) => progress.includes(words) };
}

const short = ["--minutes", "0.1", "--members", "3"];

/** Process ids of members whose data lies in `folder`. */
function membersLeft(): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder);
    } catch {
      return false;
    }
  });
}

const gone = () =>
  waitUntil(() => membersLeft().length === 0, { deadlineMs: 60_000, what: "the members to end" });

test("a short drill passes and leaves nothing behind", async () => {
  const { code, stdout, progress } = await startDrill([...short, "--seed", "5", "--json"]).ended;
  const report = JSON.parse(stdout) as DrillReport;
  expect({ code, problems: report.problems, violations: report.violations }, progress).toEqual({
    code: 0,
    problems: [],
    violations: [],
  });
  expect(report).toMatchObject({ ok: true, seed: 5, members: 3 });
  expect(report.faults.length).toBeGreaterThan(0);
  expect(report.mails.acknowledged).toBeGreaterThan(0);
  expect(report.checked.mails).toBeGreaterThan(0);
  expect(readdirSync(folder)).toEqual([]);
  await gone();
}, 180_000);

/** Where a member of the drill serves POP3. */
function pop3Address(): string | undefined {
  const [drill] = readdirSync(folder);
  const log = join(folder, drill ?? "", "logs", "member-1.log");
  return /"pop3":"([^"]+)".*"msg":"ready"/.exec(readFileSync(log, "utf8"))?.[1];
}

/** Deletes what is in a mailbox of the drill, behind its back. */
async function stealMail(): Promise<boolean> {
  const client = await Pop3Client.login(pop3Address() ?? "", "kept-1", "correct horse", 5_000);
  try {
    const { messages } = await client.stat();
    for (let n = 1; n <= messages; n += 1) await client.expect(`DELE ${n}`);
    await client.quit();
    return messages > 0;
  } finally {
    client.destroy();
  }
}

test("mail that vanishes is reported as lost, and the logs are kept", async () => {
  const drill = startDrill(short);
  const deadlineMs = 60_000;
  await waitUntil(() => drill.says("mail is flowing"), { deadlineMs, what: "the drill to begin" });
  await waitUntil(stealMail, { deadlineMs, what: "mail to be stolen", everyMs: 20 });
  const { code, stdout } = await drill.ended;
  expect(code).toBe(1);
  expect(stdout).toMatch(/^FAILED: \d+ lost\.$/m);
  expect(stdout).toMatch(/^! lost: <\S+@load\.test> in kept-1$/m);
  expect(stdout).toMatch(/^ {4}\d+\.\d+ s: member \d said 250 2\.0\.0 \S+ stored=\d\/3$/m);
  const kept = /^Logs, data and report\.json are in (\S+)$/m.exec(stdout)?.[1] ?? "";
  expect(kept).toContain(folder);
  for (const name of ["report.json", "logs/member-1.log", "data/member-1"]) {
    expect(existsSync(join(kept, name)), name).toBe(true);
  }
  await gone();
}, 180_000);

test("Ctrl-C ends the members and removes the directory", async () => {
  const drill = startDrill(["--minutes", "5"]);
  const deadlineMs = 60_000;
  await waitUntil(() => drill.says("mail is flowing"), { deadlineMs, what: "the drill to begin" });
  drill.child.kill("SIGINT");
  expect((await drill.ended).code).toBe(130);
  expect(readdirSync(folder)).toEqual([]);
  await gone();
}, 120_000);
