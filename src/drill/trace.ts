import { createHash } from "node:crypto";

/** One Return-Path and one Received field, folded or not (RFC 5321 §4.4). */
const trace = /^Return-Path: <([^<>\r\n]*)>\r\nReceived: [^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*$/;

/**
 * The envelope sender of the trace in front of `original`; undefined when `served` is anything
 * but such a trace followed by exactly the octets of `original`.
 */
export function senderBefore(original: Buffer, served: Buffer): string | undefined {
  const at = served.length - original.length;
  if (at <= 0 || at > 4_096 || !served.subarray(at).equals(original)) return undefined;
  return trace.exec(served.toString("latin1", 0, at))?.[1];
}

/** Short name of some octets, for messages. */
export function digestOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}
