/**
 * Members tell each other that they live: leases, silence and newer rosters ride on one small
 * call per pair and period.
 */
import type { MemberUuid } from "../shared/ids.js";
import type { LockTable } from "./locks.js";
import type { Membership } from "./membership.js";
import type { Beat, Caller } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { Clock } from "./ports.js";
import type { RingClock } from "./ring-clock.js";
import { memberByUuid, type Roster } from "./roster.js";

interface HeartbeatOptions {
  readonly membership: Membership;
  readonly peers: Peers;
  readonly locks: LockTable;
  readonly clock: Clock;
  readonly ringClock: RingClock;
  /** Names this run of the process. */
  readonly boot: string;
  readonly deadlineMs: number;
  /** A member is heard that was silent, or was restarted. */
  readonly onHeard: (member: Caller, restarted: boolean) => void;
  /** A member has missed its beats. */
  readonly onQuiet: (uuid: MemberUuid) => void;
}

export class Heartbeat {
  private readonly heard = new Map<MemberUuid, { boot: string; atMs: number }>();
  /** When members came onto the roster, as this node learned of it. */
  private readonly admitted = new Map<MemberUuid, number>();
  private readonly asking = new Set<MemberUuid>();
  private readonly startedMs: number;
  private ticks = 0;

  constructor(private readonly options: HeartbeatOptions) {
    this.startedMs = options.clock.monotonicMs();
  }

  /** To be called twice in each period: every second time a round of beats goes out. */
  tick(): void {
    const { membership, peers, onQuiet } = this.options;
    const uuids = membership.roster.members.map(({ uuid }) => uuid);
    const others = uuids.filter((uuid) => uuid !== membership.self.uuid);
    for (const uuid of peers.liveness.tick(others)) onQuiet(uuid);
    this.ticks += 1;
    if (this.ticks % 2 === 1) this.beat();
  }

  /** One round. Answers do not hold up the next one. */
  beat(): void {
    const { membership } = this.options;
    for (const member of membership.roster.members) {
      if (member.uuid === membership.self.uuid || this.asking.has(member.uuid)) continue;
      this.asking.add(member.uuid);
      void this.ask(member).finally(() => this.asking.delete(member.uuid));
    }
  }

  private async ask(member: Caller): Promise<void> {
    const { peers, deadlineMs } = this.options;
    try {
      await this.note(member, await peers.call(member, "beat", this.own(), { deadlineMs }));
    } catch {
      // Silence is noted by the absence of answers.
    }
  }

  /** Serves `beat`. */
  async answer(from: Caller, beat: Beat): Promise<Beat> {
    await this.note(from, beat);
    return this.own();
  }

  private own(): Beat {
    const { boot, membership, ringClock } = this.options;
    return { boot, epoch: membership.roster.epoch, ringMs: ringClock.nowMs() };
  }

  private async note(from: Caller, { boot, epoch, ringMs }: Beat): Promise<void> {
    const { membership, peers, locks, clock, ringClock, onHeard } = this.options;
    ringClock.hear(ringMs);
    const before = this.heard.get(from.uuid);
    const wasQuiet = this.isQuiet(from.uuid);
    peers.liveness.heard(from.uuid);
    locks.hear(from.uuid, boot);
    this.heard.set(from.uuid, { boot, atMs: clock.monotonicMs() });
    const restarted = before !== undefined && before.boot !== boot;
    if (!before || restarted || wasQuiet) onHeard(from, restarted);
    if (epoch > membership.roster.epoch) await membership.learnFrom(from);
  }

  /** Those who come, or come back, have not been silent before. */
  rosterChanged(roster: Roster, before: Roster): void {
    const nowMs = this.options.clock.monotonicMs();
    for (const { uuid } of before.members) {
      if (!memberByUuid(roster, uuid)) this.admitted.delete(uuid);
    }
    for (const { uuid } of roster.members) {
      if (!memberByUuid(before, uuid)) this.admitted.set(uuid, nowMs);
    }
  }

  /** How long a member has not been heard; at the most since this node's start or its admission. */
  silentMs(uuid: MemberUuid): number {
    if (uuid === this.options.membership.self.uuid) return 0;
    const heardMs = this.heard.get(uuid)?.atMs ?? this.startedMs;
    const sinceMs = Math.max(heardMs, this.admitted.get(uuid) ?? heardMs);
    return this.options.clock.monotonicMs() - sinceMs;
  }

  /** Has missed its beats: others stand in. */
  isQuiet(uuid: MemberUuid): boolean {
    return this.options.peers.liveness.isQuiet(uuid);
  }
}
