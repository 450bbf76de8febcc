/**
 * Brings changes of members to their end: settles them when the data has arrived, gives up on
 * joiners that died, evicts who was silent for too long. The first live voter does it; should two
 * think that they are the first, the roster's consensus keeps them apart.
 */
import type { Log } from "../shared/log.js";
import type { Groups } from "./group.js";
import type { Heartbeat } from "./heartbeat.js";
import type { Membership } from "./membership.js";
import type { Peers } from "./peers.js";
import { majorityOf } from "./placement.js";
import { inTransition, type Member, type Roster, votersOf } from "./roster.js";
import { gainersOf } from "./transfer.js";

interface DriverOptions {
  readonly membership: Membership;
  readonly groups: Groups;
  readonly heartbeat: Heartbeat;
  readonly peers: Peers;
  readonly log: Log;
  readonly evictAfterMs: number;
  /** A joiner silent for so long has died in mid-copy. */
  readonly joinerSilentMs: number;
}

const askDeadlineMs = 1_000;

export class Driver {
  private busy = false;

  constructor(private readonly options: DriverOptions) {}

  /** To be called about once a second. */
  async tick(): Promise<void> {
    const { roster, self } = this.options.membership;
    if (this.busy || this.firstLiveVoter(roster)?.uuid !== self.uuid) return;
    this.busy = true;
    try {
      if (inTransition(roster)) await this.advance(roster);
      await this.evictSilent(roster);
    } catch (error) {
      this.options.log.warn({ error: String(error) }, "a change of members is held up");
    } finally {
      this.busy = false;
    }
  }

  private firstLiveVoter(roster: Roster): Member | undefined {
    return votersOf(roster).find(
      (member) => !this.options.heartbeat.isQuiet(member.uuid) && member.state === "active",
    );
  }

  private async advance(roster: Roster): Promise<void> {
    const { membership, heartbeat, log, joinerSilentMs } = this.options;
    const joiner = roster.members.find((member) => member.state === "joining");
    if (joiner && heartbeat.silentMs(joiner.uuid) > joinerSilentMs) {
      log.warn({ member: joiner.addr }, "the joiner is silent: it is taken off the roster");
      await membership.change({ kind: "remove", uuid: joiner.uuid });
      return;
    }
    const leavers = roster.members.filter(
      (member) => member.state === "leaving" && member.evicted !== true,
    );
    const finished = await Promise.all(
      [...gainersOf(roster), ...leavers].map((member) => this.isDone(member, roster.epoch)),
    );
    if (finished.every(Boolean)) await membership.change({ kind: "settle", epoch: roster.epoch });
  }

  private async isDone(member: Member, epoch: number): Promise<boolean> {
    const options = { deadlineMs: askDeadlineMs };
    const reply = await this.options.groups.askMember(member, "progress", { epoch }, options);
    return reply?.kind === "progress" && reply.done;
  }

  private async evictSilent(roster: Roster): Promise<void> {
    const { membership, heartbeat, evictAfterMs, log } = this.options;
    for (const member of roster.members) {
      // One that died while it was leaving has to be done without, too.
      if (member.state === "joining" || member.evicted === true) continue;
      if (heartbeat.silentMs(member.uuid) < evictAfterMs) continue;
      if (!(await this.majorityMisses(roster, member))) continue;
      log.warn({ member: member.addr, evictAfterMs }, "evicting a silent member");
      await membership.change({ kind: "retire", uuid: member.uuid, evicted: true });
      return;
    }
  }

  private async majorityMisses(roster: Roster, silent: Member): Promise<boolean> {
    const { peers, evictAfterMs } = this.options;
    const voters = votersOf(roster);
    const answers = await Promise.all(
      voters.map(async (voter) => {
        try {
          const request = { of: silent.uuid };
          const options = { deadlineMs: askDeadlineMs };
          const { silentMs } = await peers.call(voter, "silence", request, options);
          return silentMs >= evictAfterMs;
        } catch {
          return false;
        }
      }),
    );
    return answers.filter(Boolean).length >= majorityOf(voters.length);
  }
}
