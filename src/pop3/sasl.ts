import { isUtf8 } from "node:buffer";

export interface PlainMessage {
  readonly authorizationId: string;
  readonly username: string;
  readonly password: string;
}

/**
 * Decodes a base64 PLAIN message (RFC 4616 §2): [authzid] NUL authcid NUL passwd, in UTF-8.
 * Undefined when it is none. A lone `=` is an empty initial response (RFC 5034 §4): no message.
 */
export function decodePlain(base64: string): PlainMessage | undefined {
  if (base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const octets = Buffer.from(base64, "base64");
  if (!isUtf8(octets)) return undefined;
  const fields = octets.toString("utf8").split("\0");
  const [authorizationId, username, password] = fields;
  if (fields.length !== 3 || authorizationId === undefined) return undefined;
  if (!username || !password) return undefined;
  return { authorizationId, username, password };
}

/** An argument of USER or PASS, one octet per character, as UTF-8 (RFC 6856 §2.2). */
export function decodeUtf8(latin1: string): string | undefined {
  const octets = Buffer.from(latin1, "latin1");
  return isUtf8(octets) ? octets.toString("utf8") : undefined;
}
