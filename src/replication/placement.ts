/**
 * Which members keep a key. The group of a key is the first r + 1 members clockwise from it, by
 * the roster and by nothing else: a group that changes only by agreement has majorities that
 * always intersect, "my successors at this moment" has not.
 */
import { ringIdOf } from "../ring/identifier.js";
import type { MemberUuid, RingId } from "../shared/ids.js";
import { currentMembers, inTransition, type Member, nextMembers, type Roster } from "./roster.js";

export interface Placement {
  readonly key: RingId;
  /** Group by the members of before a change in progress, without those who are lost for good. */
  readonly current: readonly Member[];
  /** How many of the former group are lost. Absent: none. */
  readonly lost?: number;
  /** Group by the members of after it. The same as `current` when nothing is changing. */
  readonly next: readonly Member[];
  /** Both, each member once, the first of the group first. */
  readonly everyone: readonly Member[];
  /** The whole ring has two members at the most: see `isQuorum`. */
  readonly small: boolean;
}

export const majorityOf = (size: number): number => Math.floor(size / 2) + 1;

/** The first `size` of `members` clockwise from `key`, on distinct hosts where there are enough. */
function groupOf(members: readonly Member[], key: RingId, size: number): readonly Member[] {
  const start = members.findIndex((member) => member.id >= key);
  const clockwise = start <= 0 ? members : [...members.slice(start), ...members.slice(0, start)];
  const hosts = new Set<string>();
  const chosen: Member[] = [];
  for (const member of clockwise) {
    if (chosen.length === size) break;
    const host = hostOf(member);
    if (hosts.has(host)) continue;
    hosts.add(host);
    chosen.push(member);
  }
  if (chosen.length < size && chosen.length < members.length) {
    const rest = clockwise.filter((member) => !chosen.includes(member));
    chosen.push(...rest.slice(0, size - chosen.length));
    chosen.sort((a, b) => clockwise.indexOf(a) - clockwise.indexOf(b));
  }
  return chosen;
}

const isLost = (member: Member): boolean => member.lost === true;

/**
 * How many of the former group have to answer: a majority of the whole group, lost ones counted,
 * or all who are left. What any majority stored and somebody left still has is then among it.
 */
export const neededOf = ({ current, lost = 0 }: Placement): number =>
  Math.min(majorityOf(current.length + lost), current.length);

const hostOf = (member: Member): string => member.addr.slice(0, member.addr.lastIndexOf(":"));

export function placementOf(roster: Roster, key: RingId): Placement {
  const copies = roster.ring.replicas + 1;
  const former = groupOf(currentMembers(roster), key, copies);
  const current = former.some(isLost) ? former.filter((member) => !isLost(member)) : former;
  const lost = former.length - current.length;
  const next = inTransition(roster) ? groupOf(nextMembers(roster), key, copies) : current;
  const extra = next.filter((member) => !current.some((other) => other.uuid === member.uuid));
  return {
    key,
    current,
    ...(lost > 0 && { lost }),
    next,
    everyone: extra.length === 0 ? current : [...current, ...extra],
    small: roster.members.length <= 2,
  };
}

/** Placements by name, remembered for one roster. Bounded: starts anew when it is full. */
export class Placements {
  private roster: Roster | undefined;
  private byName = new Map<string, Placement>();

  constructor(private readonly rememberedMax = 20_000) {}

  of(roster: Roster, name: string): Placement {
    if (roster !== this.roster || this.byName.size >= this.rememberedMax) {
      this.roster = roster;
      this.byName = new Map();
    }
    let placement = this.byName.get(name);
    if (!placement) {
      placement = placementOf(roster, ringIdOf(name, roster.ring.bits));
      this.byName.set(name, placement);
    }
    return placement;
  }
}

/**
 * True when `answered` holds a majority of the group, of both groups while members change.
 *
 * `alone` is for mail in a ring of two: when one of two is silent the other goes on by itself,
 * since a mail service that stops helps nobody. Accounts and the roster never use it to write.
 */
export function isQuorum(
  placement: Placement,
  answered: ReadonlySet<MemberUuid>,
  alone = false,
): boolean {
  const enough = (group: readonly Member[], needed: number): boolean => {
    const count = group.filter((member) => answered.has(member.uuid)).length;
    return count >= (alone && placement.small ? Math.min(1, needed) : needed);
  };
  const { current, next } = placement;
  return (
    enough(current, neededOf(placement)) &&
    (current === next || enough(next, majorityOf(next.length)))
  );
}

export function isInGroup(placement: Placement, uuid: MemberUuid): boolean {
  return placement.everyone.some((member) => member.uuid === uuid);
}

/** Members outside the group, in order clockwise from the key: who may keep a hint. */
export function standInsFor(roster: Roster, placement: Placement): readonly Member[] {
  const everyone = groupOf(nextMembers(roster), placement.key, roster.members.length);
  return everyone.filter((member) => !isInGroup(placement, member.uuid));
}
