import { hash } from "node:crypto";
import type { MailboxSummary } from "../replication/ports.js";

/** What a mailbox's operations come to. `digest` is a number modulo 2^128. */
export interface Totals {
  readonly digest: bigint;
  readonly messages: number;
  readonly tombstones: number;
  readonly octets: number;
}

export const emptyTotals: Totals = { digest: 0n, messages: 0, tombstones: 0, octets: 0 };

export function summaryOf(totals: Totals): MailboxSummary {
  const { messages, tombstones, octets } = totals;
  return { digest: totals.digest.toString(16).padStart(32, "0"), messages, tombstones, octets };
}

export function sameTotals(a: Totals, b: Totals): boolean {
  return (
    a.digest === b.digest &&
    a.messages === b.messages &&
    a.tombstones === b.tombstones &&
    a.octets === b.octets
  );
}

/** The part of a set's digest that one (id, live | removed) contributes. */
export function share(id: string, state: "live" | "removed" | "floor"): bigint {
  return BigInt(`0x${hash("sha256", `${id} ${state}`, "hex").slice(0, 32)}`);
}
