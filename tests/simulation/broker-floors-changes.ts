/**
 * Queues through which much passes while their floors rise all the time and the members of the ring change: some
 * join, some leave, some are evicted and come back with what they had or with nothing, clocks are off by a minute.
 */
import type { DataFrame } from "../../src/ebm/index.js";
import { openPacket, readMail } from "../../src/ebm/index.js";
import { queueMailbox } from "../../src/mailbox/folders.js";
import type { RingBroker } from "../../src/middleware/broker/broker.js";
import { belowTime } from "../../src/replication/floor-rules.js";
import type { FloorLimits } from "../../src/replication/floors.js";
import type { PeerMessage } from "../../src/replication/ports.js";
import { flowOf } from "../../src/shared/floor.js";
import type { Operation } from "../../src/shared/operation.js";
import { Book, type Sight } from "./broker-floors-book.js";
import { Changes, type ChangeKind } from "./broker-floors-faults.js";
import { BrokerWorld, message, packetOf, sender } from "./broker-world.js";
import { type Dice, diceFor, type Haste } from "./replication-clock.js";
import type { Life } from "./replication-life.js";
import type { Witness } from "./replication-trace.js";
import type { Faults } from "./replication-world.js";

const queues = ["work", "copies", "log"] as const;
type Queue = (typeof queues)[number];
const mailboxes = queues.map((name) => queueMailbox(name, "ring.test"));

export interface ChangesRun {
  readonly violations: readonly string[];
  readonly passed: number;
  /** How often messages came too late, and got new ids. */
  readonly renewed: number;
  /** How often a floor rose. */
  readonly raised: number;
  readonly epochs: number;
}

interface RunOptions {
  readonly seed: number;
  readonly members?: number;
  readonly forMs?: number;
  readonly disks?: "memory" | "journal";
  readonly kinds: readonly ChangeKind[];
  readonly floors?: FloorLimits;
  readonly evictAfterMs?: number;
  readonly faults?: Faults;
  readonly witness?: Witness;
  readonly haste?: Haste | undefined;
}

/** What is behind the time at all is late. */
export const closeBehind: FloorLimits = {
  ...{ tombstones: 4, sparedMax: 300, lagMs: 20, intervalMs: 150 },
};

interface Outgoing {
  readonly frame: DataFrame;
  readonly text: string;
  readonly to: readonly Queue[];
}

/** Copies that only some members take, of some publishers for some queues, while all else goes on. */
class Refusals {
  private share = 0;
  private victim = 0;
  private but = "";
  /** Who takes them all the same. */
  private holder: string | undefined;

  constructor(private readonly dice: Dice) {}

  async run(ring: BrokerWorld, isOver: () => boolean): Promise<void> {
    const { dice } = this;
    const { clock } = ring.world;
    for (;;) {
      await clock.sleep(dice.between(50, 600));
      this.victim = dice.integer(3);
      this.but = dice.chance(0.6) ? (dice.pick(mailboxes) ?? "") : "";
      this.holder = dice.chance(0.4) ? dice.pick(ring.world.lives)?.self.uuid : undefined;
      this.share = isOver() ? 0 : dice.chance(0.3) ? dice.between(0.5, 1) : 1;
      await clock.sleep(dice.between(300, 2_500));
      this.share = 0;
    }
  }

  hits({ self }: Life, method: string, request: PeerMessage): boolean {
    if (method !== "replicate" || this.share === 0 || self.uuid === this.holder) return false;
    const { operations = [] } = request as { operations?: readonly Operation[] };
    const isHit = operations.some(
      (each) =>
        each.kind === "AddMessage" &&
        each.mailbox !== this.but &&
        Number.parseInt(flowOf(each.message.id), 16) % 3 === this.victim,
    );
    return isHit && this.dice.chance(this.share);
  }
}

export class ChangesScenario {
  private readonly book = new Book();
  private readonly dice: Dice;
  private readonly changes: Changes;
  private isOver = false;
  private renewed = 0;
  private sounded = 0;

