/**
 * A queue through which much passes while its floor rises all the time, and members die, freeze, are cut off and
 * come back with what they had. What publishers were promised and consumers have acknowledged is in a book.
 */
import { openPacket, readMail } from "../../src/ebm/index.js";
import type { RingBroker } from "../../src/middleware/broker/broker.js";
import { queueMailbox } from "../../src/mailbox/folders.js";
import type { FloorLimits } from "../../src/replication/floors.js";
import type { QueueEntry } from "../../src/replication/peer-methods.js";
import type { PeerMessage } from "../../src/replication/ports.js";
import type { Operation } from "../../src/shared/operation.js";
import { BrokerWorld, message, packetOf, sender } from "./broker-world.js";
import { type Dice, diceFor, type Haste } from "./replication-clock.js";
import type { Life } from "./replication-life.js";
import type { Witness } from "./replication-trace.js";
import type { Faults } from "./replication-world.js";

const mailbox = queueMailbox("work", "ring.test");
export const floors: FloorLimits = { tombstones: 8, sparedMax: 30, lagMs: 400, intervalMs: 250 };

interface Sight {
  readonly uid: string;
  readonly text: string;
}

export interface FloorRun {
  readonly violations: readonly string[];
  readonly passed: number;
  /** How often messages came too late, and got new ids. */
  readonly renewed: number;
  /** How often the floor rose. */
  readonly raised: number;
  /** At rest, of the member that has most. */
  readonly tombstones: number;
}

interface RunOptions {
  readonly seed: number;
  readonly members?: number;
  readonly forMs?: number;
  readonly disks?: "memory" | "journal";
  readonly faults?: Faults;
  readonly witness?: Witness;
  readonly haste?: Haste | undefined;
}

export class FloorScenario {
  readonly violations: string[] = [];
  /** Acknowledged, by text: the entries under which it was. */
  private readonly acked = new Map<string, Set<string>>();
  /** Perhaps acknowledged: the answer got lost. */
  private readonly maybe = new Set<string>();
  private readonly promised = new Set<string>();
  private readonly dice: Dice;
  private isOver = false;
  private renewed = 0;
  private sounded = 0;

  private constructor(
    private readonly ring: BrokerWorld,
    private readonly options: RunOptions,
  ) {
    this.dice = diceFor(options.seed, "floors");
    const note = ring.world.note.bind(ring.world);
    ring.world.note = (text) => {
      const line = text();
      if (line.includes("get new ids")) this.renewed += 1;
      note(() => line);
    };
    const { network } = ring.world;
    const { onMessage } = network;
    network.onMessage = (from, to, method, reply) => {
      if (method === "sound" && reply === undefined) this.sounded += 1;
      onMessage(from, to, method, reply);
    };
  }

  static async run(options: RunOptions): Promise<FloorRun> {
    const { seed, members = 4, disks = "memory", faults, haste } = options;
    const dice = diceFor(seed, "refusals");
    let refusedShare = 0;
    // Copies that only some members take, so that nobody is told that they are there.
    const wrapHandle: Faults["wrapHandle"] = (life, method, request) => {
      const { operations = [] } = request as { operations?: readonly Operation[] };
      const isCopy = method === "replicate" && operations.some(({ kind }) => kind === "AddMessage");
      if (isCopy && dice.chance(refusedShare)) return { answer: { kind: "failed" } as PeerMessage };
      return faults?.wrapHandle?.(life, method, request) ?? request;
    };
    const ring = await BrokerWorld.form({
      ...{ seed, members, disks, floors, haste },
      faults: { ...faults, wrapHandle },
      ...(options.witness && { witness: options.witness }),
    });
    const refusing = async (): Promise<void> => {
      for (;;) {
        await ring.world.clock.sleep(dice.between(2_000, 5_000));
        refusedShare = scenario.isOver ? 0 : 0.7;
        await ring.world.clock.sleep(dice.between(200, 1_200));
        refusedShare = 0;
      }
    };
    const scenario = new FloorScenario(ring, options);
    await ring.must(0, ({ operations }) =>
      operations.declareQueue(
        { name: "work", leaseMs: 4_000, deliveriesMax: 1_000 },
        sender("alice"),
      ),
    );
    void refusing();
    return scenario.play();
  }

