/** A ring of whole `Replication`s on simulated time, network and disks. */
import { createHash } from "node:crypto";
import { Accounts } from "../../src/mailbox/accounts.js";
import { Mailboxes } from "../../src/mailbox/mailboxes.js";
import type { Passwords } from "../../src/mailbox/passwords.js";
import type { Copy } from "../../src/replication/delivery.js";
import { JoinRefusedError } from "../../src/replication/joining.js";
import type { Caller } from "../../src/replication/peer-methods.js";
import type { Clock, Files, PeerMessage, Randomness } from "../../src/replication/ports.js";
import { defaultTimings, Replication } from "../../src/replication/replication.js";
import { memberByUuid, type Roster } from "../../src/replication/roster.js";
import type { Address, MemberUuid, RingId } from "../../src/shared/ids.js";
import type { Log } from "../../src/shared/log.js";
import { type Host, ReplicationNetwork } from "./replication-network.js";
import { MemoryStore, StoreState } from "./replication-store.js";
import { seededRandom, SimulatedClock } from "./ring-network.js";

export const ringParameters = { bits: 32, replicas: 2, domain: "ring.test" } as const;
const startMs = Date.UTC(2026, 0, 1);

export interface Faults {
  /** Hides or changes something between a member and the world: a planted bug. */
  readonly wrapStore?: (store: MemoryStore) => MemoryStore;
  readonly wrapHandle?: (
    life: Life,
    method: string,
    message: PeerMessage,
  ) => PeerMessage | { readonly answer: PeerMessage };
}

export interface WorldOptions {
  readonly seed: number;
  readonly evictAfterMs: number;
  readonly flushMaxMs: number;
  readonly repairIntervalMs: number;
  readonly faults?: Faults;
  readonly debug?: boolean;
}

/** A member's data and name, over all its runs. */
export interface SimulatedMember {
  readonly addr: Address;
  readonly id: RingId;
  readonly uuid: MemberUuid;
  readonly disk: StoreState;
  life: Life | undefined;
  /** Taken out by agreement, for good. */
  left: boolean;
}

const noFiles: Files = {
  create: () => Promise.reject(new Error("no large bodies here")),
  link: () => Promise.reject(new Error("no large bodies here")),
  read: () => Promise.reject(new Error("no large bodies here")),
  remove: () => Promise.resolve(),
};

/** One run of a member, from its start to its crash. */
export class Life implements Host {
  up = true;
  readonly self: Caller;
  readonly store: MemoryStore;
  readonly replication: Replication;
  readonly accounts: Accounts;
  readonly mailboxes: Mailboxes;
  /** On the roster and no longer joining. */
  serving = false;
  readonly crashed: Promise<void>;
  private readonly tellCrash: () => void;
  private readonly stopping = new AbortController();

  constructor(
    readonly world: ReplicationWorld,
    readonly member: SimulatedMember,
  ) {
    const { clock, random } = this.ports();
    const { uuid, addr, id } = member;
    this.self = { uuid, addr };
    let tell = (): void => undefined;
    this.crashed = new Promise((resolve) => {
      tell = resolve;
    });
    this.tellCrash = tell;
    const { faults, flushMaxMs } = world.options;
    const store = new MemoryStore({
      disk: member.disk,
      after: (ms, run) => this.after(ms, run),
      random: world.random,
      flushMaxMs,
    });
    this.store = faults?.wrapStore?.(store) ?? store;
    this.replication = new Replication({
      self: { uuid, addr, id },
      ring: ringParameters,
      store: this.store,
      files: noFiles,
      caller: world.network.callerFor(this),
      clock,
      random,
      log: world.logOf(this),
      timings: { ...defaultTimings, ...world.options },
      isDown: (peer) => world.network.isDown(addr, peer),
      status: () => ({}),
    });
    const passwords = { hash: (password: string) => Promise.resolve(`h:${password}`) };
    const { replication } = this;
    const { domain } = ringParameters;
    this.accounts = new Accounts({
      registers: replication.registers,
      passwords: passwords as unknown as Passwords,
      announceChanged: (register) => replication.announceChanged(register),
      ...{ domain, clock, random },
    });
    this.mailboxes = new Mailboxes({
      passwords: passwords as unknown as Passwords,
      accounts: this.accounts,
      log: world.logOf(this),
      self: uuid,
      store: this.store,
      ...{ replication, domain, clock },
    });
    replication.onRegisterChanged((register) => this.accounts.forget(register));
    replication.membership.onChange((roster, before) => this.rosterChanged(roster, before));
  }

