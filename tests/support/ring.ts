import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentialsFor } from "../../src/node/enrollment.js";
import { readCredentials, secretsFolder } from "../../src/secrets/index.js";
import type {
  AdminCaller,
  LocateReply,
  MemberStatus,
  StatusReply,
} from "../../src/shared/admin.js";
import { createAdminCaller } from "../../src/rpc/index.js";
import { Member } from "./member.js";
import { freeRingPort } from "./ports.js";
import { waitUntil } from "./wait.js";

export interface RingOptions {
  /** How many members, or the id of each. */
  readonly members: number | readonly number[];
  readonly bits?: number;
  readonly replicas?: number;
  /** More flags for every member. */
  readonly args?: readonly string[];
  /** By the number of the member, in the order in which they are made. */
  readonly place?: (index: number) => MemberPlace;
}

/** Where and how one member runs, where that is not the usual way. */
export interface MemberPlace {
  readonly addr?: string;
  readonly dataDir?: string;
  readonly args?: readonly string[];
  readonly launcher?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** It can't read the disk of the others either: it joins with a token or not at all. */
  readonly elsewhere?: boolean;
}

/** The rings of this process, by the addresses of their members. */
const rings = new Map<string, Ring>();

/**
 * Asks a running member, as `chord status` and the like do, without a process for each question: in
 * the name of the first member whose data is there.
 */
export function adminWithin(deadlineMs: number): AdminCaller {
  return createAdminCaller({
    deadlineMs,
    credentials: async (addr) => {
      for (const { dataDir } of rings.get(addr)?.members ?? []) {
        const own = await readCredentials(secretsFolder(dataDir));
        if (own !== undefined) return own;
      }
      return await credentialsFor(addr);
    },
  });
}

export const admin = adminWithin(20_000);

export const domain = "ring.test";
/** Of every account that the tests make, unless they say otherwise. */
export const password = "correct horse";

/** A ring of real processes on loopback, each with a data directory of its own. */
export class Ring {
  readonly members: Member[] = [];
  readonly folder = mkdtempSync(join(tmpdir(), "ringpost-test-"));
  readonly bits: number;
  readonly #options: RingOptions;

  constructor(options: RingOptions) {
    this.#options = options;
    this.bits = options.bits ?? 16;
  }

  /** A member that runs. */
  get entry(): Member {
    const member = this.members.find((candidate) => candidate.running);
    if (member === undefined) throw new Error("no member runs");
    return member;
  }

  get running(): Member[] {
    return this.members.filter((member) => member.running);
  }

  member(index: number): Member {
    const member = this.members[index];
    if (member === undefined) throw new Error(`no member ${index}`);
    return member;
  }

  others(member: Member): Member[] {
    return this.running.filter((candidate) => candidate !== member);
  }

