/** A seed makes a scenario: a ring, its clients, what befalls it, and the verdict. */
import { nextMembers } from "../../src/replication/roster.js";
import type { MailboxName } from "../../src/shared/ids.js";
import { checkAtRest, isAtRest } from "./replication-checker.js";
import { Clients } from "./replication-clients.js";
import { History } from "./replication-history.js";
import type { Tamper } from "./replication-network.js";
import { type Faults, ReplicationWorld } from "./replication-world.js";
import { seededRandom } from "./ring-network.js";

export interface ScenarioOptions {
  readonly seed: number;
  readonly faults?: Faults;
  readonly tamper?: Tamper;
  readonly debug?: boolean;
  /** What befalls the ring, one of them every few seconds. */
  readonly events?: readonly EventKind[];
  readonly members?: number;
  readonly busyMs?: number;
  readonly clients?: {
    readonly senders: number;
    readonly readers: number;
    readonly operators: number;
  };
  readonly mailboxes?: number;
  /** The longest that a session lasts; absent: most are short. */
  readonly sessionMs?: number;
  /** The longest that a disk takes. Drawn when absent, as is the next. */
  readonly flushMaxMs?: number;
  /** Seldom repair leaves everything to the quorums and transfers. */
  readonly repairIntervalMs?: number;
}

export interface Verdict {
  readonly violations: readonly string[];
  readonly hash: string;
  readonly mails: number;
  readonly acknowledged: number;
  readonly removed: number;
  readonly epochs: number;
  readonly restMs: number;
}

const events = {
  crash: "one member, back after a moment",
  crashAll: "all members, back after a moment each",
  cut: "the cable between two members, in one direction",
  part: "one member from all the others",
  flaky: "messages get lost and late",
  join: "a new member",
  leave: "a member leaves in good order",
  away: "a member is down for longer than the others wait",
  wipe: "a disk is lost; its member comes up again without",
} as const;
export type EventKind = keyof typeof events;
export const allEvents = Object.keys(events) as EventKind[];

const evictAfterMs = 8_000;
const restWithinMs = 120_000;

export async function simulate(options: ScenarioOptions): Promise<Verdict> {
  const scenario = new Scenario(options);
  return scenario.run();
}

class Scenario {
  private readonly world: ReplicationWorld;
  private readonly history: History;
  private readonly clients: Clients;
  private readonly mailboxes: readonly MailboxName[];
  private readonly kinds: readonly EventKind[];
  private readonly busyMs: number;
  /** Disks may be lost one at a time, and not before all copies are there again. */
  private canWipe = true;
  /** Departures asked for that have not begun. */
  private leaves = 0;

  constructor(private readonly options: ScenarioOptions) {
    const { seed, faults, tamper } = options;
    // Drawn apart from the run, so that every seed has few kinds of events and many of them.
    const dice = seededRandom(seed * 7_919 + 1);
    const kinds = options.events ?? allEvents.filter(() => dice() < 0.4);
    this.kinds = kinds.length === 0 ? ["crash"] : kinds;
    this.busyMs = options.busyMs ?? 25_000;
    this.world = new ReplicationWorld({
      seed,
      evictAfterMs,
      flushMaxMs: options.flushMaxMs ?? (dice() < 0.3 ? 400 : 15),
      repairIntervalMs: options.repairIntervalMs ?? (dice() < 0.3 ? 20_000 : 3_000),
      ...(faults && { faults }),
      debug: options.debug ?? false,
    });
    this.world.network.tamper = tamper;
    this.history = new History(this.world);
    const names = ["ann", "bob", "cyd", "dan", "eve", "fay"].slice(0, options.mailboxes ?? 6);
    this.mailboxes = names.map((name) => `${name}@ring.test` as MailboxName);
    this.clients = new Clients(this.world, this.history, this.mailboxes, options.sessionMs);
  }

  async run(): Promise<Verdict> {
    const { world, clients, history } = this;
    await this.form();
    clients.begin(this.options.clients ?? { senders: 3, readers: 3, operators: 2 });
    const untilMs = world.clock.nowMs + this.busyMs;
    while (world.clock.nowMs < untilMs) {
      await world.clock.advance(world.between(300, 3_000));
      const kind = world.pick(this.kinds);
      if (kind) this.befall(kind);
    }
    this.heal();
    const restMs = await this.rest();
    for (const life of world.lives) {
      for (const name of ["ann", "bob", "cyd"]) {
        let isRead = false;
        clients.look(life, name).then(
          (answered) => {
            isRead = answered;
          },
          () => undefined,
        );
        await world.clock.advance(3_000);
        if (!isRead) world.violate(`${life.self.uuid} can't read the account ${name} at rest`);
      }
    }
    history.checkAccounts();
    history.checkSessions();
    checkAtRest(world, history, this.mailboxes);
    for (const member of [...world.members]) world.crash(member);
    return {
      violations: world.violations,
      hash: world.digest(),
      mails: history.mails.length,
      acknowledged: history.mails.filter(({ acknowledged }) => acknowledged).length,
      removed: history.removed.size,
      epochs: world.rosters.size,
      restMs,
    };
  }