  private get clock() {
    return this.ring.world.clock;
  }

  private async play(): Promise<FloorRun> {
    const { forMs = 40_000 } = this.options;
    const publishers = ["d1", "d2", "d3"].map((device) => this.publishing(device));
    const consumers = [1, 2].map(() => this.consuming());
    const faults = this.failing(forMs);
    await this.clock.advance(forMs);
    this.isOver = true;
    await this.settle(Promise.all([...publishers, faults]), "the publishers don't come to an end");
    await this.settle(Promise.all(consumers), "the consumers don't come to an end");
    await this.clock.advance(20_000);
    await this.drainRest();
    // So that what comes last is passed by a floor, too.
    await this.clock.advance(70_000);
    await this.drainRest();
    this.judge();
    return {
      violations: [...this.violations, ...this.ring.world.violations],
      passed: this.acked.size,
      ...{ renewed: this.renewed, raised: this.sounded / 3 },
      tombstones: await this.tombstones(),
    };
  }

  private async settle(work: Promise<unknown>, why: string): Promise<void> {
    try {
      await this.clock.until(work, 300_000);
    } catch {
      this.violations.push(why);
    }
  }

  private up(): number[] {
    const { members } = this.ring.world;
    return members.flatMap(({ life }, index) =>
      life?.up && life.ready && life.serving ? [index] : [],
    );
  }

  /** Runs at some member; undefined when its process ends before it answers. */
  private begin<T>(
    work: (broker: RingBroker) => Promise<T>,
    life = this.someLife(),
  ): Promise<T | undefined> {
    const index = this.ring.world.members.findIndex((member) => member.life === life);
    if (!life?.up || !life.ready || index < 0) return Promise.resolve(undefined);
    return this.ring.begin(index, work).catch(() => undefined);
  }

  private someLife(): Life | undefined {
    return this.ring.world.members[this.dice.pick(this.up()) ?? -1]?.life;
  }

  /** As a client does: the same packet, through any node, until it has its 250; now and then after a long rest. */
  private async publishing(device: string): Promise<void> {
    const from = sender("alice", 1, device);
    for (let next = 1; !this.isOver; ) {
      const count = 1 + this.dice.integer(5);
      const frames = Array.from({ length: count }, (_, i) =>
        message(next + i, { routingKey: "work" }, `${device} ${next + i}`),
      );
      for (;;) {
        const outcome = await this.begin((broker) => broker.publish(packetOf(frames, from), from));
        if (outcome?.kind === "taken") break;
        if (
          outcome?.kind === "refused" &&
          outcome.code !== "undecided" &&
          outcome.code !== "throttled"
        ) {
          this.violations.push(`${device} ${next}: refused: ${outcome.code} ${outcome.why}`);
        }
        await this.clock.sleep(this.dice.chance(0.3) ? 5_000 : 150);
      }
      for (let i = 0; i < count; i += 1) this.promised.add(`${device} ${next + i}`);
      next += count;
      await this.clock.sleep(this.dice.chance(0.03) ? 4_000 : this.dice.between(5, 60));
    }
  }

  private async consuming(): Promise<void> {
    while (!this.isOver) {
      const count = await this.consumeOnce();
      if (count === 0) await this.clock.sleep(60);
    }
  }

