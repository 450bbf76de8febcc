import type { Address, MemberUuid, RingId } from "../shared/ids.js";

/** How members refer to each other. Equal uuids mean the same data directory. */
export interface MemberRef {
  readonly id: RingId;
  readonly addr: Address;
  readonly uuid: MemberUuid;
}

/** What all members of one ring must agree on. */
export interface RingParameters {
  /** Length of identifiers, 1 to 160. */
  readonly bits: number;
  /** Copies beyond the first. */
  readonly replicas: number;
}

/** Version of the messages in `message.ts`; members of different versions refuse each other. */
export const protocolVersion = 1;

/** The same member at the same place: what a liveness check of one says is true of the other. */
export function sameMember(a: MemberRef, b: MemberRef): boolean {
  return a === b || (a.uuid === b.uuid && a.addr === b.addr && a.id === b.id);
}

export function showMember(member: MemberRef): string {
  return `${member.id} (${member.addr})`;
}