  private ports(): { clock: Clock; random: Randomness } {
    const { world } = this;
    const clock: Clock = {
      wallMs: () => startMs + Math.floor(world.clock.nowMs),
      monotonicMs: () => world.clock.nowMs,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(new Error("aborted"));
          const stop = (): void => {
            cancel();
            reject(new Error("aborted"));
          };
          const cancel = this.after(ms, () => {
            signal?.removeEventListener("abort", stop);
            resolve();
          });
          signal?.addEventListener("abort", stop, { once: true });
        }),
    };
    const random: Randomness = {
      bytes: (n) => Buffer.from(Array.from({ length: n }, () => Math.floor(world.random() * 256))),
    };
    return { clock, random };
  }

  private after(ms: number, run: () => void): () => void {
    return this.world.clock.after(ms, () => this.up && run());
  }

  async handle(from: Caller, method: string, message: PeerMessage): Promise<PeerMessage> {
    const wrapped = this.world.options.faults?.wrapHandle?.(this, method, message) ?? message;
    if ("answer" in wrapped) return wrapped.answer;
    return this.replication.handle(from, method, wrapped);
  }

  peerGone(uuid: MemberUuid): void {
    this.replication.peerGone(uuid);
  }

  async found(): Promise<void> {
    const { id, addr, uuid } = this.member;
    await this.replication.membership.found({ id, addr, uuid });
    this.replication.start([]);
    this.serving = true;
  }

  async join(entries: readonly Address[]): Promise<void> {
    const { joining } = this.replication;
    await joining.join(entries, Number.POSITIVE_INFINITY, this.stopping.signal);
    this.replication.start([]);
    await joining.untilActive(this.stopping.signal);
    this.serving = true;
  }

  async resume(): Promise<void> {
    const { membership, joining } = this.replication;
    this.replication.start(this.recent());
    const others = membership.roster.members.filter(({ uuid }) => uuid !== this.self.uuid);
    if (membership.selfMember?.addr !== this.self.addr) this.rejoin(others.map(({ addr }) => addr));
    if (membership.selfMember?.state === "joining") {
      await joining.untilActive(this.stopping.signal);
    }
    this.serving = true;
  }

  private recent(): readonly Copy[] {
    const { added, confirmed } = this.member.disk;
    return [...added.values()].filter(({ message }) => !confirmed.has(message.id));
  }

  private rejoin(entries: readonly Address[]): void {
    const { joining } = this.replication;
    joining
      .join(entries, Number.POSITIVE_INFINITY, this.stopping.signal)
      .catch((error: unknown) => {
        // It would end the process, which is started again in a moment.
        if (!(error instanceof JoinRefusedError)) throw error;
        this.world.crash(this.member);
        this.world.clock.after(1_000, () => this.world.restart(this.member));
      });
  }

  private rosterChanged(roster: Roster, before: Roster): void {
    this.world.onRoster(this, roster);
    const was = memberByUuid(before, this.self.uuid);
    if (!was || memberByUuid(roster, this.self.uuid)) return;
    if (was.state === "leaving" && !was.evicted) {
      this.member.left = true;
      this.world.clock.after(0, () => this.world.crash(this.member));
      return;
    }
    this.rejoin(roster.members.map(({ addr }) => addr));
  }

  crash(): void {
    this.up = false;
    this.serving = false;
    this.stopping.abort();
    this.replication.stop();
    if (this.store instanceof MemoryStore) this.store.crash();
    this.tellCrash();
  }
}

