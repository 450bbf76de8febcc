/** One run of a member's process: the real rooms on simulated ports, from its start to its crash. */
import type { Accounts } from "../../src/mailbox/accounts.js";
import { Mailboxes } from "../../src/mailbox/mailboxes.js";
import { createRegistry } from "../../src/mailbox/registry.js";
import type { OpenAnswer } from "../../src/replication/maildrop.js";
import type { Passwords } from "../../src/mailbox/passwords.js";
import { JoinRefusedError } from "../../src/replication/joining.js";
import type { Caller } from "../../src/replication/peer-methods.js";
import type { Clock, PeerMessage, Randomness, Store } from "../../src/replication/ports.js";
import { defaultTimings } from "../../src/replication/options.js";
import { Replication } from "../../src/replication/replication.js";
import { memberByUuid, type Roster } from "../../src/replication/roster.js";
import type { Address, MailboxName } from "../../src/shared/ids.js";
import { type Dice, diceFor } from "./replication-clock.js";
import type { OpenedStore } from "./replication-disks.js";
import type { Host } from "./replication-network.js";
import type { ReplicationWorld, SimulatedMember } from "./replication-world.js";

export const ringParameters = { bits: 32, replicas: 2, domain: "ring.test" } as const;
export const startMs = Date.UTC(2026, 0, 1);

/** The process ended before it could answer. */
export const gone = Symbol("the process ended");

/** Hashing is not what is tested here. */
const passwords = {
  credentials: (password: string) => Promise.resolve({ passwordHash: `h:${password}` }),
  check: (_: string, password: string, account?: { passwordHash: string }) =>
    Promise.resolve(account?.passwordHash === `h:${password}`),
} as unknown as Passwords;

/** What a process consists of once its store is open. */
interface Rooms {
  readonly opened: OpenedStore;
  readonly store: Store;
  readonly replication: Replication;
  readonly accounts: Accounts;
  readonly mailboxes: Mailboxes;
}

export class Life implements Host {
  up = true;
  /** On the roster and no longer joining. */
  serving = false;
  frozenSinceMs: number | undefined;
  /** What each piece of work costs a process that is short of CPU. */
  slowMs = 0;
  readonly self: Caller;
  readonly dice: Dice;
  readonly crashed: Promise<typeof gone>;
  #rooms: Rooms | undefined;
  #backlog: (() => void)[] = [];
  #busyUntilMs = 0;
  readonly #tellCrash: () => void;
  readonly #stopping = new AbortController();

  constructor(
    readonly world: ReplicationWorld,
    readonly member: SimulatedMember,
  ) {
    const { uuid, addr } = member;
    this.self = { uuid, addr };
    this.dice = diceFor(world.options.seed, `${uuid} life ${member.lives}`);
    let tell = (): void => undefined;
    this.crashed = new Promise((resolve) => {
      tell = () => resolve(gone);
    });
    this.#tellCrash = tell;
  }

  /** The store is open. */
  get ready(): boolean {
    return this.#rooms !== undefined;
  }

  get rooms(): Rooms {
    if (!this.#rooms) throw new Error(`${this.self.uuid} has not opened its store`);
    return this.#rooms;
  }

  get replication(): Replication {
    return this.rooms.replication;
  }

  get store(): Store {
    return this.rooms.store;
  }

  perform(run: () => void): void {
    if (!this.up) return;
    if (this.frozenSinceMs !== undefined) {
      this.#backlog.push(run);
      return;
    }
    const { clock } = this.world;
    if (this.slowMs === 0 && this.#busyUntilMs <= clock.nowMs) {
      run();
      return;
    }
    this.#busyUntilMs = Math.max(clock.nowMs, this.#busyUntilMs) + this.dice.next() * this.slowMs;
    clock.after(this.#busyUntilMs - clock.nowMs, () => {
      if (this.frozenSinceMs !== undefined) this.#backlog.push(run);
      else if (this.up) run();
    });
  }

  freeze(): void {
    if (!this.up || this.frozenSinceMs !== undefined) return;
    this.frozenSinceMs = this.world.clock.nowMs;
    this.world.network.froze(this);
  }

