/** A ring of whole members on simulated time, network and disks. */
import { createHash } from "node:crypto";
import type { FloorLimits } from "../../src/replication/floors.js";
import { JoinRefusedError } from "../../src/replication/joining.js";
import type { PeerMessage, Store } from "../../src/replication/ports.js";
import { type Roster, rosterToJson } from "../../src/replication/roster.js";
import type { Address, MemberUuid, RingId } from "../../src/shared/ids.js";
import type { Log } from "../../src/shared/log.js";
import type { Disk } from "../../src/shared/disk.js";
import type { SimulatedDisk } from "../../src/store/simulated-disk.js";
import { type Dice, diceFor, type Haste, SimulationClock } from "./replication-clock.js";
import type { SimulatedStorage } from "./replication-disks.js";
import { JournalStorage } from "./replication-journal.js";
import { Life } from "./replication-life.js";
import { ReplicationNetwork } from "./replication-network.js";
import { MemoryStorage } from "./replication-store.js";
import { Trace, type Witness } from "./replication-trace.js";

export interface Faults {
  /** Hides or changes something between a member and the world: a planted bug. */
  readonly wrapStore?: (store: Store, life: Life) => Store;
  /** With `disks: "journal"`: what the store sees of its disk. */
  readonly wrapDisk?: (disk: SimulatedDisk) => Disk;
  readonly wrapHandle?: (
    life: Life,
    method: string,
    message: PeerMessage,
  ) => PeerMessage | { readonly answer: PeerMessage };
}

export interface WorldOptions {
  readonly seed: number;
  readonly disks: "memory" | "journal";
  readonly evictAfterMs: number;
  readonly flushMaxMs: number;
  readonly repairIntervalMs: number;
  readonly floors?: FloorLimits;
  readonly faults?: Faults;
  readonly witness?: Witness;
  /** Absent: time stands still while a process works, and its timers are exact. */
  readonly haste?: Haste | undefined;
}

/** A member's data and name, over all its runs. */
export interface SimulatedMember {
  readonly addr: Address;
  readonly id: RingId;
  readonly uuid: MemberUuid;
  readonly storage: SimulatedStorage;
  /** How far its wall clock is ahead. */
  skewMs: number;
  lives: number;
  life: Life | undefined;
  /** Taken out by agreement, for good. */
  left: boolean;
  /** The highest epoch that it has had. */
  epoch: number;
}

export class ReplicationWorld {
  readonly clock: SimulationClock;
  readonly dice: Dice;
  readonly network: ReplicationNetwork;
  readonly members: SimulatedMember[] = [];
  /** The roster of each epoch, as the first to adopt it had it. */
  readonly rosters = new Map<number, string>();
  /** What went wrong, in the order in which it was seen. */
  readonly violations: string[] = [];
  /** Evictions left two members or fewer: from then on they promise less (ARCHITECTURE.md). */
  hasShrunk = false;
  /** The ring has the members that it is to have at the start. */
  isFormed = false;
  readonly #trace: Trace;
  #created = 0;

  constructor(readonly options: WorldOptions) {
    const { seed, witness, haste } = options;
    this.clock = new SimulationClock(haste);
    this.dice = diceFor(seed, "world");
    this.network = new ReplicationNetwork(this.clock, seed);
    this.#trace = new Trace(this.clock, witness);
    this.network.onMessage = (from, to, method, reply) => {
      this.#trace.message(from, to, method, reply);
    };
  }

  /** Something that the run comes to: part of its hash. */
  trace(text: string): void {
    this.#trace.add(text);
  }

  /** For the reader of a trace only. */
  note(text: () => string): void {
    this.#trace.note(text);
  }

  digest(): string {
    return this.#trace.digest();
  }

  violate(text: string): void {
    this.trace(`VIOLATION ${text}`);
    this.violations.push(`${Math.round(this.clock.nowMs)} ms: ${text}`);
  }

