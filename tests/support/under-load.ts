/** A ring that carries mail while something goes wrong, and what has to be true at the end. */
import type { MemberStatus } from "../../src/shared/admin.js";
import { checkBook, MailLoad } from "./load.js";
import { domain, type Ring } from "./ring.js";
import { SmtpClient } from "./smtp-client.js";
import { waitUntil } from "./wait.js";

export const kept = ["kept-a", "kept-b"];
const emptied = ["emptied-a", "emptied-b"];
export const boxes = [...kept, ...emptied];

/** Enough of everything to know that the service goes on. */
export const some = { mails: 20, fetches: 2, deletions: 2 };

/** Adds the accounts, starts clients for them, and waits until all kinds of clients work. */
export async function startLoad(ring: Ring, senders = 3): Promise<MailLoad> {
  await ring.addUsers(boxes);
  const load = new MailLoad(ring, { kept, emptied, senders });
  load.start();
  await load.progress(some, "before anything happened");
  return load;
}

/**
 * Ends the clients and waits for one ring of everybody who runs, with equal copies: nothing
 * acknowledged is lost, doubled or back, and every member serves the same.
 */
export async function checkPromises(ring: Ring, load: MailLoad, copies = 3): Promise<void> {
  await load.stop();
  await ring.settled();
  await connected(ring);
  await ring.copiesEqual(boxes, { copies });
  await checkBook(ring, load.book, boxes);
}

/** Waits until every member reaches every other, by its own account. */
export async function connected(ring: Ring): Promise<void> {
  for (const member of ring.running) {
    await waitUntil(
      async () => {
        const { members } = await ring.status(member);
        return members.length === ring.running.length && members.every(isActive);
      },
      { deadlineMs: 60_000, what: `member ${member.id} to reach all others` },
    );
  }
}

const isActive = ({ state }: MemberStatus): boolean => state === "active";

/** Puts large mails into the kept boxes, so that copying them takes a moment. */
export async function ballast(ring: Ring, mails: number, octets: number): Promise<void> {
  const client = await SmtpClient.connect(ring.entry.smtp);
  const line = `${"x".repeat(76)}\r\n`;
  for (let n = 0; n < mails; n += 1) {
    const mail = Buffer.from(`Subject: ${n}\r\n\r\n${line.repeat(octets / line.length)}`);
    const to = [`${ballastBox}@${domain}`];
    const { reply, stored } = await client.send({ from: "", to }, mail);
    if (!stored) throw new Error(reply.lines.join(" / "));
  }
  await client.quit();
}

/** Not one of `boxes`: its mails are in nobody's book. */
export const ballastBox = "ballast";
