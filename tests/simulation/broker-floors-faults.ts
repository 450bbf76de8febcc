/** What befalls the members of a ring while queues pass through it, one thing at a time. */
import { nextMembers } from "../../src/replication/roster.js";
import type { MailboxName } from "../../src/shared/ids.js";
import type { BrokerWorld } from "./broker-world.js";
import { restlessness } from "./replication-checker.js";
import { type Dice, diceFor } from "./replication-clock.js";
import type { SimulatedMember } from "./replication-world.js";

export type ChangeKind =
  | "power"
  | "process"
  | "freeze"
  | "cut"
  | "cut one way"
  | "late"
  | "full"
  | "skew"
  | "join"
  | "leave"
  /** For longer than others wait: it is evicted, and comes back with what it had. */
  | "away"
  | "cut off"
  /** Its disk is gone. */
  | "wipe";

interface ChangesOptions {
  readonly seed: number;
  readonly kinds: readonly ChangeKind[];
  readonly evictAfterMs?: number;
  readonly mailboxes: readonly MailboxName[];
}

const membersMax = 7;

export class Changes {
  /** Clients wait, so that all copies can be there. */
  isHushed = false;
  private readonly dice: Dice;

  constructor(
    private readonly ring: BrokerWorld,
    private readonly options: ChangesOptions,
  ) {
    this.dice = diceFor(options.seed, "what befalls");
  }

  private get world() {
    return this.ring.world;
  }

  private get staying(): readonly SimulatedMember[] {
    return this.world.members.filter(({ left }) => !left);
  }

  serving(): readonly SimulatedMember[] {
    return this.staying.filter(({ life }) => life?.up && life.ready && life.serving);
  }

  async run(forMs: number): Promise<void> {
    const { clock } = this.world;
    const untilMs = clock.nowMs + forMs;
    while (clock.nowMs < untilMs) {
      await clock.sleep(this.dice.between(300, 3_000));
      const member = this.dice.pick(this.staying);
      const kind = this.dice.pick(this.options.kinds);
      if (!member || !kind || this.serving().length < this.staying.length) continue;
      // Some things happen while members change, most when they don't.
      if (this.dice.chance(0.7) && restlessness(this.world, [])) continue;
      await this.befall(kind, member);
    }
    this.isHushed = false;
    this.world.network.mendAll();
    for (const member of this.staying) {
      member.storage.mend();
      member.life?.thaw();
      this.world.restart(member);
    }
  }

  private async befall(kind: ChangeKind, member: SimulatedMember): Promise<void> {
    const { world, dice } = this;
    const { clock } = world;
    const shortMs = dice.between(200, 3_000);
    const longMs = (this.options.evictAfterMs ?? 5_000) * dice.between(1, 2);
    world.note(() => `=== ${kind}: ${member.uuid}`);
    switch (kind) {
      case "power":
      case "process":
        return this.crash(member, kind, shortMs);
      case "freeze":
        member.life?.freeze();
        await clock.sleep(shortMs);
        return member.life?.thaw();
      case "cut":
      case "cut one way":
        return this.cut(member, kind === "cut", shortMs);
      case "late":
        world.network.lateShare = dice.between(0, 0.2);
        world.network.overtakenShare = dice.between(0, 0.2);
        world.network.doubledShare = dice.between(0, 0.2);
        await clock.sleep(shortMs);
        world.network.lateShare = 0;
        world.network.overtakenShare = 0;
        world.network.doubledShare = 0;
        return;
      case "full":
        member.storage.setFull(true);
        await clock.sleep(shortMs);
        return member.storage.setFull(false);
      case "skew":
        // A process takes its clock's time when it starts.
        member.skewMs = dice.between(-60_000, 60_000);
        return this.crash(member, "process", dice.between(200, 1_000));
      case "join": {
        if (this.staying.length >= membersMax) return;
        const joiner = world.create();
        joiner.skewMs = dice.between(-5_000, 5_000);
        return world.start(
          joiner,
          world.lives.map(({ self }) => self.addr),
        );
      }
      case "leave":
        return this.leave(member);
      case "away":
        if (this.isLarge())
          await this.crash(member, dice.chance(0.5) ? "power" : "process", longMs);
        return;
      case "cut off":
        if (this.isLarge()) await this.cut(member, true, longMs);
        return;
      case "wipe":
        return this.wipe(member);
    }
  }

  /** So that three stay when one is taken out. */
  private isLarge(): boolean {
    const [life] = this.world.lives;
    return life !== undefined && nextMembers(life.replication.roster).length >= 4;
  }

  private async crash(
    member: SimulatedMember,
    kind: "power" | "process",
    forMs: number,
  ): Promise<void> {
    this.world.crash(member, kind);
    await this.world.clock.sleep(forMs);
    this.world.restart(member);
  }

  private async cut(member: SimulatedMember, both: boolean, forMs: number): Promise<void> {
    const { network, clock } = this.world;
    const mends = this.world.members
      .filter((other) => other !== member)
      .flatMap(({ addr }) => [
        network.cut(member.addr, addr),
        ...(both ? [network.cut(addr, member.addr)] : []),
      ]);
    await clock.sleep(forMs);
    for (const mend of mends) mend();
  }

  private async leave({ id }: SimulatedMember): Promise<void> {
    const asked = this.dice.pick(this.serving())?.life;
    if (!asked || !this.isLarge()) return;
    await asked.request(() => asked.replication.departures.leave(id, true)).catch(() => undefined);
  }

  /** When all copies are there; a write of which one is lost is on one of the others, who all tell. */
  private async wipe(member: SimulatedMember): Promise<void> {
    if (!this.isLarge()) return;
    this.isHushed = true;
    const { world } = this;
    for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 200) {
      await world.clock.sleep(200);
      if (waitedMs < 1_000 || restlessness(world, this.options.mailboxes)) continue;
      const successor = world.loseDisk(member);
      this.isHushed = false;
      await world.clock.sleep(this.dice.between(500, 3_000));
      world.restart(successor);
      break;
    }
    this.isHushed = false;
    // Not two disks of a group.
    for (let waitedMs = 0; waitedMs < 30_000; waitedMs += 500) {
      if (!restlessness(world, [])) break;
      await world.clock.sleep(500);
    }
    await world.clock.sleep(8_000);
  }
}
