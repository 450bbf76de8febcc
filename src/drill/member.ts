/** One member of the drill's ring: a process that is killed, frozen, wiped and started again. */
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { MailServer } from "./load-options.js";
import { within } from "./wait.js";

/** A started `chord` process. */
export interface MemberProcess {
  /** Resolves when the member says that it is ready; undefined when it ended before. */
  readonly ready: Promise<{ readonly smtp: string; readonly pop3: string } | undefined>;
  /** Resolves with the reason in words when it has ended. */
  readonly ended: Promise<string>;
  kill(signal: NodeJS.Signals): void;
}

export interface SpawnOptions {
  /** What follows `chord`. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Its output is appended here. */
  readonly logFile: string;
}

export type Spawn = (options: SpawnOptions) => MemberProcess;

export interface MemberPlan extends SpawnOptions {
  /** From 1, as people count. */
  readonly number: number;
  readonly addr: string;
  readonly dataDir: string;
}

const readyDeadlineMs = 180_000;
const endDeadlineMs = 40_000;
const againMs = 300;

export class DrillMember implements MailServer {
  readonly id: string;
  readonly addr: string;
  smtp = "";
  pop3 = "";
  /** `gone`: it has left the ring for good. */
  state: "down" | "up" | "frozen" | "gone" = "down";
  /** Its end is expected. */
  isLeaving = false;
  #process: MemberProcess | undefined;
  #isClosed = false;

  constructor(
    private readonly plan: MemberPlan,
    private readonly spawn: Spawn,
    /** It ended although nobody had asked it to. */
    private readonly onAccident: (reason: string) => void,
  ) {
    this.id = String(plan.number);
    this.addr = plan.addr;
  }

  /** Clients may try it: they don't know that it is frozen. */
  get isListening(): boolean {
    return this.state === "up" || this.state === "frozen";
  }

  /**
   * Starts it and waits until it is ready. One that the ring can't take in at this moment ends and
   * is started again.
   */
  async start(entries: readonly string[]): Promise<void> {
    const { args } = this.plan;
    const more = entries.flatMap((entry) => ["--entry", entry]);
    const endMs = performance.now() + readyDeadlineMs;
    for (;;) {
      if (this.#isClosed) throw new Error("the drill is over");
      const started = this.spawn({ ...this.plan, args: [...args, ...more] });
      this.#process = started;
      const what = `member ${this.id} to be ready`;
      let info: Awaited<MemberProcess["ready"]>;
      try {
        info = await within(started.ready, endMs - performance.now(), what);
      } catch (error) {
        // The next start of this data must find nobody there.
        started.kill("SIGKILL");
        await started.ended;
        throw error;
      }
      if (this.#process !== started) return;
      if (info !== undefined) {
        this.smtp = info.smtp;
        this.pop3 = info.pop3;
        this.state = "up";
        this.#watch(started);
        return;
      }
      if (performance.now() > endMs) throw new Error(`${what}: ${await started.ended}`);
      await sleep(againMs);
    }
  }

  #watch(started: MemberProcess): void {
    void started.ended.then((reason) => {
      if (this.#process !== started || !this.isListening || this.isLeaving) return;
      this.state = "down";
      this.onAccident(reason);
    });
  }

  /** For good: it is not started again. Resolves when it has ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.end("SIGKILL");
  }

  /** Ends it: SIGKILL at once, SIGTERM in good order. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    if (this.state !== "gone") this.state = "down";
    this.#process?.kill(signal);
    await this.ended();
  }

  /** Resolves when the process has ended by itself. */
  async ended(): Promise<void> {
    const { ended } = this.#process ?? {};
    if (ended !== undefined) await within(ended, endDeadlineMs, `member ${this.id} to end`);
  }

  freeze(): void {
    this.state = "frozen";
    this.#process?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#process?.kill("SIGCONT");
    if (this.state === "frozen") this.state = "up";
  }

  /** Its disk is lost. To be called while it is down. */
  async wipe(): Promise<void> {
    await rm(this.plan.dataDir, { recursive: true, force: true });
  }
}
