/** A run: peers send each other messages through the relay while they and members of the ring are killed. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createDice, type Dice } from "../../../src/drill/dice.js";
import { password, type Ring } from "../../support/ring.js";
import type { Chances, Fault } from "./faults.js";
import { type Judgement, judge } from "./judge.js";
import { PeerProcess } from "./peer-process.js";
import { planOf } from "./plan.js";
import { HostileRelay } from "./relay.js";
import type { PeerTask } from "./task.js";

export interface RunOptions {
  readonly seed: number;
  readonly peers: number;
  readonly messages: number;
  readonly largest: number;
  readonly chances: Chances;
  /** On average; 0: never. */
  readonly killPeerEveryMs: number;
  readonly killMemberEveryMs: number;
  /** Then nothing new is sent. */
  readonly sendingMs: number;
  /** From then on, or from when all is sent, for all to be consumed. */
  readonly deadlineMs: number;
  /** Told now and then how far it is. */
  readonly progress?: (judgement: Judgement, report: Pick<Report, "mails" | "kills">) => void;
  readonly keep?: boolean;
}

export interface Report extends Judgement {
  readonly faults: ReadonlyMap<Fault, number>;
  readonly kills: { readonly peers: number; readonly members: number };
  readonly mails: number;
  readonly mailOctets: number;
  readonly seconds: number;
  /** Where the books and journals are, if they were to be kept. */
  readonly folder: string;
}

/** How long to wait at a time for a member that is back. */
const settledMs = 5_000;
/** How long all are watched after everything was consumed and everybody was killed once more. */
const afterwardsMs = 3_000;

export async function run(ring: Ring, options: RunOptions): Promise<Report> {
  const drill = await Drill.set(ring, options);
  try {
    return await drill.run();
  } finally {
    await drill.close();
  }
}

class Drill {
  readonly #peers = new Map<string, { process: PeerProcess; life: number }>();
  readonly #dice: Dice;
  readonly #names: readonly string[];
  readonly #kills = { peers: 0, members: 0 };
  #isOver = false;
  #mayEndAtMs = Infinity;
  #failure: Error | undefined;

  private constructor(
    private readonly ring: Ring,
    private readonly options: RunOptions,
    private readonly relay: HostileRelay,
    private readonly folder: string,
  ) {
    this.#dice = createDice(options.seed);
    this.#names = Array.from({ length: options.peers }, (_, n) => `peer${options.seed}x${n}`);
  }

  static async set(ring: Ring, options: RunOptions): Promise<Drill> {
    const { seed, chances } = options;
    const relay = await HostileRelay.start({ seed, chances, members: ring.members });
    const folder = mkdtempSync(join(tmpdir(), "ringpost-relay-"));
    return new Drill(ring, options, relay, folder);
  }

  async run(): Promise<Report> {
    const startMs = performance.now();
    await this.ring.addUsers(this.#names);
    await this.#setUp();
    const killers = [
      this.#often(this.options.killPeerEveryMs, () => this.#killPeer(this.#dice.pick(this.#names))),
      this.#often(this.options.killMemberEveryMs, () => this.#killMember()),
    ];
    await this.#untilConsumed();
    this.#isOver = true;
    await Promise.all(killers);
    // Whoever is asked once more has nothing more to say.
    await Promise.all(this.#names.map((name) => this.#killPeer(name)));
    await sleep(afterwardsMs);
    return {
      ...this.#judge(),
      ...{ faults: this.relay.faults, kills: this.#kills },
      ...{ mails: this.relay.mails, mailOctets: this.relay.octets, folder: this.folder },
      seconds: (performance.now() - startMs) / 1_000,
    };
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#peers.values()].map(({ process }) => process.kill()));
    await this.relay.close();
    if (this.options.keep !== true) rmSync(this.folder, { recursive: true, force: true });
  }

  get #plan() {
    const { seed, messages, largest } = this.options;
    return { seed, messages, largest, peers: this.#names };
  }

  async #setUp(): Promise<void> {
    for (const name of this.#names) {
      mkdirSync(join(this.folder, name));
      this.#start(name, 1, false);
    }
    const all = [...this.#peers.values()].map(({ process }) => process);
    for (const [word, order] of [
      ["declared", "subscribe"],
      ["ready", "go"],
    ] as const) {
      await Promise.all(all.map((process) => process.says(word)));
      for (const process of all) process.order(order);
    }
  }

  #start(name: string, life: number, isSetUp: boolean): void {
    const process = new PeerProcess();
    this.#peers.set(name, { process, life });
    const task: PeerTask = {
      ...{ name, password, life, isSetUp, plan: this.#plan, servers: this.relay.endpoints },
      ...{ folder: join(this.folder, name), sendUpTo: 0, hasBroker: true },
    };
    const sendUpTo = this.#isStopped ? 0 : this.options.messages;
    void process.begin({ ...task, sendUpTo });
    void process.ended.then(({ signal }) => {
      if (signal !== "SIGKILL") this.#failure ??= new Error(`${name}: ${process.failure}`);
    });
  }

  #judge(): Judgement {
    const peers = this.#names.map((name) => ({ name, plan: planOf(this.#plan, name) }));
    return judge(this.folder, peers);
  }

  get #isStopped(): boolean {
    return this.#mayEndAtMs < Infinity;
  }

  #stopSending(): void {
    if (this.#isStopped) return;
    this.#mayEndAtMs = performance.now() + this.options.deadlineMs;
    for (const { process } of this.#peers.values()) process.order("stop");
  }

  async #untilConsumed(): Promise<void> {
    const stopAtMs = performance.now() + this.options.sendingMs;
    for (;;) {
      await sleep(1_000);
      if (this.#failure !== undefined) throw this.#failure;
      const judgement = this.#judge();
      this.options.progress?.(judgement, { mails: this.relay.mails, kills: this.#kills });
      const { isComplete, lost, wrong, doubled, disordered } = judgement;
      if (isComplete || performance.now() > stopAtMs) this.#stopSending();
      if (this.#isStopped && lost.length === 0) return;
      if (wrong.length + doubled.length + disordered.length > 0) return;
      if (performance.now() > this.#mayEndAtMs) return;
    }
  }

  async #often(everyMs: number, work: () => Promise<void>): Promise<void> {
    if (everyMs === 0) return;
    let waitMs = everyMs * (0.5 + this.#dice.next());
    while (!this.#isOver) {
      await sleep(100);
      waitMs -= 100;
      if (waitMs > 0 || this.#isOver) continue;
      try {
        await work();
      } catch (error) {
        this.#failure ??= error instanceof Error ? error : new Error(String(error));
      }
      waitMs = everyMs * (0.5 + this.#dice.next());
    }
  }

  async #killPeer(name: string): Promise<void> {
    const peer = this.#peers.get(name);
    if (peer === undefined) return;
    await peer.process.kill();
    if (peer.process.failure !== undefined) throw new Error(`${name}: ${peer.process.failure}`);
    this.#kills.peers += 1;
    this.#start(name, peer.life + 1, true);
  }

  async #killMember(): Promise<void> {
    const member = this.#dice.pick(this.ring.members);
    await member.kill();
    this.#kills.members += 1;
    await sleep(this.#dice.whole(500, 4_000));
    await member.restart();
    // One at a time: two of three would be no majority. On a machine that is so busy that members lose sight
    // of each other it takes long; whether anything is lost meanwhile, the books tell.
    while (!this.#isOver) {
      const isSettled = await this.ring.settled(settledMs).then(
        () => true,
        () => false,
      );
      if (isSettled) return;
    }
  }
}
