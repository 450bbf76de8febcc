/** The drill's ring: its members, and what they say about themselves. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type AdminCaller, AdminError, type StatusReply } from "../shared/admin.js";
import type { Dice } from "./dice.js";
import { freeRingPort } from "./free-ports.js";
import type { MailService } from "./load-options.js";
import { DrillMember, type Spawn } from "./member.js";
import type { Network } from "./network.js";
import { waitUntil } from "./wait.js";

export interface DrillRingOptions {
  readonly folder: string;
  readonly replicas: number;
  readonly domain: string;
  readonly dice: Dice;
  readonly network: Network;
  readonly spawn: Spawn;
  readonly admin: AdminCaller;
  /** A member ended by itself. It is started again. */
  readonly onAccident: (member: DrillMember, reason: string) => void;
}

const bits = 16;
const pollMs = 100;

export class DrillRing implements MailService {
  readonly members: DrillMember[] = [];
  readonly #options: DrillRingOptions;
  /** Ring ids that were given out. */
  readonly #ids = new Set<number>();
  #isStopped = false;

  constructor(options: DrillRingOptions) {
    this.#options = options;
  }

  get running(): readonly DrillMember[] {
    return this.members.filter((member) => member.isListening);
  }

  get up(): readonly DrillMember[] {
    return this.members.filter((member) => member.state === "up");
  }

  /** Those on the roster, or about to be. */
  get present(): readonly DrillMember[] {
    return this.members.filter((member) => member.state !== "gone");
  }

