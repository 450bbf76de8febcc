/** What clients do while members die: each probe tries until it succeeds and answers how long. */
import { setTimeout as sleep } from "node:timers/promises";
import { Pop3Client } from "../tests/support/pop3-client.js";
import { domain, password } from "../tests/support/ring.js";
import { SmtpClient } from "../tests/support/smtp-client.js";

const giveUpMs = 20_000;
const replyDeadlineMs = 10_000;

/** Milliseconds from `beganMs` until `attempt` has succeeded, tried again and again. */
async function untilDone(beganMs: number, attempt: () => Promise<void>): Promise<number> {
  for (let last: unknown; ; ) {
    try {
      await attempt();
      return performance.now() - beganMs;
    } catch (error) {
      last = error;
    }
    if (performance.now() - beganMs > giveUpMs) throw new Error("no success", { cause: last });
    await sleep(5);
  }
}

/** Connects, logs in, asks for the size of the maildrop; the QUIT is not counted. */
export function login(pop3: string, user: string, beganMs = performance.now()): Promise<number> {
  let ended: Promise<void> = Promise.resolve();
  const done = untilDone(beganMs, async () => {
    const client = await Pop3Client.login(pop3, user, password, replyDeadlineMs);
    try {
      await client.stat();
    } catch (error) {
      client.destroy();
      throw error;
    }
    ended = client.quit().catch(() => client.destroy());
  });
  // The next login at another member must not meet this one's lock.
  return done.then(async (ms) => {
    await ended;
    return ms;
  });
}

let mails = 0;

export function mailOf(octets: number): Buffer {
  mails += 1;
  const head = `Subject: ${mails}\r\n\r\n`;
  const line = `${"x".repeat(76)}\r\n`;
  return Buffer.from(head + line.repeat(Math.ceil(octets / line.length)));
}

/** Connects and sends one mail; until its 250. */
export function send(smtp: string, user: string, octets = 4_096): Promise<number> {
  const mail = mailOf(octets);
  const envelope = { from: "bench@example.org", to: [`${user}@${domain}`] };
  return untilDone(performance.now(), async () => {
    const client = await SmtpClient.connect(smtp, { deadlineMs: replyDeadlineMs });
    try {
      const result = await client.send(envelope, mail);
      if (!result.stored) throw new Error(result.reply.lines.join());
      await client.quit();
    } finally {
      client.destroy();
    }
  });
}

/** One RETR in a session that is open; a refusal is tried again. */
export function retrieve(client: Pop3Client, number: number): Promise<number> {
  return untilDone(performance.now(), async () => {
    await client.retr(number);
  });
}
