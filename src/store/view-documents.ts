/** What of a mailbox lies in its view file: messages, tombstones by themselves, a floor. Packs: `tombstones.ts`. */
import type { Floor } from "../shared/floor.js";
import type { MessageId } from "../shared/ids.js";
import type { Tombstone } from "../shared/operation.js";
import type { ViewDocument } from "./view-file.js";

export const tombstonePrefix = "x";
export const floorPrefix = "=";
export const isFloor = ({ _id }: ViewDocument): boolean => _id.startsWith(floorPrefix);
export const floorOf = ({ _id, v }: ViewDocument): Floor => ({
  below: _id.slice(floorPrefix.length),
  spared: v,
});

/** A tombstone in the view file: when, and the fingerprint if there is one. */
export const toText = ({ removedAtMs, fingerprint }: Tombstone): string =>
  fingerprint === undefined ? String(removedAtMs) : `${removedAtMs} ${fingerprint}`;

export function toTombstone(id: string, text: string): Tombstone {
  const space = text.indexOf(" ");
  const removedAtMs = Number(space < 0 ? text : text.slice(0, space));
  const tombstone = { id: id as MessageId, removedAtMs };
  return space < 0 ? tombstone : { ...tombstone, fingerprint: text.slice(space + 1) };
}
