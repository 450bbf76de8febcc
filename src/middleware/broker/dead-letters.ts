/** What nobody could make anything of: moved to a queue of its own, and back. */
import { isQueueName, queueMailbox } from "../../mailbox/folders.js";
import type { ReplicatedMaildrop } from "../../replication/maildrop.js";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { MailboxName } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import type { StoredMessage } from "../../shared/operation.js";
import type { Definitions, QueueFields } from "./definitions.js";
import type { Durable } from "./durable.js";
import { type DeadFacts, type DeathReason, movedTo, type Target } from "./entry.js";
import { brokerLimits, deadSuffix } from "./limits.js";
import { isPermitted } from "./permissions.js";

interface DeadLettersOptions {
  readonly queues: Definitions<QueueFields>;
  readonly durable: Durable;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly domain: string;
  /** An entry lies in this queue now. */
  readonly onMoved: (queue: string) => void;
  readonly log: Log;
}

type Reader = Pick<ReplicatedMaildrop, "read">;

const readDeadlineMs = 30_000;

export const deadLettersOf = (queue: string, { deadLetters }: QueueFields): string =>
  deadLetters ?? `${queue}${deadSuffix}`;

export class DeadLetters {
  constructor(private readonly options: DeadLettersOptions) {}

  /** True when the entry lies in the queue for dead letters, durably. */
  async bury(
    from: { readonly queue: string; readonly fields: QueueFields },
    message: StoredMessage,
    why: DeathReason,
    reader: Reader,
  ): Promise<boolean> {
    const { queue, fields } = from;
    const target = await this.placeFor(queue, fields);
    if (!target) return false;
    const dead = { queue, incarnation: fields.incarnation, why };
    return this.move(target, message, reader, dead);
  }

  /** The same entry always becomes the same one there, so that a move that broke off is done again. */
  async move(
    target: Target,
    message: StoredMessage,
    reader: Reader,
    dead?: DeadFacts,
  ): Promise<boolean> {
    const { durable, domain } = this.options;
    const body = await this.bodyOf(message, reader);
    const moved = movedTo(target, message, { domain, ...(dead && { dead }) });
    const copies = [{ mailbox: target.mailbox, message: moved }];
    const isMoved = (await durable.deliver(copies, body, message.digest)).kind === "stored";
    if (isMoved) this.options.onMoved(target.queue);
    return isMoved;
  }

  /** A disk that hangs would keep all others that die from being moved. */
  private async bodyOf(message: StoredMessage, reader: Reader): Promise<Buffer> {
    const { clock } = this.options;
    const deadline = new AbortController();
    const end = new AbortController();
    const late = clock.sleep(readDeadlineMs, end.signal).then(
      () => {
        deadline.abort();
        throw new Error(`its body was not read within ${readDeadlineMs} ms`);
      },
      () => Buffer.alloc(0),
    );
    try {
      return await Promise.race([wholeOf(message, reader, deadline.signal), late]);
    } finally {
      end.abort();
    }
  }

  /** Made when it is first needed. Never a queue that somebody else has set up to catch them. */
  private async placeFor(queue: string, fields: QueueFields): Promise<Target | undefined> {
    const { queues, random, log } = this.options;
    const { owner } = fields;
    const name = deadLettersOf(queue, fields);
    if (!isQueueName(name)) return undefined;
    let found = await queues.recall(name);
    if (found.kind === "unknown") {
      const incarnation = random.bytes(9).toString("base64url");
      const made = deadQueueFields(fields, incarnation);
      await queues.change(name, (before) => (before ? { same: true } : { set: made }));
      found = await queues.recall(name);
    }
    if (found.kind !== "found") return undefined;
    const { value } = found;
    const isNamed =
      fields.deadLetters === name && isPermitted(owner, value.owner, value.publishers);
    if (value.owner !== owner && !isNamed) {
      log.warn({ queue, deadLetters: name }, "the queue for dead letters is another user's");
      return undefined;
    }
    return this.targetOf(name, value);
  }

  /** Where dead letters of `owner` go back to. */
  async wayBack(queue: string, owner: MailboxName): Promise<Target | "unknown" | "undecided"> {
    const found = await this.options.queues.read(queue);
    if (found.kind !== "found") return found.kind;
    return found.value.owner === owner ? this.targetOf(queue, found.value) : "unknown";
  }

  private targetOf(queue: string, { incarnation }: QueueFields): Target {
    return { queue, incarnation, mailbox: queueMailbox(queue, this.options.domain) };
  }
}

async function wholeOf(
  message: StoredMessage,
  reader: Reader,
  signal: AbortSignal,
): Promise<Buffer> {
  const read = await reader.read(message, signal);
  const pieces: Buffer[] = [];
  if (Buffer.isBuffer(read)) pieces.push(read);
  // A piece's memory is used again for the next.
  else for await (const piece of read) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces).subarray(Buffer.byteLength(message.trace));
}

function deadQueueFields(of: QueueFields, incarnation: string): QueueFields {
  const { owner, exclusive, consumers, leaseMs } = of;
  return {
    ...{ owner, exclusive, consumers, leaseMs, incarnation },
    publishers: "owner",
    deliveriesMax: brokerLimits.deliveriesOfEntry.standard,
    messagesMax: brokerLimits.messages.standard,
    octetsMax: brokerLimits.octets.standard,
    // Whatever dies has a place to go.
    overflow: "drop-oldest",
    push: false,
    boundTo: [],
  };
}