  /** Full copies that a mailbox has when all is well. */
  get copies(): number {
    return Math.min(this.#options.replicas + 1, this.present.length);
  }

  /** Starts a ring of `count`: the first founds it, the others join. */
  async found(count: number): Promise<void> {
    const first = await this.plan();
    await first.start([]);
    const others: DrillMember[] = [];
    for (let n = 1; n < count; n += 1) others.push(await this.plan());
    await Promise.all(others.map((member) => member.start([first.addr])));
  }

  /** A member that is not started yet. */
  async plan(): Promise<DrillMember> {
    const { folder, replicas, domain, network, spawn } = this.#options;
    const number = this.members.length + 1;
    const addr = `127.0.0.1:${await freeRingPort()}`;
    const dataDir = join(folder, "data", `member-${number}`);
    mkdirSync(join(folder, "logs"), { recursive: true });
    const place = ["--id", String(this.#freeId()), "--addr", addr, "--bits", String(bits)];
    const rest = ["--replicas", String(replicas), "--domain", domain, "--data", dataDir];
    const member: DrillMember = new DrillMember(
      {
        number,
        addr,
        dataDir,
        args: [...place, ...rest],
        // A `no_proxy` of the user's would lead around the gate.
        env: { grpc_proxy: await network.gateOf(addr), no_grpc_proxy: "", no_proxy: "" },
        logFile: join(folder, "logs", `member-${number}.log`),
      },
      spawn,
      (reason) => this.#accident(member, reason),
    );
    this.members.push(member);
    return member;
  }

  /** Whom a member that starts may ask. */
  entriesFor(member: DrillMember): string[] {
    return this.present.filter((other) => other !== member).map(({ addr }) => addr);
  }

  async addAccounts(names: readonly string[], password: string): Promise<void> {
    await Promise.all(
      names.map((name) =>
        this.ask(async (addr) => {
          try {
            await this.#options.admin(addr, "userAdd", { name, password });
          } catch (error) {
            // The last try was slow to answer, and had done it.
            if (!(error instanceof AdminError && error.code === "exists")) throw error;
          }
        }),
      ),
    );
  }

  /** Asks one that is up; tries again elsewhere for a while. */
  async ask<T>(question: (addr: string) => Promise<T>, not?: DrillMember): Promise<T> {
    return (
      await waitUntil(
        async () => {
          const asked = this.#options.dice.pick(this.up.filter((member) => member !== not));
          return { reply: await question(asked.addr) };
        },
        { deadlineMs: 120_000, what: "a member to answer a command", everyMs: pollMs },
      )
    ).reply;
  }

  /** The roster's id of a member. */
  async idOf(member: DrillMember): Promise<string> {
    const { members } = await this.ask((addr) => this.#options.admin(addr, "status", {}));
    const found = members.find(({ addr }) => addr === member.addr);
    if (found === undefined) throw new Error(`member ${member.id} is not on the roster`);
    return found.id;
  }

  async leave(member: DrillMember): Promise<void> {
    const id = await this.idOf(member);
    member.isLeaving = true;
    // It may be gone before the answer is.
    const asked = this.ask((addr) => this.#options.admin(addr, "leave", { id }));
    asked.catch(() => undefined);
    await Promise.race([asked, member.ended()]);
    await member.ended();
    member.state = "gone";
  }

  /** Takes a silent member off the roster; resolves when that is complete. */
  async evict(member: DrillMember): Promise<void> {
    const { admin } = this.#options;
    const id = await this.idOf(member);
    await this.ask((addr) => admin(addr, "evict", { ids: [id], force: false }), member);
    await waitUntil(
      async () => {
        const status = await this.ask((addr) => admin(addr, "status", {}), member);
        return !status.members.some(({ addr }) => addr === member.addr);
      },
      { deadlineMs: 180_000, what: `member ${member.id} to be evicted`, everyMs: pollMs },
    );
  }

  /**
   * Every member sees every other, at one roster, and the successors make one circle.
   * @throws Error that says what is not so
   */
  async assertOneRing(): Promise<true> {
    const { present } = this;
    for (const { id, state } of present) if (state !== "up") throw new Error(`${id} is ${state}`);
    const views = await Promise.all(
      present.map(({ addr }) => this.#options.admin(addr, "status", {})),
    );
    for (const [index, view] of views.entries()) {
      if (isWhole(view, present.length) && isCircle(view)) continue;
      const seen = view.members.map(({ id, state, rosterEpoch, predecessor, successors }) =>
        [id, state, `epoch ${rosterEpoch}`, `between ${predecessor} and ${successors[0]}`].join(
          " ",
        ),
      );
      throw new Error(`seen by member ${present[index]?.id}: ${seen.join("; ")}`);
    }
    return true;
  }

  async untilOneRing(deadlineMs: number): Promise<void> {
    await waitUntil(() => this.assertOneRing(), {
      deadlineMs,
      what: "the members to be one ring again",
      everyMs: pollMs,
    });
  }

  /** Every copy of these mailboxes is equal, and nobody outside its group keeps one any more. */
  async untilEqual(names: readonly string[], deadlineMs: number): Promise<void> {
    const endMs = performance.now() + deadlineMs;
    for (const name of names) {
      await waitUntil(() => this.#isEqual(name), {
        deadlineMs: Math.max(0, endMs - performance.now()),
        what: `the copies of ${name} to be equal`,
        everyMs: pollMs,
      });
    }
  }

  async #isEqual(name: string): Promise<boolean> {
    const { admin, domain, dice } = this.#options;
    const address = `${name}@${domain}`;
    const reply = await admin(dice.pick(this.up).addr, "locate", { address });
    const isAtHome = reply.copies.every(({ inGroup, answered }) => inGroup && answered);
    if (reply.equal && isAtHome && reply.copies.length === this.copies) return true;
    throw new Error(JSON.stringify(reply.copies));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    // SIGKILL also ends one that is frozen.
    await Promise.all(this.members.map((member) => member.close()));
  }

  #accident(member: DrillMember, reason: string): void {
    if (this.#isStopped) return;
    this.#options.onAccident(member, reason);
    member.start(this.entriesFor(member)).catch((error: unknown) => {
      this.#options.onAccident(member, String(error));
    });
  }

  #freeId(): number {
    for (;;) {
      const id = this.#options.dice.whole(0, 2 ** bits - 1);
      if (this.#ids.has(id)) continue;
      this.#ids.add(id);
      return id;
    }
  }
}

function isWhole({ members }: StatusReply, count: number): boolean {
  const epochs = new Set(members.map(({ rosterEpoch }) => rosterEpoch));
  return (
    members.length === count &&
    epochs.size === 1 &&
    members.every(({ state }) => state === "active")
  );
}

function isCircle(view: StatusReply): boolean {
  const members = [...view.members].sort((a, b) => Number(a.id) - Number(b.id));
  if (members.length === 1) return true;
  return members.every((member, at) => {
    const next = members[(at + 1) % members.length];
    const before = members.at(at - 1);
    return member.successors[0] === next?.id && member.predecessor === before?.id;
  });
}
