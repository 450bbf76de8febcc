/** What of a queue may be on its way to an owner whose account is elsewhere. Pure. */
import type { QueueFields } from "./definitions.js";
import { factsIn } from "./entry.js";
import type { Leased, LeaseTable, Now } from "./lease-table.js";
import { brokerLimits } from "./limits.js";

/** Who has what was pushed; no session of a consumer has such a name. */
const pushSession = "push";

type Fields = Pick<QueueFields, "push" | "exclusive" | "leaseMs">;

/** Entries that may be added to what is on its way. An exclusive queue's come in order: mail by mail. */
function room(table: LeaseTable, { exclusive }: Fields): number {
  const { competing, exclusive: inOrder } = brokerLimits.shownMax;
  const underWay = table.leasesOf(pushSession);
  if (underWay.length === 0) return exclusive ? inOrder : competing;
  if (exclusive || octetsOf(underWay) >= brokerLimits.push.octetsMax) return 0;
  return Math.max(0, competing - underWay.length);
}

export const hasToPush = (table: LeaseTable, fields: Fields, now: Now): boolean =>
  fields.push && table.hasReady(now) && room(table, fields) > 0;

/** Leases what fits into one mail, and longer each time it is delivered. */
export function takeToPush(table: LeaseTable, fields: Fields, now: Now): readonly Leased[] {
  const { octetsMax, framesMax, leaseMsMax } = brokerLimits.push;
  let octets = octetsOf(table.leasesOf(pushSession));
  let frames = 0;
  const taken = table.take(pushSession, room(table, fields), now);
  const fitting = taken.findIndex(({ message }, index) => {
    octets += message.bodyOctets;
    frames += factsIn(message)?.messages ?? 1;
    // One that is larger by itself goes alone.
    return index > 0 && (octets > octetsMax || frames > framesMax);
  });
  const chosen = fitting < 0 ? taken : taken.slice(0, fitting);
  for (const { message } of taken.slice(chosen.length)) giveBack(table, message.id, now);
  for (const { message, redelivered } of chosen) {
    const ms = Math.min(fields.leaseMs * 2 ** Math.min(redelivered, 40), leaseMsMax);
    table.extend(message.id, Math.max(ms, fields.leaseMs), now);
  }
  return chosen;
}

/** It was not sent after all: as if it had not been handed out. */
export const giveBack = (table: LeaseTable, id: Leased["message"]["id"], now: Now): void =>
  table.giveBack(id, pushSession, now);

const octetsOf = (leases: readonly Leased[]): number =>
  leases.reduce((sum, { message }) => sum + message.bodyOctets, 0);
