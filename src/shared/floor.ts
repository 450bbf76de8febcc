/**
 * What of a mailbox is over for ever, said in little room instead of by a tombstone each: messages of
 * flows below a point in time, but for those that are named. See `replication/floors.ts`.
 */
import type { MessageId } from "./ids.js";

export interface Floor {
  /** The first 12 digits of ids (their time): what is below is gone, or among the spared. */
  readonly below: string;
  /** Ids below it of which members go on knowing what they know: 16 octets each, in base64. */
  readonly spared: string;
}

const idOctets = 16;

/**
 * Ids of what a flow brings are UUIDv8 (RFC 9562 §5.8), laid out as the UUIDv7 of others, but that the 5 octets
 * behind the time and the counter name the flow. Only they have a floor.
 */
export const isOfFlow = (id: MessageId): boolean => id.charCodeAt(12) === 0x38;

/** Names the flow of an id that has one. */
export const flowOf = (id: MessageId): string => id.slice(16, 26);

const sparedSets = new WeakMap<Floor, ReadonlySet<MessageId>>();

export function sparedBy(floor: Floor): ReadonlySet<MessageId> {
  let spared = sparedSets.get(floor);
  if (spared === undefined) {
    spared = new Set(unpackIds(floor.spared));
    sparedSets.set(floor, spared);
  }
  return spared;
}

/** Is the message over, whatever anybody has of it? */
export const isSunk = (floor: Floor | undefined, id: MessageId): boolean =>
  floor !== undefined && id < floor.below && isOfFlow(id) && !sparedBy(floor).has(id);

export const packIds = (ids: Iterable<MessageId>): string =>
  Buffer.from([...ids].join(""), "hex").toString("base64");

export function unpackIds(packed: string): MessageId[] {
  const octets = Buffer.from(packed, "base64");
  return Array.from(
    { length: Math.floor(octets.length / idOctets) },
    (_, n) => octets.toString("hex", n * idOctets, (n + 1) * idOctets) as MessageId,
  );
}