  private async consumeOnce(): Promise<number> {
    const doneBefore = new Set(this.acked.keys());
    // A connection to one process, and to no other.
    const life = this.someLife();
    const { user } = sender("alice");
    const answer = await this.begin((broker) => broker.openQueue("work", user, 16), life);
    if (answer?.kind !== "open") return 0;
    const { session } = answer;
    const sights: (Sight & { entry: QueueEntry })[] = [];
    for (const entry of session.entries) {
      const text = await this.begin(async () => {
        const octets = await session.read(entry, new AbortController().signal);
        return Buffer.isBuffer(octets) ? octets : undefined;
      }, life);
      if (text === undefined) continue;
      sights.push({ uid: entry.message.id, text: textIn(text, this.ring.nowMs), entry });
    }
    for (const sight of sights) this.see(sight, doneBefore);
    // Now and then the consumer takes long, or does not acknowledge.
    if (this.dice.chance(0.1)) await this.clock.sleep(this.dice.between(500, 3_000));
    const done = this.dice.chance(0.05) ? [] : sights;
    if (done.length > 0) {
      const isDone = await this.begin(
        () => session.acknowledge(done.map(({ entry }) => entry)),
        life,
      );
      for (const { uid, text } of done) {
        if (isDone) this.acked.set(text, (this.acked.get(text) ?? new Set()).add(uid));
        else this.maybe.add(text);
      }
    }
    await this.begin(() => session.close().then(() => true), life);
    return sights.length;
  }

  private see({ uid, text }: Sight, doneBefore: ReadonlySet<string>): void {
    if (doneBefore.has(text)) {
      this.violations.push(`${text} (${uid}) is shown after it was acknowledged`);
    }
  }

  private async failing(forMs: number): Promise<void> {
    const { world } = this.ring;
    const untilMs = this.clock.nowMs + forMs;
    while (this.clock.nowMs < untilMs) {
      await this.clock.sleep(this.dice.between(500, 4_000));
      const index = this.dice.pick(this.up());
      const member = index === undefined ? undefined : world.members[index];
      if (!member || this.up().length < world.members.length) continue;
      const lastsMs = this.dice.chance(0.3) ? 9_000 : this.dice.between(300, 3_000);
      const kind = this.dice.pick(["power", "process", "freeze", "cut", "cut one way"] as const);
      if (kind === "power" || kind === "process") {
        world.crash(member, kind);
        await this.clock.sleep(lastsMs);
        world.restart(member);
      } else if (kind === "freeze") {
        const { life } = member;
        life?.freeze();
        await this.clock.sleep(lastsMs);
        life?.thaw();
      } else {
        const others = world.members.filter((other) => other !== member);
        const mends = others.flatMap(({ addr }) => [
          world.network.cut(member.addr, addr),
          ...(kind === "cut" ? [world.network.cut(addr, member.addr)] : []),
        ]);
        await this.clock.sleep(lastsMs);
        for (const mend of mends) mend();
      }
    }
  }

  /** All are up and whole: whatever is there is consumed. */
  private async drainRest(): Promise<void> {
    const work = (async () => {
      for (let empty = 0; empty < 5; ) {
        const count = await this.consumeOnce();
        empty = count === 0 ? empty + 1 : 0;
        if (count === 0) await this.clock.sleep(2_000);
      }
    })();
    await this.settle(work, "the queue is never empty");
  }

  private judge(): void {
    for (const text of this.promised) {
      if (!this.acked.has(text) && !this.maybe.has(text)) this.violations.push(`${text} is lost`);
    }
    for (const [text, uids] of this.acked) {
      if (uids.size > 1) this.violations.push(`${text} is doubled: ${[...uids].join(" ")}`);
    }
  }

  private async tombstones(): Promise<number> {
    let most = 0;
    for (const { store } of this.ring.world.lives) {
      const { summary } = await this.clock.until(store.contents(mailbox), 10_000);
      most = Math.max(most, summary.tombstones);
    }
    return most;
  }
}

function textIn(mail: Buffer, nowMs: number): string {
  const { packet } = readMail(mail);
  if (!packet) throw new Error("no packet in the entry");
  const frames = openPacket(packet, nowMs).frames.flatMap((frame) =>
    frame.kind === "data" ? [frame.octets.toString()] : [],
  );
  return frames.join(", ");
}
