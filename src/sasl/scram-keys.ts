/** The arithmetic of SCRAM-SHA-256: RFC 5802 §3, RFC 7677. */
import { createHash, createHmac, pbkdf2, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

const stretch = promisify(pbkdf2);

/** What a server keeps of a password (RFC 5803). All base64. */
export interface ScramVerifier {
  readonly salt: string;
  readonly iterations: number;
  readonly storedKey: string;
  readonly serverKey: string;
}

const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
const sha256 = (data: Buffer): Buffer => createHash("sha256").update(data).digest();

/** @param password as `prepareOpaque` makes it */
export async function scramVerifier(
  password: string,
  { salt, iterations }: { readonly salt: Buffer; readonly iterations: number },
): Promise<ScramVerifier> {
  const salted = await stretch(password, salt, iterations, 32, "sha256");
  return {
    salt: salt.toString("base64"),
    iterations,
    storedKey: sha256(hmac(salted, "Client Key")).toString("base64"),
    serverKey: hmac(salted, "Server Key").toString("base64"),
  };
}

/** Whether the sender of `proof` (32 octets) knows the password. */
export function isProof(proof: Buffer, verifier: ScramVerifier, authMessage: string): boolean {
  const storedKey = Buffer.from(verifier.storedKey, "base64");
  const signature = hmac(storedKey, authMessage);
  if (proof.length !== signature.length) return false;
  const clientKey = Buffer.from(proof.map((octet, at) => octet ^ (signature[at] ?? 0)));
  return timingSafeEqual(sha256(clientKey), storedKey);
}

/** What proves to the client that the server knows the verifier. Base64. */
export const serverSignature = (verifier: ScramVerifier, authMessage: string): string =>
  hmac(Buffer.from(verifier.serverKey, "base64"), authMessage).toString("base64");
