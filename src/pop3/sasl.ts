import { isUtf8 } from "node:buffer";

interface PlainMessage {
  readonly authorizationId: string;
  readonly username: string;
  readonly password: string;
}

/** A line of a SASL exchange; undefined when it is no base64 (RFC 4648 §4, padded). */
export function decodeBase64(text: string): Buffer | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  return Buffer.from(text, "base64");
}

/**
 * RFC 5034 §4: an initial response is base64; a lone `=` is one of no octets, which an empty
 * argument could not tell from none. Undefined when it is neither.
 */
export function decodeInitial(text: string): Buffer | undefined {
  if (text === "=") return Buffer.alloc(0);
  return text === "" ? undefined : decodeBase64(text);
}

/**
 * Reads a PLAIN message (RFC 4616 §2): [authzid] NUL authcid NUL passwd, in UTF-8. Undefined when
 * it is none.
 */
export function decodePlain(octets: Buffer): PlainMessage | undefined {
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
