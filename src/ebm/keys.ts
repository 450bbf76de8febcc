/** Public keys as they are written in packets and records. */
import { createPublicKey, type KeyObject } from "node:crypto";
import { EbmFormatError } from "./bounds.js";

/** 32 octets in base64url, from either key of the pair. */
export function publicKeyText(key: KeyObject): string {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return publicKey.export({ format: "jwk" }).x ?? "";
}

/** @throws EbmFormatError when it is not an Ed25519 key */
export function publicKeyOf(text: string): KeyObject {
  try {
    return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: text }, format: "jwk" });
  } catch {
    throw new EbmFormatError("not an Ed25519 key");
  }
}
