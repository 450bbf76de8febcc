import type { MemberUuid } from "../shared/ids.js";
import { type MemberRef, sameMember } from "./member.js";

/**
 * The members that this one has heard of, by uuid, oldest first. Kept on disk. They are candidates:
 * none enters the ring state before it has answered. A silent member stays: it may be the
 * only way back to the ring after a partition or a restart of everything.
 */
export type MemberCache = ReadonlyMap<MemberUuid, MemberRef>;

const cacheMembersMax = 256;
/** Members that left by agreement, remembered so that gossip does not bring them back. */
const forgottenMax = 1_024;

/** Adds what is new. Returns the same cache when nothing is. */
export function learn(
  cache: MemberCache,
  members: readonly MemberRef[],
  skip: (member: MemberRef) => boolean,
): MemberCache {
  let next: Map<MemberUuid, MemberRef> | undefined;
  for (const member of members) {
    const present = (next ?? cache).get(member.uuid);
    if ((present !== undefined && sameMember(present, member)) || skip(member)) continue;
    next ??= new Map(cache);
    next.set(member.uuid, member);
  }
  if (next === undefined) return cache;
  while (next.size > cacheMembersMax) next.delete(oldest(next));
  return next;
}

export function remove(cache: MemberCache, uuid: MemberUuid): MemberCache {
  if (!cache.has(uuid)) return cache;
  const next = new Map(cache);
  next.delete(uuid);
  return next;
}

export function remember(
  forgotten: ReadonlySet<MemberUuid>,
  uuid: MemberUuid,
): ReadonlySet<MemberUuid> {
  const next = new Set(forgotten).add(uuid);
  if (next.size > forgottenMax) next.delete(oldest(next));
  return next;
}

/** Keys of maps and sets iterate in the order in which they were added. */
function oldest<K>(collection: ReadonlyMap<K, unknown> | ReadonlySet<K>): K {
  for (const key of collection.keys()) return key;
  throw new Error("empty collection");
}