  /** Makes a member that isn't started. Joins through one that runs, if there is one. */
  async make(
    wanted: MemberPlace & { readonly id?: number; readonly bits?: number } = {},
  ): Promise<Member> {
    const options = { ...this.#options.place?.(this.members.length), ...wanted };
    const id = String(options.id ?? this.#nextId());
    const addr = options.addr ?? `127.0.0.1:${await freeRingPort()}`;
    const dataDir = options.dataDir ?? join(this.folder, `data-${id}`);
    const entry = this.members.find((member) => member.running);
    const logs = join(this.folder, "logs");
    mkdirSync(logs, { recursive: true });
    const args = ["--id", id, "--addr", addr, "--bits", String(options.bits ?? this.bits)];
    if (entry !== undefined) args.push("--entry", entry.addr);
    // For the network it is another machine; the disk is the same.
    if (entry !== undefined && options.launcher !== undefined && options.elsewhere !== true)
      args.push("--credentials", secretsFolder(entry.dataDir));
    args.push("--replicas", String(this.#options.replicas ?? 2), "--data", dataDir);
    args.push("--domain", domain, "--log-level", "info");
    args.push(...(this.#options.args ?? []), ...(options.args ?? []));
    rings.set(addr, this);
    const { launcher, env } = options;
    const logFile = join(logs, `${id}.log`);
    return new Member({ id, addr, dataDir, args, logFile, launcher, env });
  }

  /** Adds a member and waits until every running member counts it as active. */
  async grow(options: Parameters<Ring["make"]>[0] = {}): Promise<Member> {
    const member = await this.make(options);
    this.members.push(member);
    member.start();
    await member.ready();
    await this.settled();
    return member;
  }

  /** Waits until all running members, and nobody else but silent ones, are active at one epoch. */
  async settled(deadlineMs = 60_000): Promise<void> {
    const ids = this.running.map((member) => member.id).sort();
    const settledFor = async (through: Member): Promise<boolean> => {
      const { members: all } = await this.status(through);
      const members = all.filter((member) => member.state !== "unreachable");
      const active = members.filter((member) => member.state === "active");
      const epochs = new Set(members.map((member) => member.rosterEpoch));
      const seen = active.map((member) => member.id).sort();
      return epochs.size === 1 && seen.join() === ids.join() && members.length === ids.length;
    };
    await waitUntil(
      async () => (await Promise.all(this.running.map(settledFor))).every((settled) => settled),
      { deadlineMs, what: `members ${ids.join()} to be active`, everyMs: 200 },
    );
  }

  status(through: Member = this.entry): Promise<StatusReply> {
    return admin(through.addr, "status", {});
  }

  async memberStatus(id: string, through?: Member): Promise<MemberStatus | undefined> {
    return (await this.status(through)).members.find((member) => member.id === id);
  }

  locate(name: string, through: Member = this.entry): Promise<LocateReply> {
    return admin(through.addr, "locate", { address: `${name}@${domain}` });
  }

  /** Waits until every copy of each mailbox is equal, with `copies` members in its group. */
  async copiesEqual(
    names: readonly string[],
    options: { readonly copies?: number; readonly deadlineMs?: number } = {},
  ): Promise<void> {
    for (const name of names) {
      await waitUntil(
        async () => {
          const reply = await this.locate(name);
          const group = reply.copies.filter((copy) => copy.inGroup && copy.answered);
          const wanted = options.copies ?? group.length;
          if (reply.equal && group.length === wanted) return true;
          throw new Error(JSON.stringify(reply));
        },
        {
          deadlineMs: options.deadlineMs ?? 60_000,
          what: `the copies of ${name} to be equal`,
          everyMs: 200,
        },
      );
    }
  }

  async addUsers(names: readonly string[]): Promise<void> {
    // One after the other: each costs a password hash.
    for (const name of names) await admin(this.entry.addr, "userAdd", { name, password });
  }

  /** Starts all stopped members in the order given, then waits for all to be ready. */
  async restartAll(order: readonly Member[]): Promise<void> {
    for (const member of order) member.start();
    await Promise.all(order.map((member) => member.ready()));
  }

  async stopAll(): Promise<void> {
    // SIGKILL also ends a process that a test has stopped with SIGSTOP.
    await Promise.all(this.running.map((member) => member.kill("SIGKILL")));
  }

  printLogs(): void {
    for (const member of this.members) {
      process.stderr.write(`\n===== member ${member.id} ${member.addr}\n${member.tail(80)}\n`);
    }
    process.stderr.write(`\nwhole logs in ${join(this.folder, "logs")}\n`);
  }

  remove(what: "everything" | "data"): void {
    const data = this.members.map((member) => member.dataDir);
    for (const path of what === "everything" ? [this.folder] : data) {
      rmSync(path, { recursive: true, force: true });
    }
  }

  #nextId(): number {
    // Spread over the circle in an order that puts each newcomer between two old ones.
    const share = [0.1, 0.6, 0.35, 0.85, 0.5, 0.22, 0.73, 0.97][this.members.length];
    if (share === undefined) throw new Error("too many members");
    return Math.floor(share * 2 ** this.bits);
  }
}
