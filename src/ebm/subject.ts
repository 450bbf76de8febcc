/** The index of a packet in the Subject of its mail: enough to sort a maildrop by `TOP n 0`. */
import { ebmBounds } from "./bounds.js";

export type PacketType = "data" | "acknowledgement" | "configuration";

/** It is only an index, and anybody may have written it: what counts is the signed header. */
export interface PacketIndex {
  readonly connection: string;
  readonly packet: number;
  readonly type: PacketType;
}

const letters = { data: "d", acknowledgement: "a", configuration: "c" } as const;
const types = { d: "data", a: "acknowledgement", c: "configuration" } as const;

/** JSON, pure ASCII, at most 78 characters, for example `{"ebm":1,"c":"k3f9","n":17,"t":"d"}`. */
export function writeSubject({ connection, packet, type }: PacketIndex): string {
  return `{"ebm":1,"c":"${connection}","n":${packet},"t":"${letters[type]}"}`;
}

const pattern = /\{"ebm":1,"c":"([A-Za-z0-9_-]{1,32})","n":(0|[1-9]\d{0,15}),"t":"([dac])"\}/;

/**
 * The index anywhere in a Subject, since gateways put things around it ("[EXTERNAL] …"). Not by
 * JSON.parse: keys that come twice, or `__proto__`, are no index of ours. Undefined for other mail.
 */
export function findIndex(subject: string): PacketIndex | undefined {
  // Folding may have put white space where there was none, RFC 5322 §2.2.3.
  const text = subject.slice(0, 1_024).replace(/\s+/g, "");
  const [, connection = "", packet = "", letter = ""] = pattern.exec(text) ?? [];
  const number = Number(packet);
  if (connection === "" || !Number.isSafeInteger(number)) return undefined;
  return { connection, packet: number, type: types[letter as keyof typeof types] };
}

/** True when what was written fits the Subject; connection ids of ours always do. */
export const fitsSubject = (index: PacketIndex): boolean =>
  writeSubject(index).length <= ebmBounds.subjectCharsMax;
