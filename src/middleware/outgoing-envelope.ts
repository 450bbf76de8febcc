/** The recipient of an outgoing mail, kept in the trace in front of it, which does not leave the ring. */

const field = "Ringpost-Outgoing-To";
const pattern = new RegExp(`^${field}: (.+)\r\n$`);

/** `to` has been parsed: it contains nothing that ends a line. */
export const envelopeTrace = (to: string): string => `${field}: ${to}\r\n`;

/** Undefined for what is no trace of ours. */
export const recipientIn = (trace: string): string | undefined => pattern.exec(trace)?.[1];
