/** What the members of a majority hold of a mailbox, put together. Pure. */
import { type Floor, isOfFlow, isSunk } from "../shared/floor.js";
import type { MemberUuid, MessageId } from "../shared/ids.js";
import type { StoredMessage } from "../shared/operation.js";
import type { ReplyOf } from "./peer-methods.js";
import { isQuorum, type Placement } from "./placement.js";
import type { ReadContents } from "./pull.js";

/** The answer of a member that granted the lock. */
export type Granted = Extract<ReplyOf<"acquire">, { kind: "granted" }>;

/** What they hold, if it is the same. */
export function commonDigest(granted: ReadonlyMap<MemberUuid, Granted>): string | undefined {
  const digests = new Set([...granted.values()].map(({ summary }) => summary.digest));
  const [only] = digests;
  return digests.size === 1 ? only : undefined;
}

/** In order of id; what one of them knows to be removed or below the floor is gone. */
export function unionOf(
  sets: readonly ReadContents[],
): Pick<ReadContents, "messages" | "tombstones"> {
  let floor: Floor | undefined;
  for (const set of sets)
    if (set.floor && set.floor.below > (floor?.below ?? "")) floor = set.floor;

  const tombstones = sets.flatMap((set) => set.tombstones);
  const gone = new Set(tombstones.map(({ id }) => id));
  const live = new Map<MessageId, StoredMessage>();
  for (const { messages } of sets) {
    for (const message of messages) {
      if (!gone.has(message.id) && !isSunk(floor, message.id)) live.set(message.id, message);
    }
  }
  const messages = [...live.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  return { messages, tombstones };
}

interface Known {
  readonly placement: Placement;
  readonly granted: ReadonlyMap<MemberUuid, Granted>;
  /** What was read. Members that were not read hold the same as one that granted the lock and was. */
  readonly sets: ReadonlyMap<MemberUuid, ReadContents>;
}

/**
 * Those of a flow that fewer than a majority are known to count (see `Floors`). Their publisher has not been told
 * that they are there, and may come with them under other ids when a floor has risen above these: who is shown them
 * now could acknowledge them in vain.
 */
export function unsureIn(
  messages: readonly StoredMessage[],
  { placement, granted, sets }: Known,
): ReadonlySet<MessageId> {
  const asked = new Set([...granted.keys(), ...sets.keys()]);
  const alone = !isQuorum(placement, asked);
  const common = [...granted.keys()].map((uuid) => sets.get(uuid)).find((set) => set);
  const members = [...asked].map((uuid) => {
    const set = sets.get(uuid);
    const pending = set ? pendingOf(set) : (granted.get(uuid)?.pending ?? "");
    return { uuid, pending, set: set ?? common };
  });
  const unsure = new Set<MessageId>();
  if (sets.size === 1 && members.every(({ pending }) => pending === "")) return unsure;
  const idsOf = new Map<ReadContents | undefined, ReadonlySet<MessageId>>();
  for (const set of sets.values()) idsOf.set(set, new Set(set.messages.map(({ id }) => id)));
  const enough = new Map<number, boolean>();
  const areEnough = (holders: number): boolean => {
    const known = enough.get(holders);
    if (known !== undefined) return known;
    const uuids = members.flatMap(({ uuid }, n) => ((holders >> n) & 1 ? [uuid] : []));
    const isEnough = isQuorum(placement, new Set(uuids), alone);
    enough.set(holders, isEnough);
    return isEnough;
  };
  for (const { id } of messages) {
    if (!isOfFlow(id)) continue;
    let holders = 0;
    members.forEach(({ pending, set }, n) => {
      if (id >= pending && idsOf.get(set)?.has(id)) holders |= 1 << n;
    });
    if (!areEnough(holders)) unsure.add(id);
  }
  return unsure;
}

/** Below it, the member does not count what it has of a flow; empty: it counts all. */
export const pendingOf = ({ floor, barrier }: Pick<ReadContents, "floor" | "barrier">): string =>
  barrier > (floor?.below ?? "") ? barrier : "";
