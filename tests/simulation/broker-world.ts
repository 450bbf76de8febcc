/** A simulated ring whose members have a broker, and clients of it. */
import { deepEqual, ok } from "node:assert/strict";
import {
  type DataFrame,
  type Frame,
  type MessageProperties,
  openPacket,
  readMail,
} from "../../src/ebm/index.js";
import { RingKeys } from "../../src/mailbox/ring-keys.js";
import { type QueueSession, RingBroker } from "../../src/middleware/broker/broker.js";
import type { ProvenSender, PublishOutcome } from "../../src/middleware/ports.js";
import type { QueueEntry } from "../../src/replication/peer-methods.js";
import type { PeerMessage } from "../../src/replication/ports.js";
import type { MailboxName } from "../../src/shared/ids.js";
import { hasteFor } from "./replication-clock.js";
import { restlessness } from "./replication-checker.js";
import { gone, type Life, ringParameters, startMs } from "./replication-life.js";
import { ReplicationWorld, type SimulatedMember, type WorldOptions } from "./replication-world.js";

const { domain } = ringParameters;
const ringAddress = `ring@${domain}`;

const user = (name: string): MailboxName => `${name}@${domain}` as MailboxName;
export const sender = (name: string, epoch = 1, device = "d1"): ProvenSender => ({
  user: user(name),
  device,
  epoch,
});

/** What a consumer reads of one entry. */
export interface Shown {
  readonly entry: QueueEntry;
  readonly uid: string;
  readonly messages: readonly DataFrame[];
  readonly texts: readonly string[];
  readonly redelivered: number;
  readonly head: string;
}

/** `RINGPOST_HASTE=7`: where no other haste is asked for, clocks and timers are restless as those of this seed. */
const hasteSeed = process.env["RINGPOST_HASTE"];
const haste = hasteSeed === undefined ? undefined : hasteFor(Number(hasteSeed));

interface FormOptions
  extends Partial<
    Pick<
      WorldOptions,
      "seed" | "disks" | "evictAfterMs" | "floors" | "faults" | "witness" | "haste"
    >
  > {
  readonly members?: number;
}

export class BrokerWorld {
  readonly world: ReplicationWorld;
  private readonly brokers = new WeakMap<Life, RingBroker>();

  /** Mailboxes of which nobody stores anything at the moment. */
  readonly refusing = new Set<string>();

  private constructor({ seed = 1, disks = "memory", ...options }: FormOptions) {
    const refuse = { answer: { kind: "failed" } as PeerMessage };
    this.world = new ReplicationWorld({
      ...{ seed, disks, evictAfterMs: 3_600_000, flushMaxMs: 5, haste, ...options },
      repairIntervalMs: 3_000,
      faults: {
        ...options.faults,
        wrapHandle: (life, method, request) => {
          const given = options.faults?.wrapHandle?.(life, method, request) ?? request;
          if ("answer" in given) return given;
          if (method !== "replicate" || this.refusing.size === 0) return given;
          const { operations = [] } = request as { operations?: readonly { mailbox?: string }[] };
          const isHit = operations.some(({ mailbox = "" }) => this.refusing.has(mailbox));
          return isHit ? refuse : request;
        },
      },
    });
  }

  static async form({ members = 3, ...options }: FormOptions = {}): Promise<BrokerWorld> {
    const formed = new BrokerWorld(options);
    const { world } = formed;
    const first = world.create();
    world.start(first, []);
    await world.clock.advance(500);
    for (let i = 1; i < members; i += 1) world.start(world.create(), [first.addr]);
    for (let waitedMs = 0; restlessness(world, []) && waitedMs < 120_000; waitedMs += 1_000) {
      await world.clock.advance(1_000);
    }
    return formed;
  }

  member(index: number): SimulatedMember {
    const found = this.world.members[index];
    if (!found) throw new Error(`there is no member ${index}`);
    return found;
  }

  get nowMs(): number {
    return startMs + Math.floor(this.world.clock.nowMs);
  }

  broker(index: number): RingBroker {
    const { life } = this.member(index);
    if (!life?.up || !life.ready) throw new Error(`member ${index} is down`);
    const known = this.brokers.get(life);
    if (known) return known;
    const broker = createBroker(life);
    this.brokers.set(life, broker);
    broker.start();
    return broker;
  }

  /** Runs the simulation until `work` is done; undefined when the member's process ends before. */
  async at<T>(index: number, work: (broker: RingBroker) => Promise<T>): Promise<T | undefined> {
    const running = this.begin(index, work);
    return this.world.clock.until(running, 120_000);
  }

  begin<T>(index: number, work: (broker: RingBroker) => Promise<T>): Promise<T | undefined> {
    // Every member that is up has one, as it has a process.
    this.world.members.forEach((member, each) => {
      if (member.life?.up && member.life.serving) this.broker(each);
    });
    const broker = this.broker(index);
    const { life } = this.member(index);
    if (!life) throw new Error("no life");
    return life
      .request(() => work(broker))
      .then((answer) => (answer === gone ? undefined : answer));
  }

  async must<T>(index: number, work: (broker: RingBroker) => Promise<T>): Promise<T> {
    const answer = await this.at(index, work);
    if (answer === undefined) throw new Error("the process ended");
    return answer;
  }

  /** A queue of its own for whoever declares it. */
  async declare(name: string, options: object = {}, who = "alice"): Promise<void> {
    const outcome = await this.must(0, ({ operations }) =>
      operations.declareQueue({ name, ...options }, sender(who)),
    );
    deepEqual(outcome, { ok: true, answer: {} });
  }

