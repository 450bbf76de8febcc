import type { PeerMessage } from "../replication/ports.js";
import { bounds } from "./bounds.js";

/** A message that cannot travel, or bytes that are no message. `message` is one line. */
class UnusableMessageError extends Error {
  override readonly name = "UnusableMessageError";
}

export interface PackedMessage {
  readonly header: string;
  readonly blobs: readonly Buffer[];
}

const noBlobs: readonly Buffer[] = [];

/**
 * Parts a message into its JSON header and the blobs that travel beside it.
 * @throws UnusableMessageError when it is no JSON or breaks a bound
 */
export function packMessage(message: PeerMessage): PackedMessage {
  const { blobs = noBlobs, ...rest } = message;
  let octets = 0;
  for (const blob of blobs) octets += blob.length;
  const header = stringify(rest);
  // A UTF-16 unit is at most 3 octets of UTF-8; count only where it could matter.
  octets +=
    header.length * 3 < bounds.frameOctetsTarget ? header.length : Buffer.byteLength(header);
  if (octets > bounds.messageOctetsMax || blobs.length > bounds.messageBlobsMax) {
    throw new UnusableMessageError(`message too large: ${octets} octets, ${blobs.length} blobs`);
  }
  return { header, blobs };
}

/** @throws UnusableMessageError */
export function unpackMessage(header: Buffer, blobs: readonly Buffer[]): PeerMessage {
  const parsed = parseJson(header);
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new UnusableMessageError("header is no JSON object");
  }
  if ("blobs" in parsed) throw new UnusableMessageError("header names blobs");
  return blobs.length === 0 ? parsed : Object.assign(parsed, { blobs });
}

/** @throws UnusableMessageError */
export function stringify(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "null";
  } catch (error) {
    throw new UnusableMessageError(`not expressible as JSON: ${failureText(error)}`);
  }
}

/** @throws UnusableMessageError */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8")) as unknown;
  } catch {
    throw new UnusableMessageError("not JSON");
  }
}

/** An error as one bounded line, fit to cross the wire; never empty. */
export function failureText(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const line = text.replace(/[\u0000-\u001f\u007f]+/g, " ").slice(0, bounds.failureCharsMax);
  return line === "" ? "unknown failure" : line;
}
