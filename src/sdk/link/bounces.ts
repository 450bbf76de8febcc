/** Delivery status notifications, RFC 3464, and what looks like them. */
import { headerField } from "../header-field.js";

export interface Bounce {
  readonly kind: "failed" | "delayed";
  /** RFC 3463, for example `5.1.1`; empty when there was none. */
  readonly status: string;
  /** What the server that refused it said, in one line; empty when there was none. */
  readonly diagnostic: string;
  /** Message-IDs that it mentions, without angle brackets: only those that we gave, and nobody can guess, count. */
  readonly messageIds: readonly string[];
}

const readOctetsMax = 256 * 1024;
const idsMax = 100;

/**
 * Undefined for other mail. Anybody may have written it, so that it counts only for a Message-ID that is
 * ours; a bounce that does not quote it is passed over, and the timers do its work.
 */
export function readBounce(mail: Buffer): Bounce | undefined {
  const text = mail.toString("latin1", 0, Math.min(mail.length, readOctetsMax));
  const action = /^Action:[ \t]*(failed|delayed)\b/im.exec(text)?.[1]?.toLowerCase();
  if (action !== "failed" && action !== "delayed") return undefined;
  const status = /^Status:[ \t]*([245]\.\d{1,3}\.\d{1,3})\b/im.exec(text)?.[1] ?? "";
  const said = /^Diagnostic-Code:((?:[^\n]|\n[ \t])*)/im.exec(text)?.[1] ?? "";
  const diagnostic = said.replace(/\s+/g, " ").trim();
  const messageIds: string[] = [];
  for (const [, id = ""] of text.matchAll(/<([^<>\s]{1,200})>/g)) {
    if (messageIds.push(id) >= idsMax) break;
  }
  return { kind: action, status, diagnostic, messageIds };
}

/** By its header alone: worth being looked at. */
export const mayBeBounce = (header: Buffer): boolean =>
  /^multipart\/report\b/i.test(headerField(header, "content-type"));
