/**
 * Mail that leaves the ring: where it waits, and the envelope that stands in front of each copy there. The envelope
 * does not leave the ring; what else is in the copy's trace does.
 */
import type { MailboxName } from "../shared/ids.js";

/**
 * Of the ring's own mail: answers, and what is pushed. Names of queues begin with a letter or digit
 * (`isQueueName`): nobody can declare these two.
 */
export const outgoingMailbox = (domain: string): MailboxName =>
  `.outgoing@${domain}/queue` as MailboxName;

/** Of what users hand in for other domains: a room of its own, so that they never crowd out the ring. */
export const submittedMailbox = (domain: string): MailboxName =>
  `.submitted@${domain}/queue` as MailboxName;

/** Of what waits in either, in the whole ring. */
export const outgoingRoom = { messages: 10_000, octets: 1024 * 1024 * 1024 } as const;

export interface OutgoingEnvelope {
  readonly to: string;
  /** "" for the null sender. */
  readonly from: string;
}

const [toField, fromField] = ["Ringpost-Outgoing-To", "Ringpost-Outgoing-From"];
const pattern = new RegExp(`^${toField}: (.+)\r\n(?:${fromField}: (.*)\r\n)?`);

/** Both have been parsed: they contain nothing that ends a line. */
export const envelopeLines = ({ to, from }: OutgoingEnvelope): string =>
  `${toField}: ${to}\r\n${fromField}: ${from}\r\n`;

/** Undefined for what is no trace of ours. `octets`: what does not leave the ring, at the beginning. */
export function envelopeIn(
  trace: string,
): (OutgoingEnvelope & { readonly octets: number }) | undefined {
  const [lines, to, from = ""] = pattern.exec(trace) ?? [];
  if (lines === undefined || to === undefined) return undefined;
  return { to, from, octets: Buffer.byteLength(lines) };
}
