/** A queue as a maildrop: what a consumer is shown is leased to it, DELE and QUIT acknowledge. */
import type { QueueSession, RingBroker } from "../middleware/broker/broker.js";
import type { Maildrop } from "../pop3/index.js";
import type { MailboxName } from "../shared/ids.js";

export type Queues = Pick<RingBroker, "openQueue">;

export type QueueLogin =
  | { readonly kind: "open"; readonly maildrop: Maildrop; readonly username: string }
  | { readonly kind: "denied" | "inUse" | "tempfail" };

export async function openQueueMaildrop(
  queues: Queues,
  queue: string,
  user: MailboxName,
): Promise<QueueLogin> {
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
