import { sendMail as sendOnce, type Envelope } from "../../src/drill/smtp-client.js";
import { waitUntil } from "./wait.js";

export * from "../../src/drill/smtp-client.js";

/**
 * As `sendMail` of the drill; a mail that is answered with 4xx is sent again for a minute, as mail
 * servers do (RFC 5321 §4.5.4.1): nothing of it was kept.
 */
export async function sendMail(addr: string, envelope: Envelope, mail: Buffer): Promise<string> {
  const sent = await waitUntil(
    async () => {
      try {
        return await sendOnce(addr, envelope, mail);
      } catch (error) {
        if (!/^\w+: 4\d\d /.test(String((error as Error).message))) return { error };
        throw error;
      }
    },
    { deadlineMs: 60_000, what: `${addr} to take a mail`, everyMs: 200 },
  );
  if (typeof sent !== "string") throw sent.error;
  return sent;
}
