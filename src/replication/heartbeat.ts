/**
 * Members tell each other that they live: leases, silence and newer rosters ride on one small
 * call per pair and period.
 */
import type { MemberUuid } from "../shared/ids.js";
import type { LockTable } from "./locks.js";
import type { Membership } from "./membership.js";
import type { Caller } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { Clock } from "./ports.js";
import { memberByUuid, type Roster } from "./roster.js";

interface HeartbeatOptions {
  readonly membership: Membership;
  readonly peers: Peers;
  readonly locks: LockTable;
  readonly clock: Clock;
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
  /** When a member came onto the roster, of those that came since this node's start. */
  private readonly admittedMs = new Map<MemberUuid, number>();
  private readonly asking = new Set<MemberUuid>();
  private readonly startedMs: number;
  private ticks = 0;

  constructor(private readonly options: HeartbeatOptions) {
    this.startedMs = options.clock.monotonicMs();
    options.membership.onChange((roster, before) => this.noteAdmitted(roster, before));
  }

  private noteAdmitted(roster: Roster, before: Roster): void {
    for (const { uuid } of roster.members) {
      if (!memberByUuid(before, uuid)) this.admittedMs.set(uuid, this.options.clock.monotonicMs());
    }
    for (const uuid of this.admittedMs.keys()) {
      if (!memberByUuid(roster, uuid)) this.admittedMs.delete(uuid);
    }
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
    const { peers, membership, boot, deadlineMs } = this.options;
    try {
      const request = { boot, epoch: membership.roster.epoch };
      const reply = await peers.call(member, "beat", request, { deadlineMs });
      await this.note(member, reply.boot, reply.epoch);
    } catch {
      // Silence is noted by the absence of answers.
    }
  }

  /** Serves `beat`. */
  async answer(
    from: Caller,
    beat: { boot: string; epoch: number },
  ): Promise<{ boot: string; epoch: number }> {
    await this.note(from, beat.boot, beat.epoch);
    return { boot: this.options.boot, epoch: this.options.membership.roster.epoch };
  }

  private async note(from: Caller, boot: string, epoch: number): Promise<void> {
    const { membership, peers, locks, clock, onHeard } = this.options;
    const before = this.heard.get(from.uuid);
    const wasQuiet = this.isQuiet(from.uuid);
    peers.liveness.heard(from.uuid);
    locks.hear(from.uuid, boot);
    this.heard.set(from.uuid, { boot, atMs: clock.monotonicMs() });
    const restarted = before !== undefined && before.boot !== boot;
    if (!before || restarted || wasQuiet) onHeard(from, restarted);
    if (epoch > membership.roster.epoch) await membership.learnFrom(from);
  }

  /**
   * How long a member has not been heard; at the most since this node's start and since it is a
   * member: one that is about to say its first word is not silent.
   */
  silentMs(uuid: MemberUuid): number {
    if (uuid === this.options.membership.self.uuid) return 0;
    const heardMs = this.heard.get(uuid)?.atMs ?? this.startedMs;
    const since = Math.max(heardMs, this.admittedMs.get(uuid) ?? this.startedMs);
    return this.options.clock.monotonicMs() - since;
  }

  /** Has missed its beats: others stand in. */
  isQuiet(uuid: MemberUuid): boolean {
    return this.options.peers.liveness.isQuiet(uuid);
  }
}
