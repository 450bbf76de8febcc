/**
 * The roster: the durable, agreed list of members. It changes by majority, one member at a time,
 * when somebody joins, leaves or is evicted; never because somebody is silent for a moment.
 */
import type { Address, MemberUuid, RingId } from "../shared/ids.js";

export type MemberState = "joining" | "active" | "leaving";

export interface Member {
  readonly id: RingId;
  readonly addr: Address;
  readonly uuid: MemberUuid;
  /** Counts how often this data directory was admitted; a returning member gets a higher one. */
  readonly incarnation: number;
  readonly state: MemberState;
  /** It is leaving because it was silent for too long. If it comes back it joins anew. */
  readonly evicted?: true;
  /** Evicted, and an operator said that its data is gone for good: nobody waits for it. */
  readonly lost?: true;
}

/** What all members of one ring have in common; a joiner that differs is refused. */
export interface RingParameters {
  readonly bits: number;
  readonly replicas: number;
  readonly domain: string;
}

export interface Roster {
  /** Consecutive: epoch n + 1 is decided by the voters of epoch n (I8). 0: no ring yet. */
  readonly epoch: number;
  readonly ring: RingParameters;
  /** Ascending by id. */
  readonly members: readonly Member[];
}

export const emptyRoster = (ring: RingParameters): Roster => ({ epoch: 0, ring, members: [] });

/** Those who decide the next epoch: everybody but a joiner and who is lost for good. */
export function votersOf(roster: Roster): readonly Member[] {
  return roster.members.filter((member) => member.state !== "joining" && !member.lost);
}

/** Holders of the data while nothing changes; while something does, those of before the change. */
export function currentMembers(roster: Roster): readonly Member[] {
  return roster.members.filter((member) => member.state !== "joining");
}

/** Holders of the data once the change in progress is complete. */
export function nextMembers(roster: Roster): readonly Member[] {
  return roster.members.filter((member) => member.state !== "leaving");
}

/** A member whose arrival or departure is in progress: one joiner, or some that leave. */
export function inTransition(roster: Roster): Member | undefined {
  return roster.members.find((member) => member.state !== "active");
}

export function memberByUuid(roster: Roster, uuid: MemberUuid): Member | undefined {
  return roster.members.find((member) => member.uuid === uuid);
}

export function memberById(roster: Roster, id: RingId): Member | undefined {
  return roster.members.find((member) => member.id === id);
}

/** A change of the roster by one member. */
export type RosterChange =
  | { readonly kind: "admit"; readonly member: Omit<Member, "state" | "incarnation"> }
  /** The data is where it belongs at `epoch`: joiners become active, those who leave are gone. */
  | { readonly kind: "settle"; readonly epoch: number }
  | {
      readonly kind: "retire";
      readonly uuid: MemberUuid;
      readonly evicted: boolean;
      /** Refused when fewer would remain. */
      readonly atLeast?: number;
    }
  /** An operator says that these, and what only they had, are gone for good. */
  | { readonly kind: "abandon"; readonly uuids: readonly MemberUuid[] }
  /** A joiner gives up or has died. */
  | { readonly kind: "remove"; readonly uuid: MemberUuid }
  | { readonly kind: "move"; readonly uuid: MemberUuid; readonly addr: Address };

export type RosterChangeAnswer =
  | { readonly kind: "changed"; readonly roster: Roster }
  /** It is so already. */
  | { readonly kind: "unchanged" }
  | { readonly kind: "refused"; readonly why: string }
  /** Another change is in progress: ask again. */
  | { readonly kind: "busy"; readonly why: string };

/** The roster after `change`, one epoch on, or why it can't be. */
export function changeRoster(roster: Roster, change: RosterChange): RosterChangeAnswer {
  switch (change.kind) {
    case "admit":
      return admit(roster, change.member);
    case "settle":
      return settle(roster, change.epoch);
    case "retire":
      return retire(roster, change);
    case "abandon":
      return abandon(roster, change.uuids);
    case "remove":
      return remove(roster, change.uuid);
    case "move":
      return move(roster, change.uuid, change.addr);
  }
}

function admit(roster: Roster, joiner: Omit<Member, "state" | "incarnation">): RosterChangeAnswer {
  if (memberByUuid(roster, joiner.uuid)) return { kind: "unchanged" };
  const holder = memberById(roster, joiner.id);
  if (holder && holder.addr !== joiner.addr) {
    const why = `id ${joiner.id} belongs to the member at ${holder.addr}; start with another --id`;
    return { kind: "refused", why };
  }
  const busy = inTransition(roster);
  if (busy) return { kind: "busy", why: `member ${busy.id} is ${busy.state}` };
  const neighbour = roster.members.find((member) => member.addr === joiner.addr);
  if (neighbour) {
    // The joiner answers at this address, so its former tenant lost its data and is gone.
    return { kind: "busy", why: `the former member at ${joiner.addr} has to be taken out first` };
  }
  const member: Member = { ...joiner, state: "joining", incarnation: roster.epoch + 1 };
  return changed(roster, [...roster.members, member]);
}