  logOf(life: Life): Log {
    const write = (fields: object, message: string): void => {
      this.note(() => `${life.self.uuid}: ${message} ${JSON.stringify(fields)}`);
    };
    return { debug: () => undefined, info: write, warn: write, error: write };
  }

  /** The store, with what it stores told to the reader of a trace. */
  observed(life: Life, store: Store): Store {
    return this.#trace.isWatched ? this.#trace.observed(life.self.uuid, store) : store;
  }

  /** A member with an empty disk. Its id is drawn; its address may be that of a former one. */
  create(as: { addr?: Address; uuid?: MemberUuid; id?: RingId } = {}): SimulatedMember {
    if (as.uuid === undefined) this.#created += 1;
    const number = this.#created;
    const uuid = as.uuid ?? (`uuid-${number}` as MemberUuid);
    const dice = diceFor(this.options.seed, `${uuid} disk`);
    const member: SimulatedMember = {
      addr: as.addr ?? (`10.0.0.${number}:25` as Address),
      id: as.id ?? (BigInt(dice.integer(2 ** 32)) as RingId),
      uuid,
      storage: this.#storage(dice),
      ...{ life: undefined, left: false, lives: 0, skewMs: 0, epoch: 0 },
    };
    this.members.push(member);
    return member;
  }

  #storage(dice: Dice): SimulatedStorage {
    const { disks, flushMaxMs, faults } = this.options;
    if (disks === "memory") return new MemoryStorage({ dice, flushMaxMs });
    const wrapDisk = faults?.wrapDisk;
    return new JournalStorage({ dice, flushMaxMs, ...(wrapDisk && { wrapDisk }) });
  }

  start(member: SimulatedMember, entries: readonly Address[]): void {
    member.lives += 1;
    const life = new Life(this, member);
    member.life = life;
    this.trace(`start ${member.uuid}`);
    life.start(entries).catch((error: unknown) => {
      if (!life.up) return;
      const isFull = (error as { code?: string }).code === "ENOSPC";
      if (!(error instanceof JoinRefusedError || isFull)) {
        this.violate(`process: ${member.uuid} does not start: ${String(error)}`);
        return;
      }
      this.trace(`${member.uuid} does not start: ${String(error)}`);
      this.crash(member, "process");
      this.clock.after(1_000, () => this.restart(member));
    });
  }

  crash(member: SimulatedMember, kind: "power" | "process"): void {
    const { life } = member;
    if (!life?.up) return;
    this.trace(`crash (${kind}) ${member.uuid}`);
    life.end();
    member.storage.crash(kind);
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
    const { addr, id, uuid } = member;
    this.crash(member, "power");
    const successor = this.create({ addr, id, uuid: `${uuid}b` as MemberUuid });
    this.members.pop();
    this.members.splice(this.members.indexOf(member), 1, successor);
    return successor;
  }

  /** Members whose process is up and has opened its store. */
  get lives(): readonly Life[] {
    return this.members.flatMap(({ life }) => (life?.up && life.ready ? [life] : []));
  }

  /** Rosters of one epoch are one, and no member goes back (I8). */
  onRoster({ member }: Life, roster: Roster): void {
    const { epoch } = roster;
    if (epoch < member.epoch) {
      this.violate(`epochs: ${member.uuid} has ${epoch} after ${member.epoch}`);
    }
    member.epoch = Math.max(epoch, member.epoch);
    if (epoch === 0) return;
    if (this.isFormed && roster.members.length <= 2) this.hasShrunk = true;
    const text = createHash("sha256")
      .update(JSON.stringify(rosterToJson(roster)))
      .digest("hex");
    const known = this.rosters.get(epoch);
    if (known === undefined) {
      this.rosters.set(epoch, text);
      this.trace(`epoch ${epoch} ${text}`);
    } else if (known !== text)
      this.violate(`epochs: ${member.uuid} has another roster of ${epoch}`);
  }
}
