import type { FetchedMail, Pop3Client } from "../../src/client/pop3-client.js";
import * as drill from "../../src/drill/fetching.js";

export * from "../../src/client/pop3-client.js";

/**
 * As real clients do when they are told to come again later (RFC 2449 §8.1.1, RFC 3206 §4): a
 * machine that is busy enough lets members miss each other's beats.
 */
const patience: drill.Patience = { later: /\[(?:IN-USE|SYS\/TEMP)\]/, deadlineMs: 60_000 };

/** Logs in, coming again when told to. Other refusals are thrown at once. */
export function loginWhenFree(
  addr: string,
  user: string,
  password: string,
  replyDeadlineMs = 60_000,
): Promise<Pop3Client> {
  return drill.loginWhenFree(addr, user, password, replyDeadlineMs, patience);
}

/** A whole session: log in as above, get everything, QUIT. */
export function fetchAll(
  addr: string,
  user: string,
  password: string,
  options: Parameters<typeof drill.fetchAll>[3] = {},
): Promise<FetchedMail[]> {
  return drill.fetchAll(addr, user, password, { replyDeadlineMs: 60_000, ...options }, patience);
}
