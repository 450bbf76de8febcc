/** Readers of single values. Each gives the value or completes "… must …". */
import type { RingId } from "../shared/ids.js";
import { isHostName } from "./endpoint.js";
import { limitSpecs } from "./limits.js";
import { nearest } from "./nearest.js";
import { no, ok, type Parsed } from "./parsed.js";

export const logLevels = ["silent", "fatal", "error", "warn", "info", "debug", "trace"] as const;
export type LogLevel = (typeof logLevels)[number];

export function parseWhole(
  text: string,
  { min, max, unit = "" }: { readonly min: number; readonly max: number; readonly unit?: string },
): Parsed<number> {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return ok(value);
  return no(`be a whole number${unit === "" ? "" : ` of ${unit}`} from ${min} to ${max}`);
}

const idShape = /^(?:0x[0-9a-f]{1,64}|\d{1,64})$/i;

/**
 * Reads the shape of an id, decimal or 0x hex. Whether it fits the circle is `fitsBits`'s question,
 * since `bits` may come from another place than the id.
 */
export function parseId(text: string): Parsed<bigint> {
  return idShape.test(text) ? ok(BigInt(text)) : no("be a decimal number or 0x and hex digits");
}

export function fitsBits(id: bigint, bits: number): id is RingId {
  return id >= 0n && id < 1n << BigInt(bits);
}

const sizeShape = /^(\d{1,12})\s*(k|m|g|)i?b?$/i;
const sizeUnits: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };
/** RFC 5321 §4.5.3.1.7: every server takes messages of 64K octets. */
const messageOctetsFloor = 64 * 2 ** 10;
const messageOctetsCeiling = 2 ** 30;

/** Reads `64M`, `100 KiB`, `1048576`. Units are powers of 1024. NaN when it is no size. */
function octetsIn(text: string): number {
  const match = sizeShape.exec(text.trim());
  const unit = sizeUnits[(match?.[2] ?? "").toLowerCase()];
  return Number(match?.[1] ?? Number.NaN) * (unit ?? Number.NaN);
}

/** Reads `pop3-idle-time=900`. */
export function parseLimit(text: string): Parsed<Readonly<Record<string, number>>> {
  const [, name, amount] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || amount === undefined) return no("be name=value; see chord limits");
  const spec = Object.hasOwn(limitSpecs, name) ? limitSpecs[name] : undefined;
  if (spec === undefined) {
    const names = Object.keys(limitSpecs);
    const meant = nearest(name, names) ?? names.find((known) => known.startsWith(`${name}-`));
    const hint = meant === undefined ? "see chord limits" : `did you mean "${meant}"?`;
    return no(`name a limit, and there is no ${JSON.stringify(name)}; ${hint}`);
  }
  const { unit, min, max, floor } = spec;
  const isSize = unit === "octets";
  const value = isSize ? octetsIn(amount) : Number(/^\d{1,15}$/.test(amount) ? amount : Number.NaN);
  if (value >= min && value <= max) return ok({ [name]: value });
  const shape = isSize ? "octets, or a size as 64K," : `a whole number of ${unit}`;
  const why = floor === undefined ? "" : ` (${floor})`;
  return no(`give ${name} ${shape} from ${min} to ${max}${why}`);
}

const copyRateFloor = 64 * 2 ** 10;
const copyRateCeiling = 2 ** 40;

export function parseCopyRate(text: string): Parsed<number> {
  const octets = octetsIn(text);
  if (octets >= copyRateFloor && octets <= copyRateCeiling) return ok(octets);
  return no("be octets a second from 64K to 1024G, for example 32M");
}

export function parseMessageOctets(text: string): Parsed<number> {
  const octets = octetsIn(text);
  if (octets >= messageOctetsFloor && octets <= messageOctetsCeiling) return ok(octets);
  return no("be a size from 64K to 1G, for example 64M (RFC 5321 asks for at least 64K)");
}

/** `none`: as much as comes. */
export type Bound = number | "none";

const quotaCeiling = 2 ** 50;

export function parseQuotaOctets(text: string): Parsed<Bound> {
  if (text === "none") return ok("none");
  const octets = octetsIn(text);
  if (octets >= 1 && octets <= quotaCeiling) return ok(octets);
  return no("be a size such as 500M or 10G, or none");
}

export function parseBound(text: string): Parsed<Bound> {
  if (text === "none") return ok("none");
  const count = parseWhole(text, { min: 1, max: 1_000_000_000 });
  return count.ok ? count : no(`${count.why}, or none`);
}

export function parseOnOff(text: string): Parsed<boolean> {
  return text === "on" || text === "off" ? ok(text === "on") : no("be on or off");
}

/** A reader of one of these words. */
export function oneOf<T extends string>(words: readonly T[]): (text: string) => Parsed<T> {
  return (text) => {
    const word = words.find((known) => known === text);
    return word === undefined ? no(`be one of ${words.join(", ")}`) : ok(word);
  };
}

/** A domain or host name, lower case. Names in other scripts are given in their xn-- form. */
export function parseName(text: string): Parsed<string> {
  const name = text.toLowerCase();
  if (isHostName(name)) return ok(name);
  return no("be a name of letters, digits, dashes and dots, for example ring.test");
}

export function parsePath(text: string): Parsed<string> {
  if (text.trim() === "") return no("be a path, not empty");
  return text.includes("\0") ? no("be a path, without a NUL") : ok(text);
}

/** RFC 4954: what a user name may hold is the mechanism's to say; none of them has a line end. */
export function parseRelayUser(text: string): Parsed<string> {
  const isName = text.length > 0 && text.length <= 255 && !/\p{Cc}/u.test(text);
  return isName ? ok(text) : no("be 1 to 255 characters on one line");
}

const tokenShape = /^rp1_[A-Za-z0-9_-]+$/;

export function parseToken(text: string): Parsed<string> {
  return tokenShape.test(text) ? ok(text) : no("be what chord token printed, rp1_…");
}
