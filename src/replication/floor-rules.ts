/**
 * What is agreed on of a mailbox's floor, and what it spares. Pure; see `floors.ts`.
 */
import { type Floor, flowOf, isOfFlow, packIds, sparedBy, unpackIds } from "../shared/floor.js";
import type { MessageId } from "../shared/ids.js";
import { timeOf } from "./message-id.js";
import type { MailboxContents } from "./ports.js";

/** A floor that is being raised. Nobody counts anything below it before it has come. */
interface Raise {
  readonly nonce: string;
  readonly below: string;
}

/** As it lies in the register. */
export interface KeptFloor {
  readonly floor?: Floor;
  readonly raise?: Raise;
}

const isTime = (value: unknown): value is string =>
  typeof value === "string" && /^[0-9a-f]{12}$/.test(value);

export function keptFloorOf(value: unknown): KeptFloor {
  const { floor, raise } = (value ?? {}) as { [K in keyof KeptFloor]: Partial<KeptFloor[K]> };
  const { below, spared } = floor ?? {};
  const { nonce, below: to } = raise ?? {};
  return {
    ...(isTime(below) && typeof spared === "string" && { floor: { below, spared } }),
    ...(isTime(to) && typeof nonce === "string" && { raise: { nonce, below: to } }),
  };
}

/** Never falls, in no member's view: each value is made of the one before. */
export function barrierOf({ floor, raise }: KeptFloor): string {
  const [agreed, wanted] = [floor?.below ?? "", raise?.below ?? ""];
  return agreed > wanted ? agreed : wanted;
}

/** The first digits of ids of that time. */
export const belowTime = (ms: number): string =>
  Math.max(0, Math.floor(ms)).toString(16).padStart(12, "0");

/**
 * Ids of one intention of a flow lie less apart than this: 4096 frames share a millisecond, and a packet has
 * no more than 10,000.
 */
export const intentionSpanMs = 4;

/**
 * Those removed ones that may be of the last intention of their flow: its publisher may ask for that one again, and has
 * to be told what became of it. The intention before it was settled when the next was agreed on.
 */
export function lastOfFlows(
  removed: readonly MessageId[],
  all: Iterable<MessageId>,
): readonly MessageId[] {
  const latest = new Map<string, number>();
  for (const id of all) {
    const flow = flowOf(id);
    latest.set(flow, Math.max(latest.get(flow) ?? 0, timeOf(id)));
  }
  return removed.filter((id) => timeOf(id) + intentionSpanMs >= (latest.get(flowOf(id)) ?? 0));
}

/** What one member knows that a floor has to spare. */
export interface Sounding {
  readonly live: readonly MessageId[];
  readonly last: readonly MessageId[];
}

export function soundingOf(contents: MailboxContents, below: string): Sounding {
  const live = contents.messages.map(({ id }) => id).filter(isOfFlow);
  const removed = contents.tombstones.map(({ id }) => id).filter(isOfFlow);
  const isBelow = (id: MessageId): boolean => id < below;
  const last = lastOfFlows(removed.filter(isBelow), [...live, ...removed]);
  return { live: live.filter(isBelow), last };
}

/**
 * The floor that follows from what a majority knows. What an earlier floor has not spared stays gone, so that
 * floors may be applied in any order, and any of them be left out.
 */
export function floorFrom(
  below: string,
  before: Floor | undefined,
  soundings: readonly Sounding[],
): Floor {
  const live = new Set(soundings.flatMap((each) => each.live));
  const last = new Set(soundings.flatMap((each) => each.last));
  const removed = [...last].filter((id) => !live.has(id));
  const spared = [...live, ...lastOfFlows(removed, [...live, ...removed])];
  const wasSpared = before && sparedBy(before);
  const left = wasSpared ? spared.filter((id) => id >= before.below || wasSpared.has(id)) : spared;
  return { below, spared: packIds(left.sort()) };
}

/** How far the floor may rise so that no more than so many are spared, and how many tombstones that saves. */
export function aim(
  contents: MailboxContents,
  highest: string,
  sparedMax: number,
): { readonly below: string; readonly saves: number } {
  const { live, last } = soundingOf(contents, highest);
  const spared = [...live, ...last].sort();
  const first = spared[sparedMax];
  const below = first === undefined ? highest : first.slice(0, 12);
  const spares = new Set(last);
  const saves = contents.tombstones.filter(
    ({ id }) => id < below && isOfFlow(id) && !spares.has(id),
  ).length;
  return { below, saves };
}

export const packSounding = ({ live, last }: Sounding) => ({
  live: packIds(live),
  last: packIds(last),
});
export const unpackSounding = (packed: { live: string; last: string }): Sounding => ({
  live: unpackIds(packed.live),
  last: unpackIds(packed.last),
});