  /** Alice's, with these queues of hers bound to it. */
  async exchange(name: string, type: "topic" | "fanout", queues: readonly string[]): Promise<void> {
    const alice = sender("alice");
    const made = await this.must(0, ({ operations }) =>
      operations.declareExchange({ name, type }, alice),
    );
    ok(made.ok);
    for (const queue of queues) {
      const ask = { exchange: name, queue, key: "#" };
      const bound = await this.must(0, ({ operations }) => operations.bind(ask, alice));
      ok(bound.ok);
    }
  }

  /** Until it is gone, as a client does that is told to try again. */
  async remove(name: string, who = "alice"): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const outcome = await this.must(0, ({ operations }) =>
        operations.removeQueue({ name }, sender(who)),
      );
      if (outcome.ok || outcome.code === "unknown") return;
    }
    throw new Error("not removed");
  }

  publish(index: number, frames: readonly Frame[], from = sender("alice")) {
    return this.at(index, (broker) => broker.publish(packetOf(frames, from), from));
  }

  /** As a client does: again, through one node after the other, until it has its 250. */
  async publishFirmly(
    frames: readonly Frame[],
    from = sender("alice"),
    nodes: readonly number[] = [0, 1, 2],
  ): Promise<PublishOutcome> {
    for (let attempt = 0; attempt < 40; attempt += 1) {
      const index = nodes[attempt % nodes.length] ?? 0;
      if (this.member(index).life?.up) {
        const outcome = await this.publish(index, frames, from);
        const isOver = outcome && !(outcome.kind === "refused" && outcome.code === "undecided");
        if (isOver) return outcome;
      }
      await this.world.clock.advance(200);
    }
    throw new Error("never taken");
  }

  /** A POP3 session that reads all it is shown. */
  async open(
    index: number,
    queue: string,
    who = "alice",
    max?: number,
  ): Promise<{ session: QueueSession; shown: readonly Shown[] }> {
    const answer = await this.must(index, (broker) => broker.openQueue(queue, user(who), max));
    if (answer.kind !== "open") throw new Error(`the queue can't be opened: ${answer.kind}`);
    const { session } = answer;
    const shown: Shown[] = [];
    for (const entry of session.entries) shown.push(await this.read(index, session, entry));
    return { session, shown };
  }

  async read(index: number, session: QueueSession, entry: QueueEntry): Promise<Shown> {
    const { signal } = new AbortController();
    const octets = await this.must(index, () => session.read(entry, signal));
    const mail = Buffer.isBuffer(octets) ? octets : await joined(octets);
    if (mail.length !== session.octetsOf(entry)) throw new Error("not as long as announced");
    const { packet } = readMail(mail);
    if (!packet) throw new Error("no packet in the entry");
    const { frames } = openPacket(packet, this.nowMs);
    const messages = frames.filter((frame) => frame.kind === "data");
    const texts = messages.map(({ octets: body }) => body.toString());
    const head = mail.subarray(0, mail.indexOf("\r\n\r\n")).toString();
    const again = /^Ringpost-Redelivered: (\d+)\r\n/.exec(head)?.[1] ?? "0";
    return { entry, uid: entry.message.id, messages, texts, redelivered: Number(again), head };
  }

  /** Opens, reads, acknowledges all, closes. */
  async drain(index: number, queue: string, who = "alice"): Promise<readonly Shown[]> {
    const all: Shown[] = [];
    for (;;) {
      const { session, shown } = await this.open(index, queue, who);
      if (shown.length > 0) {
        const isDone = await this.must(index, () => session.acknowledge(session.entries));
        if (!isDone) throw new Error("not acknowledged");
      }
      await this.must(index, () => session.close().then(() => true));
      all.push(...shown);
      if (shown.length === 0) return all;
    }
  }
}

function createBroker(life: Life): RingBroker {
  const { replication, store, opened } = life.rooms;
  const { clock, random } = life.ports(() => life.member.skewMs);
  const announceChanged = (register: string) => replication.announceChanged(register);
  const { registers } = replication;
  const keys = new RingKeys({ registers, clock, random, tokenMs: 3_600_000, announceChanged });
  const log = life.world.logOf(life);
  return new RingBroker({
    ...{ replication, store, files: opened.files, keys, domain, clock, random, log },
    ...{ self: life.self.uuid, codec: "test" },
  });
}

export function packetOf(frames: readonly Frame[], by: ProvenSender = sender("alice")) {
  const { user: from, device, epoch } = by;
  const header = {
    ...{ connection: "c", packet: 1, from: { user: from, device, epoch } },
    ...{ to: ringAddress, key: "k".repeat(43), expiresAtMs: 0, hash: "h".repeat(43) },
  };
  return { header, frames };
}

interface FrameOptions extends Partial<MessageProperties> {
  readonly stream?: string;
}

/** A whole message; its text says which it is. */
export function message(sequence: number, options: FrameOptions, text = `m${sequence}`): DataFrame {
  const { stream = "main", ...properties } = options;
  const octets = Buffer.from(text);
  return {
    ...{ kind: "data", stream, sequence, id: `${stream}-${sequence}`, offset: 0 },
    ...{ size: octets.length, octets, properties: { sentAtMs: 0, ...properties } },
  };
}

/** `m1`, `m2` … as messages, and as what is read of them. */
export const numbered = (from: number, to: number, options: FrameOptions): DataFrame[] =>
  Array.from({ length: to - from + 1 }, (_, i) => message(from + i, options));
export const expected = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `m${from + i}`);

export const texts = (shown: readonly Shown[]): string[] => shown.flatMap((each) => each.texts);

async function joined(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of pieces) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}
