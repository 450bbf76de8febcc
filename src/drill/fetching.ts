/** Whole POP3 sessions, as the traffic of a drill has them. */
import { type FetchedMail, Pop3Client, Pop3Refused } from "../client/pop3-client.js";
import { waitUntil } from "./wait.js";

export interface Patience {
  /** Refusals after which to come again. */
  readonly later: RegExp;
  readonly deadlineMs: number;
}

const strict: Patience = { later: /\[IN-USE\]/, deadlineMs: 10_000 };

/**
 * Logs in as soon as nobody else holds the maildrop (RFC 2449 §8.1.1 asks to try again), up to
 * ten seconds. Other refusals are thrown at once.
 */
export async function loginWhenFree(
  addr: string,
  user: string,
  password: string,
  replyDeadlineMs?: number,
  { later, deadlineMs }: Patience = strict,
): Promise<Pop3Client> {
  const client = await waitUntil(
    async () => {
      try {
        return await Pop3Client.login(addr, user, password, replyDeadlineMs);
      } catch (error) {
        // Whoever does not answer is not asked again: there are other members.
        if (!(error instanceof Pop3Refused) || !later.test(error.line)) return { error };
        throw error;
      }
    },
    { deadlineMs, what: `the maildrop of ${user} to be free at ${addr}` },
  );
  if ("error" in client) throw client.error;
  return client;
}

/** A whole session: log in, get everything, QUIT. */
export async function fetchAll(
  addr: string,
  user: string,
  password: string,
  options: { readonly pipelined?: boolean; readonly replyDeadlineMs?: number } = {},
  patience?: Patience,
): Promise<FetchedMail[]> {
  const client = await loginWhenFree(addr, user, password, options.replyDeadlineMs, patience);
  try {
    const mails = await client.all(options);
    await client.quit();
    return mails;
  } finally {
    client.destroy();
  }
}
