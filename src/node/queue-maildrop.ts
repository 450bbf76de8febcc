/** A queue as a maildrop: what a consumer is shown is leased to it, DELE and QUIT acknowledge. */
import type { QueueSession, RingBroker } from "../middleware/broker/broker.js";
import { isQueueName } from "../mailbox/folders.js";
import type { Maildrop } from "../pop3/index.js";
import type { MailboxName } from "../shared/ids.js";

export type Queues = Pick<RingBroker, "openQueue" | "worthALook">;

export type QueueLogin =
  | { readonly kind: "open"; readonly maildrop: Maildrop; readonly username: string }
  | { readonly kind: "denied" | "inUse" | "tempfail" };

export async function openQueueMaildrop(
  queues: Queues,
  queue: string,
  user: MailboxName,
): Promise<QueueLogin> {
  if (queue.startsWith("?")) {
    const named = new Set(queue.slice(1).split(",").filter(isQueueName));
    const names = await queues.worthALook([...named], user);
    return { kind: "open", maildrop: maildropOfNames(names), username: `${user}/queue/?` };
  }
  // A consumer knows by the unique-ids what it has: as in any maildrop, all that is not deleted is there.
  const answer = await queues.openQueue(queue, user, undefined, true);
  if (answer.kind !== "open") return answer;
  const username = `${user}/queue/${queue}`;
  return { kind: "open", maildrop: maildropOf(answer.session), username };
}

function maildropOf(session: QueueSession): Maildrop {
  const { entries } = session;
  return {
    messages: entries.map((entry) => ({
      uid: entry.message.id,
      octets: session.octetsOf(entry),
    })),
    retrieve(index, signal) {
      const entry = entries[index];
      if (!entry) throw new Error("no such entry");
      return session.read(entry, signal);
    },
    async commit(removed) {
      const chosen = removed.flatMap((index) => entries[index] ?? []);
      return (await session.acknowledge(chosen))
        ? { kind: "removed" }
        : { kind: "tempfail", why: "the acknowledgements could not be made durable" };
    },
    release: () => session.close(),
  };
}

/**
 * Which of several queues are worth a look, so that a program with many need not open each: a message for each that
 * has something, with the queue's name as its unique-id.
 */
function maildropOfNames(names: readonly string[]): Maildrop {
  const octets = (name: string): Buffer =>
    Buffer.from(`Subject: ${name}\r\n\r\nThis queue is worth a look.\r\n`);
  return {
    messages: names.map((name) => ({ uid: name, octets: octets(name).length })),
    retrieve: (index) => octets(names[index] ?? ""),
    commit: () => Promise.resolve({ kind: "tempfail", why: "open the queue itself" }),
    release: () => undefined,
  };
}
