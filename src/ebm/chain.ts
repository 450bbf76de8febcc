/**
 * Chained DATA frames: messages that share a packet differ by little, so each says only what is not as in the
 * DATA frame before it. What JSON there is for a message of 1 KiB shrinks from a quarter of it to a twelfth.
 *
 *   stream, origin   as before when absent; `null`: none
 *   sequence         the next one when absent
 *   offset, size     0, and all octets of the frame, when absent
 *   properties       those that changed; `null` for one that is gone, or for all
 *   all else         as it is written, or absent
 */
import type { DataFrame } from "./frame.js";
import type { MessageProperties, Origin } from "./message.js";
import type { Fields } from "./shapes.js";

/** What of a frame is written behind another one. */
export function linkOf(frame: DataFrame, before: DataFrame | undefined): Fields {
  const { stream, sequence, id, offset, size, digest, octets } = frame;
  const { properties, origin, redelivered, entry, base, void: isVoid } = frame;
  const isNext = stream === before?.stream && sequence === before.sequence + 1;
  // A key that is undefined is not written.
  return {
    stream: stream === before?.stream ? undefined : stream,
    sequence: isNext ? undefined : sequence,
    id,
    offset: offset === 0 ? undefined : offset,
    size: size === octets.length ? undefined : size,
    digest,
    properties: changed(properties, before?.properties),
    origin: sameOrigin(origin, before?.origin) ? undefined : (origin ?? null),
    redelivered,
    entry,
    base,
    void: isVoid,
  };
}

function changed(
  now: MessageProperties | undefined,
  before: MessageProperties | undefined,
): Fields | null | undefined {
  if (now === before) return undefined;
  if (now === undefined) return null;
  if (before === undefined) return { ...now };
  const old: Fields = { ...before };
  const fresh = Object.entries(now).filter(([key, value]) => !isSame(value, old[key]));
  const gone = Object.keys(before).filter((key) => !Object.hasOwn(now, key));
  if (fresh.length === 0 && gone.length === 0) return undefined;
  return Object.fromEntries([...fresh, ...gone.map((key) => [key, null])]);
}

/** Headers are an object; equal ones that are written in another order are not the same. */
const isSame = (one: unknown, other: unknown): boolean =>
  one === other ||
  (typeof one === "object" &&
    typeof other === "object" &&
    JSON.stringify(one) === JSON.stringify(other));

const sameOrigin = (one: Origin | undefined, other: Origin | undefined): boolean =>
  one === other ||
  (one !== undefined &&
    other !== undefined &&
    one.user === other.user &&
    one.device === other.device &&
    one.epoch === other.epoch);

/** The whole of what was written behind another frame; to be checked. `octets`: of the frame. */
export function unlinked(link: Fields, before: DataFrame | undefined, octets: number): Fields {
  const { stream = before?.stream, offset = 0, size = octets, origin = before?.origin } = link;
  const follows = before !== undefined && stream === before.stream;
  const { sequence = follows ? before.sequence + 1 : undefined } = link;
  const { id, digest, redelivered, entry, base, void: isVoid } = link;
  const properties = mergedProperties(link["properties"], before?.properties);
  // For every message, several times on its way: named one by one, which is faster than spread.
  return {
    stream,
    sequence,
    id,
    offset,
    size,
    digest,
    properties,
    origin: origin ?? undefined,
    redelivered,
    entry,
    base,
    void: isVoid,
  };
}

function mergedProperties(link: unknown, before: MessageProperties | undefined): unknown {
  if (link === undefined) return before;
  if (link === null) return undefined;
  if (typeof link !== "object" || Array.isArray(link)) return link;
  const merged: Record<string, unknown> = { ...before, ...link };
  for (const key of Object.keys(link)) if (merged[key] === null) delete merged[key];
  return merged;
}
