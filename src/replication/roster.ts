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

/** Those who decide the next epoch: everybody but a joiner. */
export function votersOf(roster: Roster): readonly Member[] {
  return roster.members.filter((member) => member.state !== "joining");
}

/** Holders of the data while nothing changes; while something does, those of before the change. */
export function currentMembers(roster: Roster): readonly Member[] {
  return votersOf(roster);
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
  | { readonly kind: "retire"; readonly uuid: MemberUuid; readonly evicted: boolean }
  /** A joiner gives up or has died; or an operator insists. */
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
      return retire(roster, change.uuid, change.evicted);
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
function retire(roster: Roster, uuid: MemberUuid, evicted: boolean): RosterChangeAnswer {
  const member = memberByUuid(roster, uuid);
  if (!member) return { kind: "unchanged" };
  if (member.state === "leaving" && (!evicted || member.evicted)) return { kind: "unchanged" };
  if (member.state === "joining") return remove(roster, uuid);
  const joiner = roster.members.find((other) => other.state === "joining");
  if (joiner) return { kind: "busy", why: `member ${joiner.id} is joining` };
  if (member.state === "active" && nextMembers(roster).length === 1) {
    return { kind: "refused", why: "the last member of a ring can't leave it; just stop it" };
  }
  const rest = roster.members.filter((other) => other.uuid !== uuid);
  const retired: Member = { ...member, state: "leaving", ...(evicted && { evicted }) };
  return changed(roster, [...rest, retired]);
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
  const roster = json as {
    epoch?: unknown;
    ring?: RingParameters;
    members?: (Omit<Member, "id"> & { id: string })[];
  } | null;
  if (
    typeof roster?.epoch !== "number" ||
    !Array.isArray(roster.members) ||
    typeof roster.ring?.bits !== "number"
  ) {
    throw new TypeError("not a roster");
  }
  return {
    epoch: roster.epoch,
    ring: roster.ring,
    members: roster.members.map((member) => ({ ...member, id: BigInt(member.id) as RingId })),
  };
}
