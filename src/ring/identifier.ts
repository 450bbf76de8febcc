import { createHash } from "node:crypto";
import type { RingId } from "../shared/ids.js";

/** SHA-1 gives 160 bits; the paper's identifiers are that long (Chord, §4.1). */
export const bitsMax = 160;

/** True when `x` lies clockwise strictly between `a` and `b`; `a = b` means all but `a`. */
export function between(a: bigint, x: bigint, b: bigint): boolean {
  return a < b ? a < x && x < b : x > a || x < b;
}

/** As `between`, with `b` itself included: `b` owns the keys in (a, b]. */
export function betweenRightInclusive(a: bigint, x: bigint, b: bigint): boolean {
  return x === b || between(a, x, b);
}

/** Steps clockwise from `from` to `to`: 0 ≤ distance < 2^bits. */
export function distance(from: bigint, to: bigint, bits: number): bigint {
  return to >= from ? to - from : to - from + (1n << BigInt(bits));
}

/** The point `steps` clockwise from `from`. */
export function advance(from: RingId, steps: bigint, bits: number): RingId {
  return ((from + steps) % (1n << BigInt(bits))) as RingId;
}

type ParsedRingId =
  | { readonly ok: true; readonly id: RingId }
  | { readonly ok: false; readonly error: string };

/**
 * Reads an identifier that a person wrote: decimal, or hexadecimal after `0x`.
 * The error is one line that names what is allowed.
 */
export function parseRingId(text: string, bits: number): ParsedRingId {
  const trimmed = text.trim();
  // 2^160 has 49 decimal digits; the bound keeps a megabyte of digits from being converted.
  if (trimmed.length > 64 || !/^(?:[0-9]+|0[xX][0-9a-fA-F]+)$/.test(trimmed)) {
    const shown = JSON.stringify(trimmed.length > 64 ? `${trimmed.slice(0, 64)}…` : trimmed);
    return { ok: false, error: `id ${shown} is neither a decimal nor a 0x hexadecimal number` };
  }
  const id = BigInt(trimmed);
  if (id >> BigInt(bits) !== 0n) {
    const range = `0..${(1n << BigInt(bits)) - 1n}`;
    return { ok: false, error: `id ${trimmed} is outside ${range} (${bits} bits)` };
  }
  return { ok: true, id: id as RingId };
}

/** The most significant `bits` bits (1 to 160) of SHA-1 of the UTF-8 text. */
export function ringIdOf(text: string, bits: number): RingId {
  const hash = BigInt(`0x${createHash("sha1").update(text, "utf8").digest("hex")}`);
  return (hash >> BigInt(bitsMax - bits)) as RingId;
}

/** Decimal, as ids are written on the wire and for people. */
export function formatRingId(id: RingId): string {
  return id.toString(10);
}
