/** One peer: a process that is killed and started again on the same journal and books. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { waitUntil } from "../../../src/drill/wait.js";
import { endWithUs } from "../../support/process.js";
import type { PeerOrder, PeerTask, PeerWord } from "./task.js";

const program = join(import.meta.dirname, "peer.ts");
const deadlineMs = 120_000;

export interface PeerEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class PeerProcess {
  readonly #child: ChildProcess;
  readonly #said = new Set<string>();
  readonly ended: Promise<PeerEnd>;
  #output = "";
  /** Why it ended by itself. */
  failure: string | undefined;
  isEnded = false;

  /** Loads the program; what it is to do is told by `begin`. */
  constructor() {
    const child = fork(program, [], {
      execArgv: ["--import", "tsx", "--max-old-space-size=1024"],
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    endWithUs(child);
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on(
        "data",
        (text: Buffer) => (this.#output = (this.#output + String(text)).slice(-4_000)),
      );
    }
    child.on("message", (word: PeerWord) => {
      if (typeof word === "string") this.#said.add(word);
      else this.failure = word.failed;
    });
    // It may be killed while it is told something.
    child.on("error", () => undefined);
    this.ended = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        this.isEnded = true;
        if (code !== 0 && signal === null) this.failure ??= `exit ${code}: ${this.#output}`;
        resolve({ code, signal });
      });
    });
  }

  async begin(task: PeerTask): Promise<void> {
    await this.says("loaded");
    this.order({ task });
  }

  order(order: PeerOrder): void {
    this.#child.send(order, () => undefined);
  }

  /** Resolves when it has said so, or has ended. */
  async says(word: Extract<PeerWord, string>): Promise<void> {
    await waitUntil(() => this.#said.has(word) || this.isEnded, {
      deadlineMs,
      what: `a peer to be ${word}\n${this.#output}`,
      everyMs: 5,
    });
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.ended;
  }
}
