/**
 * What somebody on another machine needs to join: whom to trust, and a secret that is good once.
 * Until when is for the ring to know; the joiner's clock does not matter.
 */
import { createHash, randomBytes } from "node:crypto";

export interface JoinToken {
  /** SHA-256 of the CA's certificate. */
  readonly caFingerprint: Buffer;
  readonly secret: Buffer;
}

const prefix = "rp1_";
const octets = 32;
const shape = /^rp1_[A-Za-z0-9_-]{86}$/;

export function makeJoinToken(caFingerprint: Buffer): JoinToken {
  return { caFingerprint, secret: randomBytes(octets) };
}

/** One word, fit to be pasted. */
export function formatJoinToken({ caFingerprint, secret }: JoinToken): string {
  return prefix + Buffer.concat([caFingerprint, secret]).toString("base64url");
}

/** Undefined when the text is no whole token. */
export function parseJoinToken(text: string): JoinToken | undefined {
  if (!shape.test(text)) return undefined;
  const bytes = Buffer.from(text.slice(prefix.length), "base64url");
  return { caFingerprint: bytes.subarray(0, octets), secret: bytes.subarray(octets) };
}

/** What the ring keeps of a secret: enough to know it again, not enough to use it. */
export function secretHash(secret: Buffer): string {
  return createHash("sha256").update(secret).digest("hex");
}
