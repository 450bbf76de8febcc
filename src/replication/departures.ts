/** Taking members out: in good order, after they died, and after they died with what only they had. */
import type { MemberUuid, RingId } from "../shared/ids.js";
import type { Groups } from "./group.js";
import type { Heartbeat } from "./heartbeat.js";
import type { Membership, MembershipAnswer } from "./membership.js";
import type { Progress } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import { neededOf, type Placement, placementOf } from "./placement.js";
import type { Clock } from "./ports.js";
import {
  inTransition,
  type Member,
  memberById,
  memberByUuid,
  nextMembers,
  type Roster,
  tooFew,
} from "./roster.js";

interface DeparturesOptions {
  readonly membership: Membership;
  readonly groups: Groups;
  readonly heartbeat: Heartbeat;
  readonly peers: Peers;
  readonly clock: Clock;
}

export interface Departure {
  readonly done: boolean;
  /** Of all who copy something because of it. */
  readonly progress: Omit<Progress, "done">;
  /** Silent members without whose data the change can't be completed. */
  readonly waitingFor: readonly Member[];
}

const askDeadlineMs = 1_000;
/** Of an evicted member that is heard again, another member says so this soon. */
const heardWithinMs = 1_500;
const attemptsMax = 10;
const retryMs = 300;

export class Departures {
  constructor(private readonly options: DeparturesOptions) {}

  /**
   * Takes a member out after its data is copied. Answers when that has begun. Refused when fewer
   * members would be left than there are copies, unless forced.
   */
  async leave(id: RingId, force: boolean): Promise<MembershipAnswer> {
    const { membership, heartbeat } = this.options;
    const { roster } = membership;
    const member = memberById(roster, id);
    if (!member) return unknown(id);
    const atLeast = force ? 0 : roster.ring.replicas + 1;
    const answering = nextMembers(roster).filter(
      ({ uuid }) => uuid !== member.uuid && !heartbeat.isQuiet(uuid),
    );
    if (member.state === "active" && answering.length < atLeast) {
      return { kind: "refused", why: tooFew(member, answering.length, roster.ring.replicas) };
    }
    return membership.change({ kind: "retire", uuid: member.uuid, evicted: false, atLeast });
  }

  /**
   * Takes out members that do not answer. Forced: what only they had is given up, and where no
   * majority can be had, a majority of those who are not named decides.
   */
  async evict(ids: readonly RingId[], force: boolean): Promise<MembershipAnswer> {
    const { membership } = this.options;
    const members: Member[] = [];
    for (const id of ids) {
      const member = memberById(membership.roster, id);
      if (!member) return unknown(id);
      const why = await this.reasonAgainst(member);
      if (why) return { kind: "refused", why };
      members.push(member);
    }
    if (force) return membership.abandon(members.map(({ uuid }) => uuid));
    let answer: MembershipAnswer = { kind: "done", roster: membership.roster };
    for (const { uuid } of members) {
      answer = await membership.change({ kind: "retire", uuid, evicted: true });
      if (answer.kind !== "done") return answer;
    }
    return answer;
  }

  /** One that has just died is given the moment until nobody expects its next beat any more. */
  private async reasonAgainst(member: Member): Promise<string | undefined> {
    const { peers, clock } = this.options;
    const { id, addr } = member;
    if (peers.isSelf(member.uuid)) return "a member can't evict itself; use chord leave";
    let witness: Member | undefined;
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      witness = await this.witnessOf(member);
      if (!witness) return undefined;
      const isAlive = (await this.silenceAt(member, peers.self.uuid)) !== undefined;
      if (isAlive) return `member ${id} is alive; use chord leave --id ${id}`;
      await clock.sleep(retryMs);
    }
    return `member ${id} at ${addr} is alive: member ${witness?.id} hears it; mend the network between them`;
  }

  /** Somebody who has heard a member lately. */
  private async witnessOf({ uuid }: Member): Promise<Member | undefined> {
    const { membership, heartbeat } = this.options;
    const { roster, self } = membership;
    if (!heartbeat.isQuiet(uuid)) return memberByUuid(roster, self.uuid);
    const others = roster.members.filter((other) => other.uuid !== uuid);
    const silences = await Promise.all(others.map((other) => this.silenceAt(other, uuid)));
    return others.find((_, index) => (silences[index] ?? Infinity) < heardWithinMs);
  }

  /** How long `of` has been silent at another member; undefined when that one does not answer. */
  private async silenceAt(other: Member, of: MemberUuid): Promise<number | undefined> {
    try {
      const options = { deadlineMs: askDeadlineMs };
      return (await this.options.peers.call(other, "silence", { of }, options)).silentMs;
    } catch {
      return undefined;
    }
  }

  /** How far the departure of a member is. */
  async departure(id: RingId): Promise<Departure> {
    const { membership, groups, heartbeat } = this.options;
    const { roster } = membership;
    const sum = { ...none };
    if (!memberById(roster, id)) return { done: true, progress: sum, waitingFor: [] };
    const answers = await Promise.all(
      roster.members
        .filter(({ uuid }) => !heartbeat.isQuiet(uuid))
        .map((other) => groups.askMember(other, "progress", { epoch: roster.epoch })),
    );
    for (const answer of answers) {
      if (answer?.kind !== "progress") continue;
      for (const key of Object.keys(none) as (keyof typeof none)[]) {
        sum[key] = key === "sinceMs" ? Math.max(sum[key], answer[key]) : sum[key] + answer[key];
      }
    }
    const isSilent = (member: Member): boolean => heartbeat.isQuiet(member.uuid);
    return { done: false, progress: sum, waitingFor: neededSilent(roster, isSilent) };
  }
}

const unknown = (id: RingId): MembershipAnswer => ({
  kind: "refused",
  why: `no member has the id ${id}`,
});

const none = {
  ...{ copied: 0, total: 0, messages: 0, messagesTotal: 0, octets: 0, octetsTotal: 0, sinceMs: 0 },
};

/** The ranges of the circle, each by the members that keep it. */
function rangesOf(roster: Roster): readonly Placement[] {
  return roster.members.map(({ id }) => placementOf(roster, id));
}

/** Silent members of former groups of which too few answer for the others to read what is theirs. */
export function neededSilent(
  roster: Roster,
  isSilent: (member: Member) => boolean,
): readonly Member[] {
  if (!inTransition(roster)) return [];
  const needed = new Map<MemberUuid, Member>();
  for (const placement of rangesOf(roster)) {
    const silent = placement.current.filter(isSilent);
    if (placement.current.length - silent.length >= neededOf(placement)) continue;
    for (const member of silent) needed.set(member.uuid, member);
  }
  return [...needed.values()];
}

/** The share of the circle, 0 to 1, of which nobody is left once `gone` are. */
export function shareWithoutCopy(roster: Roster, gone: ReadonlySet<MemberUuid>): number {
  const size = 2 ** roster.ring.bits;
  const { members } = roster;
  let lost = 0;
  for (const [index, { id }] of members.entries()) {
    const before = members.at(index - 1)?.id ?? id;
    const width = members.length === 1 ? size : (Number(id - before) + size) % size;
    const { current } = placementOf(roster, id);
    if (current.every(({ uuid }) => gone.has(uuid))) lost += width / size;
  }
  return lost;
}
