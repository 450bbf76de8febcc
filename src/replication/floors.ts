/**
 * Forgets tombstones of mailboxes through which much passes, without letting what was removed come back.
 *
 * A *floor* says of a mailbox: what is below this point in time and not spared is over, whoever still has it
 * and wherever it turns up. It is agreed on in a register of the mailbox's group, in two changes. The first
 * puts up a *barrier*: who has accepted it counts nothing below any more, neither additions nor removals nor
 * what is known, until the floor has come. Then a majority, each behind the barrier, tells what it has below;
 * all of that is spared. Whatever a majority had counted before, one of these knew. The second change makes
 * it the floor; each member applies it when a majority has it.
 */
import { type Floor, isOfFlow, sparedBy } from "../shared/floor.js";
import type { MailboxName, MessageId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { Operation } from "../shared/operation.js";
import {
  aim,
  barrierOf,
  belowTime,
  floorFrom,
  type KeptFloor,
  keptFloorOf,
  packSounding,
  type Sounding,
  soundingOf,
  unpackSounding,
} from "./floor-rules.js";
import type { Groups } from "./group.js";
import { limits as shared } from "../shared/limits.js";
import type { ReplyOf } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import { isInGroup } from "./placement.js";
import type { Clock, Randomness, Store } from "./ports.js";
import { placeOf, type Registers } from "./registers.js";

export interface FloorLimits {
  /** Tombstones of a mailbox that make it worth while, and that have to come before the next time. */
  readonly tombstones: number;
  /** Ids that a floor spares, about. */
  readonly sparedMax: number;
  /**
   * A floor stays so far behind the time. A message whose delivery takes longer gets a new id: nothing but
   * speed depends on this.
   */
  readonly lagMs: number;
  readonly intervalMs: number;
}

export const defaultFloorLimits: FloorLimits = {
  tombstones: 10_000,
  sparedMax: 10_000,
  lagMs: 10_000,
  intervalMs: 2_000,
};

interface FloorsOptions {
  readonly groups: Groups;
  readonly registers: Pick<Registers, "read" | "change">;
  readonly peers: Peers;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Randomness;
  /** Milliseconds by the clock of ids. */
  readonly ringMs: () => number;
  /** Tells all members that a register was changed. */
  readonly tell: (register: string) => Promise<unknown>;
  readonly log: Log;
  readonly limits: FloorLimits;
}

/** By mailbox, the barrier below which the operations have been looked at. */
export type Admitted = ReadonlyMap<MailboxName, string>;

export type Judgement =
  | { readonly kind: "admitted"; readonly admitted: Admitted }
  /** `below`: ids above it are not affected. */
  | { readonly kind: "sunk"; readonly below: string };

/** How long an operation below a barrier waits for the floor. */
const pendingMsMax = 1_000;
/** Whoever raises a floor needs no longer, or is gone. */
const raisingMsMax = 3_000;
/** After an attempt that would have saved little: the first and the longest pause. */
const pauseMs = { first: 30_000, max: 30 * 60_000 };

const prefix = "floor:";
const registerOf = (mailbox: MailboxName): string => prefix + mailbox;

type Touching = Extract<Operation, { kind: "AddMessage" | "RemoveMessage" }>;
const idOf = (operation: Touching): MessageId =>
  operation.kind === "AddMessage" ? operation.message.id : operation.tombstone.id;
const isTouching = ({ kind }: Operation): boolean =>
  kind === "AddMessage" || kind === "RemoveMessage";

interface Attempt {
  readonly tombstones: number;
  readonly atMs: number;
  readonly pauseMs: number;
}

export class Floors {
  /** How high floors are known to be applied here. */
  private readonly applied = new Map<MailboxName, string>();
  private readonly waiting = new Map<MailboxName, Set<() => void>>();
  private readonly learning = new Map<MailboxName, Promise<void>>();
  /** What this member has told of what it has below a barrier. */
  private readonly told = new Map<MailboxName, { nonce: string; live: ReadonlySet<MessageId> }>();
  private readonly attempts = new Map<MailboxName, Attempt>();
  private pending = new Map<string, number>();

  constructor(private readonly options: FloorsOptions) {}

  get intervalMs(): number {
    return this.options.limits.intervalMs;
  }

  private kept(mailbox: MailboxName): KeptFloor {
    return keptFloorOf(this.options.store.register(registerOf(mailbox))?.value);
  }

  /** Below it, this member counts only what a floor has spared. No I/O. */
  barrier(mailbox: MailboxName): string {
    return barrierOf(this.kept(mailbox));
  }

  /** Those that may not be counted as they are. No I/O, so that nothing comes in between. */
  barred(operations: readonly Operation[], admitted: Admitted): readonly Touching[] {
    const barriers = new Map<MailboxName, string>();
    const barrierAt = (mailbox: MailboxName): string => {
      const barrier = barriers.get(mailbox) ?? this.barrier(mailbox);
      barriers.set(mailbox, barrier);
      return barrier;
    };
    return operations.filter((operation): operation is Touching => {
      if (!isTouching(operation)) return false;
      const touching = operation as Touching;
      const id = idOf(touching);
      if (!isOfFlow(id)) return false;
      const barrier = barrierAt(touching.mailbox);
      return id < barrier && admitted.get(touching.mailbox) !== barrier;
    });
  }

  /**
   * Waits for the floor below which these are. Spared ones may be counted. Of others, only a removal by who
   * does not ask whether they were there (`isOwner`: who does) has what it wants.
   */
  async judge(barred: readonly Touching[], isOwner: boolean): Promise<Judgement> {
    const admitted = new Map<MailboxName, string>();
    for (const mailbox of new Set(barred.map((each) => each.mailbox))) {
      const kept = this.kept(mailbox);
      const barrier = barrierOf(kept);
      const floor = await this.floorAt(mailbox, barrier);
      const mayCount = (operation: Touching): boolean => {
        const id = idOf(operation);
        if (id >= barrier) return true;
        if (!floor) return this.willBeSpared(mailbox, kept, id);
        const isForgotten = operation.kind === "RemoveMessage" && !isOwner;
        return isForgotten || id >= floor.below || sparedBy(floor).has(id);
      };
      const own = barred.filter((each) => each.mailbox === mailbox);
      if (!own.every(mayCount)) return { kind: "sunk", below: barrier };
      admitted.set(mailbox, barrier);
    }
    return { kind: "admitted", admitted };
  }

  /** In a group of two no floor comes without what this member has told. */
  private willBeSpared(mailbox: MailboxName, { raise }: KeptFloor, id: MessageId): boolean {
    const told = this.told.get(mailbox);
    const isNeeded = this.options.groups.placementOf(mailbox).everyone.length === 2;
    return isNeeded && raise !== undefined && told?.nonce === raise.nonce && told.live.has(id);
  }

  /** The floor as it is applied here, not below the barrier; undefined when it does not come. */
  private async floorAt(mailbox: MailboxName, barrier: string): Promise<Floor | undefined> {
    const { clock, store } = this.options;
    const untilMs = clock.monotonicMs() + pendingMsMax;
    for (;;) {
      const floor = await store.floor(mailbox);
      if (floor && floor.below >= barrier) return floor;
      const leftMs = untilMs - clock.monotonicMs();
      if (leftMs <= 0) return undefined;
      if (this.kept(mailbox).raise === undefined) await this.learn(mailbox);
      else await this.changed(mailbox, leftMs);
      const now = await store.floor(mailbox);
      if (!(now && now.below >= barrier)) await clock.sleep(Math.min(20, leftMs));
    }
  }

  private async changed(mailbox: MailboxName, ms: number): Promise<void> {
    const over = new AbortController();
    const waiting = this.waiting.get(mailbox) ?? new Set();
    this.waiting.set(mailbox, waiting);
    let wake: () => void = () => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
      waiting.add(wake);
    });
    const late = this.options.clock.sleep(ms, over.signal).catch(() => undefined);
    await Promise.race([woken, late]);
    over.abort();
    waiting.delete(wake);
    if (waiting.size === 0 && this.waiting.get(mailbox) === waiting) this.waiting.delete(mailbox);
  }

  /** This node no longer keeps the mailbox, nor its floor. */
  forget(mailbox: MailboxName): void {
    this.applied.delete(mailbox);
    this.attempts.delete(mailbox);
    this.told.delete(mailbox);
  }

  /** A register was changed somewhere. */
  heard(register: string): void {
    if (!register.startsWith(prefix)) return;
    const mailbox = placeOf(register) as MailboxName;
    if (this.isOurs(mailbox)) void this.learn(mailbox).catch(() => undefined);
  }

  private isOurs(mailbox: MailboxName): boolean {
    const { groups, peers } = this.options;
    return isInGroup(groups.placementOf(mailbox), peers.self.uuid);
  }

  /** Applies the floor that a majority has agreed on. */
  private learn(mailbox: MailboxName): Promise<void> {
    const running = this.learning.get(mailbox);
    if (running) return running;
    const learning = this.learnNow(mailbox).finally(() => this.learning.delete(mailbox));
    this.learning.set(mailbox, learning);
    return learning;
  }

  private async learnNow(mailbox: MailboxName): Promise<void> {
    const { registers, store } = this.options;
    const read = await registers.read(registerOf(mailbox));
    // What only this member has accepted may never have been agreed on.
    if (read.kind !== "value") return;
    const { floor } = keptFloorOf(read.value);
    if (!floor) return;
    const before = await store.floor(mailbox);
    if (!before || before.below < floor.below) {
      await store.write([{ kind: "RaiseFloor", mailbox, floor }]);
    }
    this.applied.set(mailbox, floor.below);
    for (const wake of this.waiting.get(mailbox) ?? []) wake();
  }

  /** Serves `sound`: what this member has below a barrier that it has accepted. */
  async sound(mailbox: MailboxName, nonce: string): Promise<ReplyOf<"sound">> {
    const { store } = this.options;
    const { raise } = this.kept(mailbox);
    if (raise?.nonce !== nonce) return { kind: "unready" };
    // All that was counted before the barrier came is in it.
    const sounding = soundingOf(await store.contents(mailbox), raise.below);
    this.told.set(mailbox, { nonce, live: new Set(sounding.live) });
    // After a restart, too, nothing more is counted.
    await store.durable();
    return { kind: "sounded", ...packSounding(sounding) };
  }

  /** Background work: applies floors, and raises those that this member is to raise. */
  async tick(): Promise<void> {
    const { store, log } = this.options;
    const pending = new Map<string, number>();
    for (const [register, { value }] of [...store.registers()]) {
      if (!register.startsWith(prefix)) continue;
      const mailbox = placeOf(register) as MailboxName;
      if (!this.isOurs(mailbox)) continue;
      const { floor, raise } = keptFloorOf(value);
      if (floor && floor.below > (this.applied.get(mailbox) ?? "")) await this.learn(mailbox);
      if (raise) pending.set(`${raise.nonce} ${mailbox}`, this.sinceMs(raise.nonce, mailbox));
    }
    this.pending = pending;
    for (const { mailbox, tombstones } of [...store.catalog()]) {
      if (!this.isFirst(mailbox)) continue;
      const isDue = this.isDue(mailbox, tombstones);
      if (!isDue && !this.isLeftPending(mailbox)) continue;
      try {
        await this.consider(mailbox, tombstones);
      } catch (error) {
        log.debug({ mailbox, error: String(error) }, "tombstones are not forgotten yet");
      }
    }
  }

  private sinceMs(nonce: string, mailbox: MailboxName): number {
    return this.pending.get(`${nonce} ${mailbox}`) ?? this.options.clock.monotonicMs();
  }

  /** Whoever began to raise the floor has not come to an end with it. */
  private isLeftPending(mailbox: MailboxName): boolean {
    const { raise } = this.kept(mailbox);
    if (!raise) return false;
    const nowMs = this.options.clock.monotonicMs();
    return nowMs - this.sinceMs(raise.nonce, mailbox) >= raisingMsMax;
  }

  /** One of the group does it: the first that is heard. */
  private isFirst(mailbox: MailboxName): boolean {
    const { groups, peers } = this.options;
    const heard = groups
      .placementOf(mailbox)
      .everyone.find(({ uuid }) => peers.isSelf(uuid) || !peers.liveness.isQuiet(uuid));
    return heard !== undefined && peers.isSelf(heard.uuid);
  }

  private isDue(mailbox: MailboxName, tombstones: number): boolean {
    const wanted = this.options.limits.tombstones;
    const last = this.attempts.get(mailbox);
    if (tombstones < wanted) return false;
    if (!last || tombstones - last.tombstones >= wanted) return true;
    return this.options.clock.monotonicMs() - last.atMs >= last.pauseMs;
  }

  private async consider(mailbox: MailboxName, tombstones: number): Promise<void> {
    const { store, clock, ringMs, limits } = this.options;
    const contents = await store.contents(mailbox);
    const { below, saves } = aim(contents, belowTime(ringMs() - limits.lagMs), limits.sparedMax);
    const isWorthIt = saves >= limits.tombstones / 2;
    const hasRisen =
      isWorthIt || this.isLeftPending(mailbox) ? await this.raise(mailbox, below) : false;
    const before = this.attempts.get(mailbox);
    const longer = hasRisen ? pauseMs.first : Math.min(2 * (before?.pauseMs ?? 0), pauseMs.max);
    const left = hasRisen ? (await store.contents(mailbox)).summary.tombstones : tombstones;
    this.attempts.set(mailbox, {
      tombstones: left,
      atMs: clock.monotonicMs(),
      pauseMs: Math.max(pauseMs.first, longer),
    });
  }

  /** True when the floor is there. */
  async raise(mailbox: MailboxName, below: string): Promise<boolean> {
    const { registers, random, tell, log } = this.options;
    const register = registerOf(mailbox);
    const nonce = random.bytes(12).toString("base64url");
    const begun = await registers.change(register, (value) => {
      const kept = keptFloorOf(value);
      const barrier = barrierOf(kept);
      // Not below what was: a member that has told what it has stays behind it.
      const raise = { nonce, below: below > barrier ? below : barrier };
      // One floor at a height, so that members with the same one have spared the same.
      if (raise.below <= (kept.floor?.below ?? "")) return { result: null };
      return { set: { value: { ...kept, raise } }, result: null };
    });
    if (begun.kind !== "changed") return false;
    const { floor: before, raise } = keptFloorOf(begun.value);
    const soundings = raise && (await this.soundings(mailbox, nonce));
    if (!soundings) return false;
    const floor = floorFrom(raise.below, before, soundings);
    const ended = await registers.change(register, (value) =>
      keptFloorOf(value).raise?.nonce === nonce
        ? { set: { value: { floor } satisfies KeptFloor }, result: true }
        : { result: false },
    );
    if (ended.kind !== "changed") return false;
    const spared = sparedBy(floor).size;
    log.debug({ mailbox, below: floor.below, spared }, "tombstones below the floor are forgotten");
    await Promise.allSettled([tell(register), this.learn(mailbox)]);
    return true;
  }

  /** Of a majority. */
  private async soundings(
    mailbox: MailboxName,
    nonce: string,
  ): Promise<readonly Sounding[] | undefined> {
    const gathered = await this.options.groups.ask(
      mailbox,
      "sound",
      { mailbox, nonce },
      { counts: ({ kind }) => kind === "sounded", deadlineMs: shared.peerCallDeadlineMs },
    );
    if (!gathered.quorum) return undefined;
    return [...gathered.answers.values()].flatMap((reply) =>
      reply.kind === "sounded" ? [unpackSounding(reply)] : [],
    );
  }
}
