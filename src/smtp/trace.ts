/** Trace lines in front of a stored mail: RFC 5321 §4.4. Pure. */
import type { MessageId } from "../shared/ids.js";

export interface TraceFacts {
  /** Envelope sender, "" for the null sender. */
  readonly sender: string;
  /**
   * The one recipient whose copy this is (RFC 5321 §7.6: nobody learns of the others). Undefined
   * for the copy in the sender's outbox.
   */
  readonly recipient: string | undefined;
  /** What the client called itself. */
  readonly helo: string;
  /** It goes on to another server, which is not the last one either. */
  readonly leavesRing?: boolean;
  /** Textual IP address of the client. */
  readonly clientAddress: string;
  readonly serverName: string;
  readonly nodeText: string | undefined;
  readonly protocol: Protocol;
  /** What the connection was encrypted with. */
  readonly tls?: TlsFacts | undefined;
  readonly id: MessageId;
  readonly receivedAt: Date;
  /** Fields that a submission has to have and that this one lacked: RFC 6409 §8. */
  readonly added?: AddedFields | undefined;
}

/** Agreed in the handshake, e.g. `TLSv1.3` and `TLS_AES_256_GCM_SHA384` (its name at IANA). */
export interface TlsFacts {
  readonly version: string;
  readonly cipher: string;
}

/** The same on all copies of a mail. */
export interface AddedFields {
  readonly date?: Date;
  /** With angle brackets. */
  readonly messageId?: string;
}

export type Protocol = "SMTP" | `${"ESMTP" | "UTF8SMTP"}${"" | "S" | "A" | "SA"}`;

/** RFC 3848, and RFC 6531 §4.3. There is none for HELO with TLS; the TLS clause tells. */
export function protocolOf(session: {
  readonly extended: boolean;
  readonly utf8: boolean;
  readonly secure: boolean;
  readonly authenticated: boolean;
}): Protocol {
  const { extended, utf8, secure, authenticated } = session;
  if (!extended && !utf8) return "SMTP";
  const suffix = secure ? (authenticated ? "SA" : "S") : authenticated ? "A" : "";
  return `${utf8 ? "UTF8SMTP" : "ESMTP"}${suffix}`;
}

/** RFC 5322 §2.1.1. */
const lineOctetsMax = 78;

/** `Return-Path:`, `Received:` and what was added, folded, each line ending in CRLF. */
export function traceLines(facts: TraceFacts): string {
  const { recipient, tls, added } = facts;
  const node = facts.nodeText === undefined ? "" : ` (node ${word(facts.nodeText)})`;
  const clauses = [
    `from ${word(facts.helo)} (${addressLiteral(facts.clientAddress)})`,
    `by ${word(facts.serverName)}${node}`,
    `with ${facts.protocol}${tls === undefined ? "" : ` (${word(tls.version)})`}`,
    `id ${facts.id}`,
    ...(recipient === undefined ? [] : [`for <${oneLine(recipient)}>`]),
    // RFC 8314 §4.3.
    ...(tls === undefined ? [] : [`tls ${word(tls.cipher)}`]),
  ];
  const last = `${clauses.pop() ?? ""};`;
  const received = fold("Received:", [...clauses, last, dateTime(facts.receivedAt)]);
  // RFC 5321 §4.4: the server that makes the final delivery writes it, and nobody before.
  const path = facts.leavesRing ? "" : `Return-Path: <${oneLine(facts.sender)}>\r\n`;
  return `${path}${received}${addedLines(added)}`;
}

function addedLines({ date, messageId }: AddedFields = {}): string {
  return (
    (messageId === undefined ? "" : `Message-ID: ${oneLine(messageId)}\r\n`) +
    (date === undefined ? "" : `Date: ${dateTime(date)}\r\n`)
  );
}

/** RFC 5322 §3.3. */
function dateTime(date: Date): string {
  return date.toUTCString().replace("GMT", "+0000");
}

function fold(name: string, clauses: readonly string[]): string {
  let folded = "";
  let line = name;
  for (const clause of clauses) {
    if (line !== name && Buffer.byteLength(line) + 1 + Buffer.byteLength(clause) > lineOctetsMax) {
      folded += `${line}\r\n`;
      line = `\t${clause}`;
    } else {
      line += ` ${clause}`;
    }
  }
  return `${folded}${line}\r\n`;
}

/** A name that a stranger chose: nothing that is structure in a header field survives. */
function word(text: string): string {
  return text.replace(/[^A-Za-z0-9.:_[\]-]/gu, "?").slice(0, 255) || "?";
}

/** A path was parsed before it got here; this is the last line of defence against a line break. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\u2028\u2029]/gu, "?");
}

/** RFC 5321 §4.1.3. */
function addressLiteral(address: string): string {
  return address.includes(":") ? `[IPv6:${word(address)}]` : `[${word(address)}]`;
}
