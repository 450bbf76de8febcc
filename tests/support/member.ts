import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { chordBin } from "./chord.js";
import { endWithUs } from "./process.js";
import { waitUntil, within } from "./wait.js";

const tailLinesMax = 2_000;

export interface MemberOptions {
  readonly id: string;
  readonly addr: string;
  readonly dataDir: string;
  /** Everything after `chord`. */
  readonly args: readonly string[];
  /** A program that runs the command given behind it, in another namespace for instance. */
  readonly launcher?: readonly string[] | undefined;
  /** More variables for the environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly logFile: string;
}

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One `chord` process and what it says. May be killed and started again, with the same data. */
export class Member {
  readonly id: string;
  readonly addr: string;
  readonly dataDir: string;
  /** Filled from the ready line. */
  smtp = "";
  pop3 = "";
  submission = "";
  submissions = "";
  pop3s = "";
  /** What the process wrote to stderr since its last start. */
  stderr = "";
  readonly #options: MemberOptions;
  readonly #tail: string[] = [];
  #log: WriteStream | undefined;
  #child: ChildProcess | undefined;
  #ready = false;
  #exited: Promise<Exit> = Promise.resolve({ code: null, signal: null });

  constructor(options: MemberOptions) {
    this.#options = options;
    this.id = options.id;
    this.addr = options.addr;
    this.dataDir = options.dataDir;
  }

  get running(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`member ${this.id} was not started`);
    return pid;
  }

  /** Resolves when the process that was started last has ended. */
  get exited(): Promise<Exit> {
    return this.#exited;
  }

  /** Starts the process; does not wait for it to be ready. `extra` goes behind the usual flags. */
  start(extra: readonly string[] = []): void {
    if (this.running) throw new Error(`member ${this.id} is running`);
    this.#ready = false;
    this.stderr = "";
    const log = createWriteStream(this.#options.logFile, { flags: "a" });
    // The folder may be gone before the last line is written.
    log.on("error", () => undefined);
    this.#log = log;
    const { launcher = [], env } = this.#options;
    const args = [...this.#options.args, ...extra];
    this.#keep(`--- start: chord ${args.join(" ")}`);
    const [command = process.execPath, ...rest] = [
      ...[...launcher, process.execPath, chordBin],
      ...args,
    ];
    const child = spawn(command, rest, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    endWithUs(child);
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        this.#keep(`--- ended: ${code ?? signal}`);
        log.end();
        resolve({ code, signal });
      });
    });
    createInterface({ input: child.stdout }).on("line", (line) => this.#onLine(line));
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.stderr += `${line}\n`;
      this.#keep(line);
    });
  }

  /** Resolves when the process has printed its ready line. Throws when it ends before. */
  async ready(deadlineMs = 60_000): Promise<this> {
    await waitUntil(
      () => {
        if (this.#ready || !this.running) return true;
        return false;
      },
      { deadlineMs, what: `member ${this.id} to be ready\n${this.tail(30)}`, everyMs: 10 },
    );
    if (!this.#ready) throw new Error(`member ${this.id} ended early\n${this.tail(30)}`);
    return this;
  }

  /** Sends a signal; for one that ends the process, waits for the end. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<Exit | undefined> {
    this.#keep(`--- ${signal}`);
    this.#child?.kill(signal);
    if (signal === "SIGSTOP" || signal === "SIGCONT") return undefined;
    return await within(this.#exited, 30_000, `member ${this.id} to end after ${signal}`);
  }

  async restart(deadlineMs?: number): Promise<this> {
    this.start();
    return await this.ready(deadlineMs);
  }

  /** Resolves when the process, since its last start, has written a line that matches. */
  async says(pattern: RegExp, deadlineMs = 30_000): Promise<void> {
    await waitUntil(() => this.#sinceStart().some((line) => pattern.test(line)), {
      deadlineMs,
      what: `member ${this.id} to say ${pattern}\n${this.tail(30)}`,
      everyMs: 2,
    });
  }

  #sinceStart(): readonly string[] {
    return this.#tail.slice(this.#tail.findLastIndex((line) => line.startsWith("--- start")) + 1);
  }

  /** The last lines of output. */
  tail(lines: number): string {
    return this.#tail.slice(-lines).join("\n");
  }

  #onLine(line: string): void {
    this.#keep(line);
    if (!line.includes('"ready"')) return;
    const fields = JSON.parse(line) as Record<string, unknown>;
    if (fields["msg"] !== "ready") return;
    this.smtp = String(fields["smtp"]);
    this.pop3 = String(fields["pop3"]);
    this.submission = String(fields["submission"]);
    this.submissions = String(fields["submissions"]);
    this.pop3s = String(fields["pop3s"]);
    this.#ready = true;
  }

  #keep(line: string): void {
    this.#tail.push(line);
    if (this.#tail.length > tailLinesMax) this.#tail.shift();
    if (this.#log?.writable === true) this.#log.write(`${line}\n`);
  }
}
