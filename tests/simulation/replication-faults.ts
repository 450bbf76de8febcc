/** What befalls a simulated ring, kind by kind. */
import { nextMembers } from "../../src/replication/roster.js";
import type { Address } from "../../src/shared/ids.js";
import { type Dice, diceFor } from "./replication-clock.js";
import type { Life } from "./replication-life.js";
import {
  type EventKind,
  evictAfterMs,
  isPossible,
  type Plan,
  type PlanItem,
} from "./replication-plan.js";
import type { ReplicationWorld, SimulatedMember } from "./replication-world.js";

const membersMax = 7;

/** Draws what it needs from dice of the item's own, so that leaving one out changes no other. */
export class Misfortune {
  /** Disks may be lost one at a time, and not before all copies are there again. */
  private canWipe = true;
  private damaged: SimulatedMember | undefined;
  private over = false;
  /** Departures asked for that have not begun. */
  leaves = 0;

  constructor(
    private readonly world: ReplicationWorld,
    private readonly plan: Plan,
  ) {}

  befall(item: PlanItem & { readonly kind: EventKind }): void {
    const { world, plan } = this;
    if (!isPossible(item.kind, plan.members)) return;
    const dice = diceFor(world.options.seed, `item ${item.number}`);
    world.trace(`${item.kind} (item ${item.number})`);
    this.#befall(item.kind, dice);
  }