  /** Members join one after the other. */
  private async form(): Promise<void> {
    const { world } = this;
    const count = this.options.members ?? 3 + Math.floor(world.random() * 3);
    const first = world.create();
    world.start(first, []);
    await world.clock.advance(500);
    for (let i = 1; i < count; i += 1) world.start(world.create(), [first.addr]);
    for (let waitedMs = 0; !isAtRest(world, []) && waitedMs < 120_000; waitedMs += 1_000) {
      await world.clock.advance(1_000);
    }
    if (!isAtRest(world, [])) world.violate("the ring does not form");
  }

  private befall(kind: EventKind): void {
    const { world } = this;
    const downMs = kind === "away" ? evictAfterMs * world.between(1, 2) : world.between(100, 4_000);
    switch (kind) {
      case "away":
      case "crash":
        return this.crashOne(downMs);
      case "crashAll":
        if (world.random() > 0.3) return;
        for (const member of world.members) {
          world.crash(member);
          world.clock.after(world.between(100, 4_000), () => world.restart(member));
        }
        return;
      case "cut":
        return this.cut(downMs);
      case "part":
        return this.part(downMs);
      case "flaky":
        world.network.lostShare = world.random() < 0.5 ? 0 : world.between(0, 0.1);
        world.network.lateShare = world.random() < 0.5 ? 0 : world.between(0, 0.1);
        return;
      case "join":
        if (world.members.length >= 7 || world.lives.length === 0) return;
        return world.start(
          world.create(),
          world.lives.map(({ self }) => self.addr),
        );
      case "leave":
        return this.leave();
      case "wipe":
        return this.wipe();
    }
  }

  private crashOne(downMs: number): void {
    const { world } = this;
    const member = world.pick(world.members);
    if (!member || world.lives.length < world.members.length) return;
    world.crash(member);
    world.clock.after(downMs, () => world.restart(member));
  }

  private cut(downMs: number): void {
    const { world } = this;
    const [a, b] = [world.pick(world.lives), world.pick(world.lives)];
    if (!a || !b || a === b) return;
    world.network.cut(a.self.addr, b.self.addr);
    world.clock.after(downMs, () => world.network.mend());
  }

  private part(downMs: number): void {
    const { world } = this;
    const one = world.pick(world.lives);
    if (!one) return;
    for (const { self } of world.lives) {
      if (self.addr === one.self.addr) continue;
      world.network.cut(one.self.addr, self.addr);
      world.network.cut(self.addr, one.self.addr);
    }
    world.clock.after(downMs, () => world.network.mend());
  }

  private leave(): void {
    const { world } = this;
    const staying = world.members.filter(({ left }) => !left);
    const asked = world.pick(world.lives.filter(({ serving }) => serving));
    const leaver = world.pick(staying);
    // In a ring of two a single copy is acknowledged; what that is worth is another scenario.
    if (!asked || !leaver || nextMembers(asked.replication.roster).length < this.fewest) return;
    // It may have to wait for other changes; there is no rest before it has begun.
    this.leaves += 1;
    Promise.race([asked.replication.departures.leave(leaver.id, true), asked.crashed])
      .catch(() => undefined)
      .finally(() => {
        this.leaves -= 1;
      });
  }

  /** Who may leave such a ring. The last one never may. */
  private get fewest(): number {
    return this.kinds.every((kind) => kind === "join" || kind === "leave") ? 2 : 4;
  }

  private wipe(): void {
    const { world } = this;
    const member = world.pick(world.members);
    // The last members of the ring can't be rebuilt from fewer.
    if (!member?.life || !this.canWipe || world.members.length < 3) return;
    if (this.kinds.includes("leave") || this.kinds.includes("away")) return;
    this.canWipe = false;
    const successor = world.loseDisk(member);
    world.clock.after(world.between(500, 3_000), () => world.restart(successor));
  }

  private heal(): void {
    const { world, clients } = this;
    clients.isBusy = false;
    world.network.mend();
    world.network.lostShare = 0;
    world.network.lateShare = 0;
    for (const member of world.members) world.restart(member);
  }

  /** Virtual time until everything has come to rest. */
  private async rest(): Promise<number> {
    const { world } = this;
    const fromMs = world.clock.nowMs;
    while (world.clock.nowMs - fromMs < restWithinMs) {
      await world.clock.advance(1_000);
      if (this.clients.working + this.leaves === 0 && isAtRest(world, this.mailboxes)) break;
    }
    return world.clock.nowMs - fromMs;
  }
}
