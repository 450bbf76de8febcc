import { type FetchedMail, Pop3Client, Pop3Refused } from "../../src/client/pop3-client.js";
import { waitUntil } from "./wait.js";

export * from "../../src/client/pop3-client.js";

/** RFC 2449 §8.1.1, RFC 3206 §4: what a client is told to try again later. */
const later = /\[(?:IN-USE|SYS\/TEMP)\]/;

/**
 * Logs in, and does as real clients when it is told to come again later: a machine that is busy
 * enough lets members miss each other's beats. Other refusals are thrown at once.
 */
export async function loginWhenFree(
  addr: string,
  user: string,
  password: string,
  replyDeadlineMs = 60_000,
): Promise<Pop3Client> {
  const client = await waitUntil(
    async () => {
      try {
        return await Pop3Client.login(addr, user, password, replyDeadlineMs);
      } catch (error) {
        if (!(error instanceof Pop3Refused) || !later.test(error.line)) return { error };
        throw error;
      }
    },
    { deadlineMs: 60_000, what: `the maildrop of ${user} to be open at ${addr}` },
  );
  if ("error" in client) throw client.error;
  return client;
}

/** A whole session: log in as above, get everything, QUIT. */
export async function fetchAll(
  addr: string,
  user: string,
  password: string,
  options: { readonly pipelined?: boolean; readonly replyDeadlineMs?: number } = {},
): Promise<FetchedMail[]> {
  const client = await loginWhenFree(addr, user, password, options.replyDeadlineMs);
  try {
    const mails = await client.all(options);
    await client.quit();
    return mails;
  } finally {
    client.destroy();
  }
}