function settle(roster: Roster, epoch: number): RosterChangeAnswer {
  if (roster.epoch !== epoch) return { kind: "refused", why: "the roster has changed since" };
  if (!inTransition(roster)) return { kind: "unchanged" };
  return changed(
    roster,
    nextMembers(roster).map((member) => ({ ...member, state: "active" })),
  );
}

/**
 * Several may leave at a time: two that died together gain from each other, so that neither could
 * be taken out before the other. Nobody joins meanwhile.
 */
function retire(
  roster: Roster,
  { uuid, evicted, atLeast = 0 }: RosterChange & { kind: "retire" },
): RosterChangeAnswer {
  const member = memberByUuid(roster, uuid);
  if (!member) return { kind: "unchanged" };
  if (member.state === "leaving" && (!evicted || member.evicted)) return { kind: "unchanged" };
  if (member.state === "joining") return remove(roster, uuid);
  const joiner = roster.members.find((other) => other.state === "joining");
  if (joiner) return { kind: "busy", why: `member ${joiner.id} is joining` };
  if (member.state === "active" && nextMembers(roster).length === 1) {
    return { kind: "refused", why: "the last member of a ring can't leave it; just stop it" };
  }
  const remaining = nextMembers(roster).length - 1;
  if (member.state === "active" && remaining < atLeast) {
    return { kind: "refused", why: tooFew(member, remaining, roster.ring.replicas) };
  }
  const rest = roster.members.filter((other) => other.uuid !== uuid);
  const retired: Member = { ...member, state: "leaving", ...(evicted && { evicted }) };
  return changed(roster, [...rest, retired]);
}

/** Why a member had better not leave: in one line, with the numbers and the way out. */
export function tooFew(member: Member, remaining: number, replicas: number): string {
  const copies = replicas + 1;
  const rest = remaining === 1 ? "1 member" : `${remaining} members`;
  return (
    `member ${member.id} can't leave: with ${rest} left that answer, everything would have ` +
    `${remaining === 1 ? "1 copy" : `${remaining} copies`} instead of ${copies}; ` +
    `start another member first, or insist with --force`
  );
}

/**
 * Those who are abandoned stay on the roster until the change is settled: their ranges go to the
 * next members, who read them from whoever is left of the group.
 */
function abandon(roster: Roster, uuids: readonly MemberUuid[]): RosterChangeAnswer {
  const gone = new Set(uuids);
  const members = roster.members.flatMap((member): Member[] => {
    if (!gone.has(member.uuid)) return [member];
    return member.state === "joining"
      ? []
      : [{ ...member, state: "leaving", evicted: true, lost: true }];
  });
  const isNews = roster.members.some(({ uuid, lost }) => gone.has(uuid) && !lost);
  if (!isNews) return { kind: "unchanged" };
  if (!members.some(({ state }) => state === "active")) {
    return { kind: "refused", why: "no member would be left" };
  }
  return changed(roster, members);
}

function remove(roster: Roster, uuid: MemberUuid): RosterChangeAnswer {
  if (!memberByUuid(roster, uuid)) return { kind: "unchanged" };
  return changed(
    roster,
    roster.members.filter((member) => member.uuid !== uuid),
  );
}

function move(roster: Roster, uuid: MemberUuid, addr: Address): RosterChangeAnswer {
  const member = memberByUuid(roster, uuid);
  if (!member) return { kind: "refused", why: "no such member" };
  if (member.addr === addr) return { kind: "unchanged" };
  const rest = roster.members.filter((other) => other.uuid !== uuid);
  return changed(roster, [...rest, { ...member, addr }]);
}

function changed(roster: Roster, members: readonly Member[]): RosterChangeAnswer {
  const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  return { kind: "changed", roster: { ...roster, epoch: roster.epoch + 1, members: sorted } };
}

/** JSON has no bigint: ids travel and rest as decimal strings. */
export function rosterToJson(roster: Roster): unknown {
  return {
    ...roster,
    members: roster.members.map((member) => ({ ...member, id: member.id.toString() })),
  };
}

/** @throws TypeError when `json` is not a roster. */
export function rosterFromJson(json: unknown): Roster {
  const roster = json as { epoch?: unknown; ring?: unknown; members?: unknown } | null;
  const { epoch, ring, members } = roster ?? {};
  if (!isEpoch(epoch) || !isRing(ring) || !Array.isArray(members)) {
    throw new TypeError("not a roster");
  }
  return { epoch, ring, members: members.map(memberFromJson) };
}

const memberStates: readonly unknown[] = ["joining", "active", "leaving"] satisfies MemberState[];

function memberFromJson(json: unknown): Member {
  const member = json as (Omit<Member, "id"> & { id: unknown }) | null;
  const isMember =
    typeof member?.id === "string" &&
    /^[0-9]{1,49}$/.test(member.id) &&
    typeof member.addr === "string" &&
    typeof member.uuid === "string" &&
    isEpoch(member.incarnation) &&
    memberStates.includes(member.state);
  if (!isMember) throw new TypeError("not a member of a roster");
  return { ...member, id: BigInt(member.id as string) as RingId };
}

const isEpoch = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

function isRing(value: unknown): value is RingParameters {
  const ring = value as Partial<RingParameters> | null | undefined;
  return isEpoch(ring?.bits) && isEpoch(ring.replicas) && typeof ring.domain === "string";
}