  /** It goes on where it stopped: everything that came meanwhile is there at once. */
  thaw(): void {
    this.frozenSinceMs = undefined;
    for (const run of this.#backlog.splice(0)) this.world.clock.after(0, () => this.perform(run));
  }

  /** What a client asks of the process, over a connection that breaks with it. */
  request<T>(work: () => Promise<T>): Promise<T | typeof gone> {
    const answer = new Promise<T>((resolve, reject) => {
      this.perform(() => {
        work().then(resolve, reject);
      });
    });
    return Promise.race([answer, this.crashed]);
  }

  /** As a listener does it, without counting tries. */
  async login(mailbox: MailboxName, password: string): Promise<OpenAnswer | { kind: "denied" }> {
    const { accounts, mailboxes } = this.rooms;
    const answer = await accounts.read(mailbox);
    if (answer.kind === "undecided") return { kind: "tempfail", why: "the account can't be read" };
    const account = answer.kind === "account" ? answer.account : undefined;
    const isRight = await passwords.check(mailbox, password, account);
    return isRight ? mailboxes.open({ mailbox, folder: "inbox" }) : { kind: "denied" };
  }

  readonly after = (ms: number, run: () => void): (() => void) =>
    this.world.clock.after(this.world.clock.timer(ms), () => this.perform(run));

  /** What a room of this process has of the world; `skewMs`: how far its clock is off. */
  ports(skewMs: () => number): { clock: Clock; random: Randomness } {
    const { world, dice } = this;
    const clock: Clock = {
      wallMs: () => startMs + Math.floor(world.clock.look() + skewMs()),
      monotonicMs: () => world.clock.look(),
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
      bytes: (n) => {
        const bytes = Buffer.alloc(n);
        for (let i = 0; i < n; i += 1) bytes[i] = dice.integer(256);
        return bytes;
      },
    };
    return { clock, random };
  }

  /** Opens the store and resumes, joins or founds; without `entries` it founds. */
  async start(entries: readonly Address[]): Promise<void> {
    const { world, member } = this;
    const opened = await member.storage.open({
      after: this.after,
      monotonicMs: () => world.clock.look(),
      warn: (text) => world.note(() => `${member.uuid}: ${text}`),
    });
    if (!this.up) return;
    opened.onFailure((error) => {
      world.note(() => `${member.uuid} ends: ${error.message}`);
      const dice = diceFor(world.options.seed, `${member.uuid} failure ${member.lives}`);
      const kind = dice.chance(0.5) ? "power" : "process";
      world.clock.after(0, () => world.crash(member, kind));
      world.clock.after(1_000, () => world.restart(member));
    });
    this.#rooms = this.#build(opened);
    world.network.attach(this);
    const { roster } = this.replication;
    world.onRoster(this, roster);
    if (roster.epoch > 0) await this.#resume();
    else if (entries.length > 0) await this.#join(entries);
    else await this.#found();
  }

  #build(opened: OpenedStore): Rooms {
    const { world, member } = this;
    // As it was when the process started.
    const { skewMs } = member;
    const { clock, random } = this.ports(() => skewMs);
    const { uuid, addr, id } = member;
    const { faults } = world.options;
    const store = world.observed(this, faults?.wrapStore?.(opened.store, this) ?? opened.store);
    const log = world.logOf(this);
    const replication = new Replication({
      self: { uuid, addr, id },
      ring: ringParameters,
      store,
      files: opened.files,
      caller: world.network.callerFor(this),
      ...{ clock, random, log },
      timings: { ...defaultTimings, ...world.options },
      ...(world.options.floors && { floors: world.options.floors }),
      isDown: (peer) => world.network.isDown(addr, peer),
      status: () => ({}),
    });
    const { domain } = ringParameters;
    const { registers } = replication;
    const registry = createRegistry({
      // As publishers' flows are changed, so that promises for the next change outlive members, and rosters.
      registers: {
        read: (...asked) => registers.read(...asked),
        change: (register, update) => registers.change(register, update, { again: true }),
      },
      passwords,
      announceChanged: (register) => replication.announceChanged(register),
      ...{ domain, clock, random },
      quota: {},
      trial: false,
      usageOf: (mailbox) => replication.usageOf(mailbox),
      members: () => replication.roster.members.length,
    });
    const { accounts } = registry;
    const self = uuid;
    const mailboxes = new Mailboxes({
      ...{ ...registry, log, self, store, replication, domain, clock },
    });
    replication.onRegisterChanged((register) => registry.forget(register));
    replication.membership.onChange((roster, before) => this.#rosterChanged(roster, before));
    return { opened, store, replication, accounts, mailboxes };
  }

  async handle(from: Caller, method: string, message: PeerMessage): Promise<PeerMessage> {
    const wrapped = this.world.options.faults?.wrapHandle?.(this, method, message) ?? message;
    if ("answer" in wrapped) return wrapped.answer;
    return this.replication.handle(from, method, wrapped);
  }

  peerGone(uuid: Caller["uuid"]): void {
    this.replication.peerGone(uuid);
  }

  async #found(): Promise<void> {
    const { id, addr, uuid } = this.member;
    await this.replication.membership.found({ id, addr, uuid });
    this.replication.start([]);
    this.serving = true;
  }

  async #join(entries: readonly Address[]): Promise<void> {
    const { joining } = this.replication;
    await joining.join(entries, Number.POSITIVE_INFINITY, this.#stopping.signal);
    this.replication.start([]);
    await joining.untilActive(this.#stopping.signal);
    this.serving = true;
  }

  async #resume(): Promise<void> {
    const { membership, joining } = this.replication;
    this.replication.start(this.rooms.opened.recent);
    const others = membership.roster.members.filter(({ uuid }) => uuid !== this.self.uuid);
    if (membership.selfMember?.addr !== this.self.addr) {
      this.#rejoin(others.map(({ addr }) => addr));
    }
    if (membership.selfMember?.state === "joining") {
      await joining.untilActive(this.#stopping.signal);
    }
    this.serving = true;
  }

  #rejoin(entries: readonly Address[]): void {
    const { joining } = this.replication;
    joining
      .join(entries, Number.POSITIVE_INFINITY, this.#stopping.signal)
      .catch((error: unknown) => {
        // It would end the process, which is started again in a moment.
        if (!(error instanceof JoinRefusedError)) throw error;
        this.world.crash(this.member, "process");
        this.world.clock.after(1_000, () => this.world.restart(this.member));
      });
  }

  #rosterChanged(roster: Roster, before: Roster): void {
    this.world.onRoster(this, roster);
    const was = memberByUuid(before, this.self.uuid);
    if (!was || memberByUuid(roster, this.self.uuid)) return;
    if (was.state === "leaving" && !was.evicted) {
      this.member.left = true;
      this.world.clock.after(0, () => this.world.crash(this.member, "process"));
      return;
    }
    this.#rejoin(roster.members.map(({ addr }) => addr));
  }

  end(): void {
    this.up = false;
    this.serving = false;
    this.#stopping.abort();
    this.#rooms?.replication.stop();
    this.#backlog = [];
    this.#tellCrash();
  }
}