export class ReplicationWorld {
  readonly clock = new SimulatedClock();
  readonly random: () => number;
  readonly network: ReplicationNetwork;
  readonly members: SimulatedMember[] = [];
  /** The roster of each epoch, as the first to adopt it had it. */
  readonly rosters = new Map<number, string>();
  /** What went wrong, in the order in which it was seen. */
  readonly violations: string[] = [];
  private readonly hash = createHash("sha256");

  constructor(readonly options: WorldOptions) {
    this.random = seededRandom(options.seed);
    this.network = new ReplicationNetwork(this.clock, this.random);
    this.network.onMessage = (text) => this.trace(text);
  }

  trace(text: string): void {
    this.hash.update(`${this.clock.nowMs} ${text}\n`);
    if (this.options.debug) process.stdout.write(`${this.clock.nowMs.toFixed(1)} ${text}\n`);
  }

  digest(): string {
    return this.hash.digest("hex");
  }

  violate(text: string): void {
    this.trace(`VIOLATION ${text}`);
    this.violations.push(`${Math.round(this.clock.nowMs)} ms: ${text}`);
  }

  logOf(life: Life): Log {
    const write = (fields: object, message: string): void => {
      if (!this.options.debug) return;
      this.trace(`${life.self.addr} ${message} ${JSON.stringify(fields)}`);
    };
    return { debug: write, info: write, warn: write, error: write };
  }

  /** A member with an empty disk. Its id is drawn; its address may be that of a former one. */
  create(addr = `10.0.0.${this.members.length + 1}:25` as Address): SimulatedMember {
    const member: SimulatedMember = {
      addr,
      id: BigInt(Math.floor(this.random() * 2 ** 32)) as RingId,
      uuid: `uuid-${this.members.length + 1}` as MemberUuid,
      disk: new StoreState(),
      life: undefined,
      left: false,
    };
    this.members.push(member);
    return member;
  }

  start(member: SimulatedMember, entries: readonly Address[]): void {
    const life = new Life(this, member);
    member.life = life;
    this.network.attach(life);
    this.trace(`start ${member.uuid}`);
    const { roster } = life.replication;
    const begun =
      roster.epoch > 0 ? life.resume() : entries.length > 0 ? life.join(entries) : life.found();
    begun.catch((error: unknown) => {
      if (!life.up) return;
      if (!(error instanceof JoinRefusedError)) {
        this.violate(`${member.uuid} does not start: ${String(error)}`);
        return;
      }
      this.trace(`${member.uuid} refused: ${error.message}`);
      this.crash(member);
      this.clock.after(1_000, () => this.restart(member));
    });
  }

  crash(member: SimulatedMember): void {
    const { life } = member;
    if (!life?.up) return;
    this.trace(`crash ${member.uuid}`);
    life.crash();
    this.network.crashed(life);
  }

  /** With what was on its disk. */
  restart(member: SimulatedMember): void {
    if (member.left || member.life?.up || !this.members.includes(member)) return;
    const entries = this.lives.map(({ self }) => self.addr);
    this.start(member, entries.length > 0 ? entries : this.members.map(({ addr }) => addr));
  }

  /** The disk is gone for good; another member comes up in its place. */
  loseDisk(member: SimulatedMember): SimulatedMember {
    this.crash(member);
    this.members.splice(this.members.indexOf(member), 1);
    const successor = {
      ...this.create(member.addr),
      uuid: `${member.uuid}b` as MemberUuid,
      id: member.id,
    };
    this.members.splice(-1, 1, successor);
    return successor;
  }

  get lives(): readonly Life[] {
    return this.members.flatMap(({ life }) => (life?.up ? [life] : []));
  }

  /** Rosters of one epoch are one (I8). */
  onRoster(life: Life, roster: Roster): void {
    const text = JSON.stringify(roster, (_, value: unknown) =>
      typeof value === "bigint" ? value.toString() : value,
    );
    const known = this.rosters.get(roster.epoch);
    if (known === undefined) this.rosters.set(roster.epoch, text);
    else if (known !== text) this.violate(`${life.self.uuid}: two rosters of ${roster.epoch}`);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.after(ms, resolve));
  }

  pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.random() * from.length)];
  }

  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }
}
