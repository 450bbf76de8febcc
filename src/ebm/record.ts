/** The directory: where a user answers now, and with which keys. */
import { type KeyObject, sign, verify } from "node:crypto";
import { publicKeyOf } from "./keys.js";
import type { UserId } from "./message.js";
import { isObject, isText, isWhole } from "./shapes.js";

export interface DeviceKey {
  readonly device: string;
  /** Ed25519, 32 octets in base64url. */
  readonly key: string;
}

/**
 * Self-signed, so that whoever has it from the ring need not trust the way it came. The ring keeps the
 * newest version.
 */
export interface DirectoryRecord {
  readonly user: UserId;
  /** Milliseconds since 1970 when it was made; a greater one replaces it. */
  readonly version: number;
  /** Mail addresses, the preferred one first; at most 4. */
  readonly addresses: readonly string[];
  /** At most 16. */
  readonly devices: readonly DeviceKey[];
  /** May be believed until, milliseconds since 1970. */
  readonly expiresAtMs: number;
  /** How often the user looks for mail, milliseconds. */
  readonly pollMs?: number;
  /** Who signed: one of `devices`. */
  readonly signedBy: string;
  /** Ed25519 over all else, base64url. */
  readonly signature: string;
}

export function signRecord(
  record: Omit<DirectoryRecord, "signature">,
  privateKey: KeyObject,
): DirectoryRecord {
  const signature = sign(null, octetsOf(record), privateKey).toString("base64url");
  return { ...record, signature };
}

/** Well-formed, and signed by one of the devices that it names. Expiry is for the caller to judge. */
export function isSoundRecord(value: unknown): value is DirectoryRecord {
  if (!isWellFormed(value)) return false;
  const signer = value.devices.find(({ device }) => device === value.signedBy);
  if (!signer) return false;
  try {
    const signature = Buffer.from(value.signature, "base64url");
    return verify(null, octetsOf(value), publicKeyOf(signer.key), signature);
  } catch {
    return false;
  }
}

const isList = (value: unknown, max: number, isGood: (one: unknown) => boolean): boolean =>
  Array.isArray(value) && value.length > 0 && value.length <= max && value.every(isGood);

const isDevice = (value: unknown): boolean =>
  isObject(value) &&
  isText(value["device"], /^[A-Za-z0-9_-]{1,32}$/) &&
  isText(value["key"], /^[A-Za-z0-9_-]{43}$/);

function isWellFormed(value: unknown): value is DirectoryRecord {
  if (!isObject(value)) return false;
  const { user, version, addresses, devices, expiresAtMs, pollMs, signedBy, signature } = value;
  return (
    isText(user, /^[^\s\p{Cc}]{1,254}$/u) &&
    isWhole(version) &&
    isList(addresses, 4, (one) => isText(one, /^[^\s\p{Cc}<>]{3,254}$/u) && one.includes("@")) &&
    isList(devices, 16, isDevice) &&
    isWhole(expiresAtMs) &&
    (pollMs === undefined || isWhole(pollMs)) &&
    isText(signedBy, /^[A-Za-z0-9_-]{1,32}$/) &&
    isText(signature, /^[A-Za-z0-9_-]{86}$/)
  );
}

/** One spelling for one record: the fields in a fixed order. */
function octetsOf(record: Omit<DirectoryRecord, "signature">): Buffer {
  const { user, version, addresses, devices, expiresAtMs, pollMs = null, signedBy } = record;
  const keys = devices.map(({ device, key }) => [device, key]);
  return Buffer.from(
    JSON.stringify(["ebm-record", user, version, addresses, keys, expiresAtMs, pollMs, signedBy]),
  );
}
