/** Trace lines in front of a stored mail: RFC 5321 §4.4. Pure. */
import type { MessageId } from "../shared/ids.js";

export interface TraceFacts {
  /** Envelope sender, "" for the null sender. */
  readonly sender: string;
  /** The one recipient whose copy this is (RFC 5321 §7.6: nobody learns of the others). */
  readonly recipient: string;
  /** What the client called itself. */
  readonly helo: string;
  /** Textual IP address of the client. */
  readonly clientAddress: string;
  readonly serverName: string;
  readonly nodeText: string | undefined;
  readonly protocol: "SMTP" | "ESMTP" | "UTF8SMTP";
  readonly id: MessageId;
  readonly receivedAt: Date;
}

/** RFC 5322 §2.1.1. */
const lineOctetsMax = 78;

/** `Return-Path:` and `Received:`, folded, each line ending in CRLF. */
export function traceLines(facts: TraceFacts): string {
  const node = facts.nodeText === undefined ? "" : ` (node ${word(facts.nodeText)})`;
  const clauses = [
    `from ${word(facts.helo)} (${addressLiteral(facts.clientAddress)})`,
    `by ${word(facts.serverName)}${node}`,
    `with ${facts.protocol}`,
    `id ${facts.id}`,
    `for <${oneLine(facts.recipient)}>;`,
    facts.receivedAt.toUTCString().replace("GMT", "+0000"),
  ];
  return `Return-Path: <${oneLine(facts.sender)}>\r\n${fold("Received:", clauses)}`;
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
