/** One child process that is kept running: started, watched, started again, stopped. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, renameSync, statSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { type MemberInfo, readReport, supervisedVariable } from "./parent-link.js";

export interface SupervisorOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** The child's stdout and stderr, appended; only its owner may read it. */
  readonly logFile: string;
  readonly onEvent: (event: SupervisorEvent) => void;
  readonly timings?: Partial<SupervisorTimings>;
}

export interface SupervisorTimings {
  readonly backoffFirstMs: number;
  readonly backoffMaxMs: number;
  /** A child that ran this long is healthy: the next end is the first one again. */
  readonly healthyAfterMs: number;
  /** From the wish to stop to SIGKILL. */
  readonly stopDeadlineMs: number;
}

export type SupervisorEvent =
  | { readonly kind: "ready"; readonly info: MemberInfo }
  /** It ended on its own. `failures`: how often in a row; it starts again after `againInMs`. */
  | {
      readonly kind: "ended";
      readonly reason: string;
      readonly failures: number;
      readonly againInMs: number;
    }
  /** It left the ring, and is not started again. */
  | { readonly kind: "left" };

const timingsDefault: SupervisorTimings = {
  backoffFirstMs: 250,
  backoffMaxMs: 30_000,
  healthyAfterMs: 60_000,
  stopDeadlineMs: 28_000,
};
const logOctetsMax = 16 * 1024 * 1024;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #timings: SupervisorTimings;
  #child: ChildProcess | undefined;
  #closed: Promise<void> = Promise.resolve();
  #stopping = false;
  #left = false;
  #failures = 0;
  #startedAtMs = 0;
  #failedLine: string | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#timings = { ...timingsDefault, ...options.timings };
  }

  start(): void {
    if (this.#stopping) return;
    const { command, args, logFile } = this.#options;
    const log = openLog(logFile);
    this.#failedLine = undefined;
    this.#startedAtMs = performance.now();
    const child = spawn(command, args, {
      stdio: ["ignore", log, log, "ipc"],
      env: { ...process.env, [supervisedVariable]: "1" },
      // Ctrl-C reaches every process of the terminal's group; the members are stopped by us.
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    child.on("message", (message) => this.#onMessage(message));
    this.#closed = new Promise((resolve) => {
      let over = false;
      const end = (reason: string) => {
        if (over) return;
        over = true;
        resolve();
        this.#onEnd(reason);
      };
      child.once("error", (error) => end(error.message));
      child.once("exit", (code, signal) => end(this.#failedLine ?? inWords(code, signal)));
    });
  }

  /** Asks the child to stop and waits for its end; one that takes too long is killed. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#again);
    this.#child?.kill("SIGTERM");
    const killer = setTimeout(() => this.kill(), this.#timings.stopDeadlineMs);
    await this.#closed;
    clearTimeout(killer);
  }

  /** At once. */
  kill(): void {
    this.#stopping = true;
    clearTimeout(this.#again);
    this.#child?.kill("SIGKILL");
  }

  #onMessage(message: unknown): void {
    const report = readReport(message);
    if (report?.kind === "ready") this.#options.onEvent(report);
    if (report?.kind === "failed") this.#failedLine = report.line;
    if (report?.kind === "left") this.#left = true;
  }

  #onEnd(reason: string): void {
    if (this.#stopping) return;
    if (this.#left) {
      this.#options.onEvent({ kind: "left" });
      return;
    }
    const { backoffFirstMs, backoffMaxMs, healthyAfterMs } = this.#timings;
    const ranMs = performance.now() - this.#startedAtMs;
    this.#failures = ranMs >= healthyAfterMs ? 1 : this.#failures + 1;
    const againInMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** (this.#failures - 1));
    this.#again = setTimeout(() => this.start(), againInMs);
    this.#options.onEvent({ kind: "ended", reason, failures: this.#failures, againInMs });
  }
}

function inWords(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `exit code ${code ?? "unknown"}` : `signal ${signal}`;
}

/** One former log is kept, so that logs do not fill the disk over the months. */
function openLog(path: string): number {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > logOctetsMax) {
    renameSync(path, `${path}.1`);
  }
  return openSync(path, "a", 0o600);
}