  private constructor(
    private readonly ring: BrokerWorld,
    private readonly options: RunOptions,
  ) {
    this.dice = diceFor(options.seed, "changes");
    this.changes = new Changes(ring, { ...options, mailboxes });
    this.book.isLenient = options.members === 2;
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

  static async run(options: RunOptions): Promise<ChangesRun> {
    const { seed, members = 4, disks = "memory", faults, witness, haste } = options;
    const { floors = closeBehind, evictAfterMs = 5_000 } = options;
    const refusals = new Refusals(diceFor(seed, "refusals"));
    const wrapHandle: Faults["wrapHandle"] = (life, method, request) => {
      if (refusals.hits(life, method, request))
        return { answer: { kind: "failed" } as PeerMessage };
      return faults?.wrapHandle?.(life, method, request) ?? request;
    };
    const ring = await BrokerWorld.form({
      ...{ seed, members, disks, floors, evictAfterMs, haste, faults: { ...faults, wrapHandle } },
      ...(witness && { witness }),
    });
    const scenario = new ChangesScenario(ring, options);
    const often = { leaseMs: 4_000, deliveriesMax: 1_000 };
    await ring.declare("work", often);
    await ring.declare("copies", often);
    await ring.declare("log", { ...often, exclusive: true });
    await ring.exchange("news", "fanout", queues);
    void refusals.run(ring, () => scenario.isOver);
    return scenario.play();
  }

  private get clock() {
    return this.ring.world.clock;
  }

  private async play(): Promise<ChangesRun> {
    const { forMs = 40_000 } = this.options;
    const publishers = ["d1", "d2", "d3", "d4", "d5"].map((device) => this.publishing(device));
    const consumers = [...queues, "work" as const].map((queue) => this.consuming(queue));
    const changing = this.changes.run(forMs);
    void this.raising();
    await this.clock.advance(forMs);
    this.isOver = true;
    await this.settle(changing, "the changes don't come to an end");
    await this.settle(Promise.all(publishers), "the publishers don't come to an end");
    await this.settle(Promise.all(consumers), "the consumers don't come to an end");
    await this.clock.advance(20_000);
    this.book.isLenient = false;
    await this.drainRest();
    // So that what comes last is passed by a floor, too.
    await this.clock.advance(40_000);
    await this.drainRest();
    this.book.judge();
    return {
      violations: [...this.book.violations, ...this.ring.world.violations],
      passed: this.book.passed,
      ...{ renewed: this.renewed, raised: Math.floor(this.sounded / 3) },
      epochs: this.ring.world.rosters.size,
    };
  }

  /** More floors than there are reasons for, by any members, two at a time now and then. */
  private async raising(): Promise<void> {
    const { lagMs } = this.options.floors ?? closeBehind;
    while (!this.isOver) {
      await this.clock.sleep(this.dice.between(20, 600));
      const life = this.someLife();
      const mailbox = this.dice.pick(mailboxes);
      if (!life || !mailbox) continue;
      const { replication } = life;
      const below = belowTime(replication.idTimeAfter(0) - lagMs);
      void life.request(() => replication.floors.raise(mailbox, below)).catch(() => undefined);
    }
  }

  private async settle(work: Promise<unknown>, why: string): Promise<void> {
    try {
      await this.clock.until(work, 90_000);
    } catch (error) {
      this.book.violate(`${why}: ${String(error)}`);
    }
  }

  /** Runs at some member; undefined when its process ends before it answers. */
  private begin<T>(
    work: (broker: RingBroker) => Promise<T>,
    life = this.someLife(),
  ): Promise<T | undefined> {
    const index = this.ring.world.members.findIndex((member) => member.life === life);
    if (!life?.up || !life.ready || !life.serving || index < 0) return Promise.resolve(undefined);
    return this.ring.begin(index, work).catch(() => undefined);
  }

  private someLife(): Life | undefined {
    return this.dice.pick(this.changes.serving())?.life;
  }

  /** One message: to one queue, to all of them, or in blocks. */
  private messageOf(device: string, sequence: number): readonly Outgoing[] {
    const text = `${device} ${sequence}`;
    if (this.dice.chance(0.3)) {
      return [{ frame: message(sequence, { routingKey: "work" }, text), text, to: ["work"] }];
    }
    if (this.dice.chance(0.7)) {
      return [{ frame: message(sequence, { exchange: "news" }, text), text, to: queues }];
    }
    const parts = [0, 1, 2].map((part) => `${text}.${part};`);
    const whole = message(sequence, { routingKey: "log" }, parts.join(""));
    let offset = 0;
    return parts.map((part) => {
      const frame = { ...whole, offset, octets: Buffer.from(part), digest: "d" };
      offset += part.length;
      return { frame, text: part, to: ["log"] };
    });
  }

  /** As a client does: the same packet, through any node, until it has its 250; now and then cut otherwise. */
  private async publishing(device: string): Promise<void> {
    const from = sender("alice", 1, device);
    const waiting: Outgoing[] = [];
    for (let next = 1; !this.isOver; ) {
      const fill = (count: number): readonly Outgoing[] => {
        for (; waiting.length < count; next += 1) waiting.push(...this.messageOf(device, next));
        return waiting.slice(0, count);
      };
      let some = fill(1 + this.dice.integer(6));
      for (let attempt = 1; ; attempt += 1) {
        while (this.changes.isHushed) await this.clock.sleep(100);
        const packet = packetOf(
          some.map(({ frame }) => frame),
          from,
        );
        const publish = () => this.begin((broker) => broker.publish(packet, from));
        const both = this.dice.chance(0.1) ? [publish(), publish()] : [publish()];
        const outcome = (await Promise.all(both)).find((each) => each?.kind === "taken");
        const others = await Promise.all(both);
        for (const each of others) this.checkRefusal(device, each);
        if (outcome) break;
        await this.clock.sleep(this.dice.chance(0.3) ? 5_000 : 150);
        if (attempt < 2 || !this.dice.chance(0.2)) continue;
        for (const each of some) {
          for (const queue of each.to) this.book.recut(queue, each.text);
        }
        some = fill(1 + this.dice.integer(6));
      }
      for (const each of some) {
        for (const queue of each.to) {
          this.book.promise(queue, each.text, this.clock.nowMs);
        }
      }
      waiting.splice(0, some.length);
      await this.clock.sleep(this.dice.chance(0.03) ? 4_000 : this.dice.between(5, 60));
    }
  }

  private checkRefusal(
    device: string,
    outcome: Awaited<ReturnType<RingBroker["publish"]>> | undefined,
  ): void {
    if (outcome === undefined || outcome.kind === "taken") return;
    const isUsual =
      outcome.kind === "refused" && (outcome.code === "undecided" || outcome.code === "throttled");
    if (!isUsual) this.book.violate(`${device}: ${JSON.stringify(outcome)}`);
  }

  private async consuming(queue: Queue): Promise<void> {
    while (!this.isOver) {
      while (this.changes.isHushed) await this.clock.sleep(100);
      const count = await this.consumeOnce(queue);
      if (count === 0) await this.clock.sleep(60);
    }
  }

  private async consumeOnce(queue: Queue): Promise<number> {
    const openedAtMs = this.clock.nowMs;
    // A connection to one process, and to no other.
    const life = this.someLife();
    const { user } = sender("alice");
    const answer = await this.begin((broker) => broker.openQueue(queue, user, 16), life);
    if (answer?.kind !== "open") return 0;
    const { session } = answer;
    const sights: (Sight & { entry: (typeof session.entries)[number] })[] = [];
    for (const entry of session.entries) {
      const octets = await this.begin(async () => {
        const read = await session.read(entry, new AbortController().signal);
        return Buffer.isBuffer(read) ? read : undefined;
      }, life);
      if (octets === undefined) continue;
      sights.push({ uid: entry.message.id, texts: textsIn(octets, this.ring.nowMs), entry });
    }
    for (const sight of sights) this.book.see(queue, sight, openedAtMs);
    // Now and then the consumer takes long, or does not acknowledge.
    if (this.dice.chance(0.1)) await this.clock.sleep(this.dice.between(500, 3_000));
    const done = this.dice.chance(0.05) ? [] : sights;
    if (done.length > 0) {
      const isDone = await this.begin(
        () => session.acknowledge(done.map(({ entry }) => entry)),
        life,
      );
      for (const sight of done) {
        const when = { isDone: isDone === true, openedAtMs, atMs: this.clock.nowMs };
        this.book.acknowledge(queue, sight, when);
      }
    }
    await this.begin(() => session.close().then(() => true), life);
    return sights.length;
  }

  /** All are up and whole: whatever is there is consumed. */
  private async drainRest(): Promise<void> {
    for (const queue of queues) {
      const work = (async () => {
        for (let empty = 0; empty < 5; ) {
          const count = await this.consumeOnce(queue);
          empty = count === 0 ? empty + 1 : 0;
          if (count === 0) await this.clock.sleep(2_000);
        }
      })();
      await this.settle(work, `${queue} is never empty`);
    }
  }
}

function textsIn(mail: Buffer, nowMs: number): readonly string[] {
  const { packet } = readMail(mail);
  if (!packet) throw new Error("no packet in the entry");
  return openPacket(packet, nowMs).frames.flatMap((frame) =>
    frame.kind === "data" && frame.void !== true ? [frame.octets.toString()] : [],
  );
}
