/**
 * One peer is killed at moments of its journal: the first process at the first, the next one, which goes
 * on with what that left, at the second, and so on until a few in a row end before theirs.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { readFileSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { waitUntil } from "../../../src/drill/wait.js";
import { password, type Ring } from "../../support/ring.js";
import { brisk } from "./chances.js";
import type { Moment } from "./crashing-files.js";
import { type Judgement, judge } from "./judge.js";
import { PeerProcess } from "./peer-process.js";
import { type PlanOptions, planOf } from "./plan.js";
import { HostileRelay } from "./relay.js";
import type { PeerTask } from "./task.js";

export interface WalkOptions {
  readonly side: "sender" | "receiver";
  readonly seed: number;
  /** One for each life. */
  readonly moments: readonly Moment[];
}

export interface Walked {
  /** What the processes were killed at, in order. */
  readonly killedAt: readonly string[];
  /** What they did not come to before their work was done. */
  readonly missed: readonly string[];
  readonly judgement: Judgement;
}

/** One octet, one in the record of the journal, one in a file of its own, which takes several mails. */
const sizes = [1, 5_000, 300_000] as const;
const chances = { ...brisk, sizesMax: [200_000] };
const messagesMax = 6_000;
const lifeMs = 90_000;
/** The number of steps is not the same in each life. */
const endsInARow = 3;

export async function walk(ring: Ring, options: WalkOptions): Promise<Walked> {
  const walker = await Walker.set(ring, options);
  try {
    return await walker.walk();
  } finally {
    await walker.close();
  }
}

class Walker {
  readonly #folder = mkdtempSync(join(tmpdir(), "ringpost-walk-"));
  readonly #names: readonly [mortal: string, steady: string];
  readonly #processes = new Set<PeerProcess>();
  readonly #note = join(this.#folder, "steps");
  /** Loaded while the one before it lives. */
  #spare: PeerProcess;

  private constructor(
    private readonly options: WalkOptions,
    private readonly relay: HostileRelay,
  ) {
    const { side, seed } = options;
    this.#names = [`mortal-${side}-${seed}`, `steady-${side}-${seed}`];
    for (const name of this.#names) mkdirSync(join(this.#folder, name));
    this.#spare = this.#process();
  }

  static async set(ring: Ring, options: WalkOptions): Promise<Walker> {
    const { seed } = options;
    const relay = await HostileRelay.start({ seed, chances, members: ring.members });
    const walker = new Walker(options, relay);
    await ring.addUsers(walker.#names);
    return walker;
  }

  async walk(): Promise<Walked> {
    const { side, moments } = this.options;
    const isSender = side === "sender";
    const steady = this.#process();
    await steady.begin({
      ...this.#task(this.#names[1], 1),
      ...(isSender ? { sendUpTo: 0 } : { sendUpTo: messagesMax, unsettledMax: 2 * sizes.length }),
    });
    const missed: string[] = [];
    let [life, ends] = [0, 0];
    for (const moment of moments) {
      // What one of a name needs may have come in the life before it.
      const tries = "what" in moment ? endsInARow : 1;
      let hasEnded = true;
      for (let n = 0; n < tries && hasEnded; n += 1) {
        hasEnded = await this.#live((life += 1), moment);
        ends = hasEnded ? ends + 1 : 0;
        if (steady.isEnded) throw new Error(`the steady peer: ${steady.failure}`);
      }
      if (hasEnded) missed.push("what" in moment ? moment.what : `step ${moment.step}`);
      if (ends >= endsInARow) break;
    }
    steady.order("stop");
    await this.#begin(this.#task(this.#names[0], messagesMax));
    const judgement = await waitUntil(
      () => {
        const now = this.#judge();
        const isOver = now.lost.length === 0 || now.doubled.length + now.wrong.length > 0;
        if (isOver) return now;
        throw new Error(`on their way: ${now.lost.slice(0, 10).join("; ")}`);
      },
      { deadlineMs: lifeMs, what: "all to be consumed", everyMs: 200 },
    );
    // Had somebody something to say again, it would come with the next polls.
    await sleep(1_000);
    const told = existsSync(this.#note) ? readFileSync(this.#note, "utf8") : "";
    return {
      killedAt: told.split("\n").slice(0, -1),
      missed,
      judgement: { ...judgement, ...this.#judge() },
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#processes].map((process) => process.kill()));
    await this.relay.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** True when it came to its end before that. */
  async #live(life: number, moment: Moment): Promise<boolean> {
    const isSender = this.options.side === "sender";
    const process = await this.#begin({
      ...this.#task(this.#names[0], life),
      ...(isSender ? { sendUpTo: sizes.length * life, endAfter: 0 } : { endAfter: sizes.length }),
      crashAt: { ...moment, note: this.#note },
    });
    const late = sleep(lifeMs, undefined, { ref: false }).then(() => "late" as const);
    const end = await Promise.race([process.ended, late]);
    if (end === "late") throw new Error(`${JSON.stringify(moment)}: it neither ended nor died`);
    if (end.signal !== "SIGKILL" && end.code !== 0) throw new Error(process.failure);
    return end.code === 0;
  }

  async #begin(task: PeerTask): Promise<PeerProcess> {
    const process = this.#spare;
    this.#spare = this.#process();
    await process.begin(task);
    return process;
  }

  #process(): PeerProcess {
    const process = new PeerProcess();
    this.#processes.add(process);
    void process.ended.then(() => this.#processes.delete(process));
    return process;
  }

  #task(name: string, life: number): PeerTask {
    return {
      ...{ name, password, life, plan: this.#plan, servers: this.relay.endpoints },
      ...{ folder: join(this.#folder, name), sendUpTo: 0, hasBroker: false, isSetUp: true },
      // So that it is rewritten in each life.
      compactFromOctets: 8 * 1024,
    };
  }

  get #plan(): PlanOptions {
    return {
      seed: this.options.seed,
      messages: 2 * messagesMax,
      largest: 1,
      peers: this.#names,
      sizes,
    };
  }

  #judge(): Judgement {
    const peers = this.#names.map((name) => ({ name, plan: planOf(this.#plan, name) }));
    return judge(this.#folder, peers);
  }
}
