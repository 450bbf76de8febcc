/** The members of a drill as processes of this command. */
import { spawn } from "node:child_process";
import { closeSync, openSync, writeSync } from "node:fs";
import type { MemberProcess, SpawnOptions } from "../drill/member.js";
import { type MemberInfo, readReport, supervisedVariable } from "./parent-link.js";
import type { World } from "./world.js";

/** Starts `chord …`. The member ends by itself when this process is gone, however it went. */
export function spawnMember(self: World["self"], options: SpawnOptions): MemberProcess {
  const { args, env, logFile } = options;
  const log = openSync(logFile, "a", 0o600);
  writeSync(log, `--- chord ${args.join(" ")}\n`);
  const child = spawn(self.command, [...self.args, ...args], {
    stdio: ["ignore", log, log, "ipc"],
    env: { ...process.env, ...env, [supervisedVariable]: "1" },
    // Ctrl-C reaches every process of the terminal's group; the members are ended by us.
    detached: true,
  });
  closeSync(log);
  let failedLine: string | undefined;
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(failedLine ?? signal ?? `exit code ${code}`));
  });
  const ready = new Promise<MemberInfo | undefined>((resolve) => {
    child.on("message", (message) => {
      const report = readReport(message);
      if (report?.kind === "ready") resolve(report.info);
      if (report?.kind === "failed") failedLine = report.line;
    });
    void ended.then(() => resolve(undefined));
  });
  return {
    ready,
    ended,
    kill: (signal) => {
      child.kill(signal);
      note(logFile, signal);
    },
  };
}

/** So that the log tells what was done to the member. */
function note(logFile: string, signal: NodeJS.Signals): void {
  try {
    const log = openSync(logFile, "a");
    writeSync(log, `--- ${signal} at ${Date.now()}\n`);
    closeSync(log);
  } catch {
    // The folder is gone: nobody will read it.
  }
}