  #befall(kind: EventKind, dice: Dice): void {
    const { world } = this;
    const downMs = dice.between(100, 4_000);
    switch (kind) {
      case "crash":
        return this.#crashOne(dice, downMs);
      case "away":
        return this.#crashOne(dice, evictAfterMs * dice.between(1, 2));
      case "crashAll":
        return this.#crashAll(dice);
      case "freeze":
        return this.#freeze(dice);
      case "slow":
        return this.#slow(dice, downMs);
      case "skew":
        return this.#skew(dice);
      case "cut":
      case "clog":
        return this.#link(kind, dice, downMs);
      case "part":
        return this.#part(dice, downMs, 1);
      case "split":
        return this.#part(dice, downMs, Math.ceil(world.lives.length / 2));
      case "flaky":
        world.network.lostShare = dice.chance(0.5) ? 0 : dice.between(0, 0.1);
        world.network.lateShare = dice.chance(0.5) ? 0 : dice.between(0, 0.1);
        return;
      case "double":
        world.network.doubledShare = dice.between(0, 0.3);
        return;
      case "overtake":
        world.network.overtakenShare = dice.between(0, 0.3);
        return;
      case "full":
        return this.#full(dice, downMs);
      case "failSync":
        return dice.pick(world.lives)?.member.storage.failSync();
      case "flip":
        return this.#flip(dice);
      case "join":
      case "joinKill":
        return this.#join(dice, kind === "joinKill");
      case "leave":
        return this.#leave(dice);
      case "wipe":
        return this.#wipe(dice);
    }
  }

  /** All is well from now on. */
  end(): void {
    const { world } = this;
    this.over = true;
    world.network.mendAll();
    for (const member of world.members) {
      member.storage.mend();
      if (member.life) member.life.slowMs = 0;
      if (member.life?.frozenSinceMs !== undefined) member.life.thaw();
      world.restart(member);
    }
  }

  /** The end of something, which may have ended with everything else before. */
  #later(ms: number, run: () => void): void {
    this.world.clock.after(ms, () => {
      if (!this.over) run();
    });
  }

  #crashOne(dice: Dice, downMs: number): void {
    const { world } = this;
    const member = dice.pick(world.members);
    if (!member || world.lives.length < world.members.length) return;
    world.crash(member, dice.chance(0.5) ? "power" : "process");
    this.#later(downMs, () => world.restart(member));
  }

  #crashAll(dice: Dice): void {
    const { world } = this;
    if (dice.chance(0.7)) return;
    const kind = dice.chance(0.5) ? "power" : "process";
    for (const member of world.members) {
      world.crash(member, kind);
      this.#later(dice.between(100, 4_000), () => world.restart(member));
    }
  }

  #freeze(dice: Dice): void {
    const life = dice.pick(this.world.lives);
    if (!life) return;
    this.world.trace(`freeze ${life.self.uuid}`);
    life.freeze();
    this.#later(dice.chance(0.1) ? dice.between(4_000, 14_000) : dice.between(200, 5_000), () => {
      if (!life.up) return;
      this.world.trace(`thaw ${life.self.uuid}`);
      life.thaw();
    });
  }

  #slow(dice: Dice, forMs: number): void {
    const life = dice.pick(this.world.lives);
    if (!life) return;
    life.slowMs = dice.between(2, 30);
    this.#later(forMs, () => {
      life.slowMs = 0;
    });
  }

  #skew(dice: Dice): void {
    const member = dice.pick(this.world.members);
    if (!member) return;
    member.skewMs = dice.chance(0.3) ? 0 : dice.between(-90_000, 90_000);
    this.world.trace(`the clock of ${member.uuid} is off by ${Math.round(member.skewMs)} ms`);
  }

  #link(kind: "cut" | "clog", dice: Dice, forMs: number): void {
    const { world } = this;
    const [a, b] = [dice.pick(world.lives), dice.pick(world.lives)];
    if (!a || !b || a === b) return;
    world.trace(`${kind} ${a.self.uuid} to ${b.self.uuid}`);
    const mend = world.network[kind](a.self.addr, b.self.addr);
    const back = kind === "clog" && dice.chance(0.5);
    const mendBack = back ? world.network.clog(b.self.addr, a.self.addr) : undefined;
    this.#later(forMs, () => {
      mend();
      mendBack?.();
    });
  }

  /** `count` members on one side, the others on the other. */
  #part(dice: Dice, forMs: number, count: number): void {
    const { world } = this;
    const rest = world.members.map(({ addr }) => addr);
    const side = new Set<Address>();
    for (let i = 0; i < count && rest.length > 0; i += 1) {
      const [addr] = rest.splice(dice.integer(rest.length), 1);
      if (addr) side.add(addr);
    }
    world.trace(`apart from the others: ${[...side].join(" ")}`);
    const mends = [...side].flatMap((a) =>
      rest.flatMap((b) => [world.network.cut(a, b), world.network.cut(b, a)]),
    );
    this.#later(forMs, () => {
      for (const mend of mends) mend();
    });
  }

  #full(dice: Dice, forMs: number): void {
    const member = dice.pick(this.world.members);
    if (!member) return;
    this.world.trace(`the disk of ${member.uuid} is full`);
    member.storage.setFull(true);
    this.#later(forMs, () => member.storage.setFull(false));
  }

  /** On one member only: that is the one disk of W that may be lost. */
  #flip(dice: Dice): void {
    const { world } = this;
    this.damaged ??= dice.pick(world.members);
    if (!this.#mayDamage || !this.damaged || !world.members.includes(this.damaged)) return;
    const what = this.damaged.storage.flipBit();
    if (what) world.trace(`a bit flips on ${this.damaged.uuid}: ${what}`);
  }

  /** No other disk is lost, and no ring shrinks to two, where a mail may have one copy for a while. */
  get #mayDamage(): boolean {
    return !this.plan.kinds.some((kind) => kind === "wipe" || kind === "leave" || kind === "away");
  }

  #join(dice: Dice, killed: boolean): void {
    const { world } = this;
    const entries = world.lives.map(({ self }) => self.addr);
    if (world.members.length >= membersMax || entries.length === 0) return;
    const member = world.create();
    world.start(member, entries);
    if (!killed) return;
    this.#later(dice.between(20, 2_500), () => {
      if (!member.life?.up || member.left) return;
      // Once it is a member like the others, it is not for this to take it away for good.
      const isJoining = !member.life.serving;
      world.crash(member, dice.chance(0.5) ? "power" : "process");
      // Two disks of a group may not be lost.
      const mayLose = !this.plan.kinds.includes("wipe");
      if (isJoining && mayLose && dice.chance(0.4) && !this.#isMember(member)) this.#forget(member);
      else this.#later(dice.between(100, 20_000), () => world.restart(member));
    });
  }

  /** Anybody has it on the roster for more than a joiner. */
  #isMember({ uuid }: SimulatedMember): boolean {
    return this.world.lives.some(({ replication }) =>
      replication.roster.members.some((other) => other.uuid === uuid && other.state !== "joining"),
    );
  }

  /** It never comes back: its copy was none of those that count. */
  #forget(member: SimulatedMember): void {
    const { members } = this.world;
    members.splice(members.indexOf(member), 1);
    this.world.note(() => `${member.uuid} never comes back`);
  }

  #leave(dice: Dice): void {
    const { world } = this;
    const staying = world.members.filter(({ left }) => !left);
    const asked = dice.pick(world.lives.filter(({ serving }: Life) => serving));
    const leaver = dice.pick(staying);
    // In a ring of two a single copy is acknowledged; what that is worth is another scenario.
    if (!asked || !leaver || nextMembers(asked.replication.roster).length < this.#fewest) return;
    // It may have to wait for other changes; there is no rest before it has begun.
    this.leaves += 1;
    asked
      .request(() => asked.replication.departures.leave(leaver.id, true))
      .catch(() => undefined)
      .finally(() => {
        this.leaves -= 1;
      });
  }

  /** Who may leave such a ring. The last one never may. */
  get #fewest(): number {
    const { kinds } = this.plan;
    return kinds.every((kind) => kind === "join" || kind === "leave") ? 2 : 4;
  }

  #wipe(dice: Dice): void {
    const { world, plan } = this;
    const member = dice.pick(world.members);
    // The last members of the ring can't be rebuilt from fewer.
    if (!member?.life || !this.canWipe || world.members.length < 3 || world.hasShrunk) return;
    if (plan.kinds.includes("leave") || plan.kinds.includes("away")) return;
    this.canWipe = false;
    const successor = world.loseDisk(member);
    this.#later(dice.between(500, 3_000), () => world.restart(successor));
  }
}
