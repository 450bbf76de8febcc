/** Taking members out, as the command line asks for it. */
import { shareWithoutCopy } from "../replication/departures.js";
import type { MembershipAnswer } from "../replication/membership.js";
import { memberById } from "../replication/roster.js";
import { parseRingId } from "../ring/identifier.js";
import { AdminError, type DepartureReply, type EvictReply } from "../shared/admin.js";
import type { RingId } from "../shared/ids.js";
import { text } from "./arguments.js";
import { copyingOf, type MemberFacts } from "./member-status.js";
import { surveyAll } from "./surveys.js";

/** @throws AdminError */
export function parseMember(id: string, bits: number): RingId {
  const parsed = parseRingId(id, bits);
  if (!parsed.ok) throw new AdminError("invalid", parsed.error);
  return parsed.id;
}

export class MemberCommands {
  constructor(private readonly facts: MemberFacts) {}

  async leave(id: unknown, force: boolean): Promise<{ id: string; epoch: number }> {
    const { replication, ring } = this.facts;
    const wanted = id === undefined ? ring.snapshot().self.id : this.parse(text(id));
    const epoch = this.begun([wanted], await replication.departures.leave(wanted, force));
    return { id: wanted.toString(), epoch };
  }

  async progress(id: string): Promise<DepartureReply> {
    const departure = await this.facts.replication.departures.departure(this.parse(id));
    const { done, progress, waitingFor } = departure;
    return {
      done,
      copying: copyingOf(progress),
      waitingFor: waitingFor.map((member) => ({ id: member.id.toString(), addr: member.addr })),
    };
  }

  async evict(given: unknown, force: unknown): Promise<EvictReply> {
    if (!Array.isArray(given) || given.length === 0) {
      throw new AdminError("invalid", "no member is named");
    }
    const { replication } = this.facts;
    const { roster } = replication;
    const wanted = given.map((id) => this.parse(text(id)));
    const ids = wanted.map(String);
    // Asked before: afterwards nobody counts what is given up.
    const before = force === true ? await surveyAll(replication) : undefined;
    const epoch = this.begun(wanted, await replication.departures.evict(wanted, force === true));
    if (!before) return { ids, epoch };
    const gone = new Set(wanted.flatMap((id) => memberById(roster, id)?.uuid ?? []));
    const { keys, withoutQuorum } = before;
    const lost = { keys, withoutQuorum, shareWithoutCopy: shareWithoutCopy(roster, gone) };
    return { ids, epoch, lost };
  }

  private parse(id: string): RingId {
    return parseMember(id, this.facts.replication.roster.ring.bits);
  }

  private begun(ids: readonly RingId[], answer: MembershipAnswer): number {
    switch (answer.kind) {
      case "done":
        return answer.roster.epoch;
      case "refused":
        throw new AdminError("refused", answer.why);
      case "busy":
        throw new AdminError(
          "unavailable",
          `another change is in progress (${answer.why}); try again`,
        );
      case "undecided":
        throw new AdminError("unavailable", this.undecided(ids));
    }
  }

  private undecided(ids: readonly RingId[]): string {
    const { roster, heartbeat, membership } = this.facts.replication;
    const silent = roster.members.filter(
      ({ uuid, id }) =>
        uuid !== membership.self.uuid && heartbeat.isQuiet(uuid) && !ids.includes(id),
    );
    const others = silent.map(({ id, addr }) => `${id} (${addr})`).join(", ");
    const also = others === "" ? "" : ` since ${others} do not answer either`;
    const all = [...ids, ...silent.map(({ id }) => id)].join(" ");
    return (
      `no majority of the members answers${also}; start the others and try again, or, when ` +
      `they and their disks are gone for good: chord evict ${all} --force`
    );
  }
}
