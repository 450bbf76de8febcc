/** The mail domain: what the listeners do, said in terms of accounts and messages. */
import { type Copy, fingerprintOf } from "../replication/delivery.js";
import type { OpenAnswer } from "../replication/maildrop.js";
import type { Clock, Store } from "../replication/ports.js";
import type { Replication } from "../replication/replication.js";
import type { BodyDigest, MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { Identity } from "./authentication.js";
import { folderOf, folders } from "./folders.js";
import { envelopeLines, submittedMailbox } from "./outgoing-mail.js";
import type { Delivery, DeliveryAnswer, MailReceiver, RecipientAnswer } from "./ports.js";
import type { Quotas } from "./quotas.js";
import type { Recipients } from "./recipients.js";
import { isSilent, keepSilent } from "./trial.js";

interface MailboxesOptions {
  readonly replication: Replication;
  readonly recipients: Recipients;
  readonly quotas: Quotas;
  readonly store: Store;
  readonly self: MemberUuid;
  /** The ring's first domain. */
  readonly domain: string;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Registers of a user besides the account: the directory's record, contacts, what was read. Not
 * those of packet numbers: what was captured from a former holder stays worthless.
 */
const belongings = ["id", "contacts", "read"] as const;

/** Mails whose client has not told yet that it knows; more than that many connections can't be. */
const unsettledMax = 100_000;

export class Mailboxes implements MailReceiver {
  private readonly unsettled = new Map<MessageId, MailboxName>();
  private readonly stopping = new AbortController();

  constructor(private readonly options: MailboxesOptions) {}

  resolve(
    address: string,
    { octets }: { readonly octets?: number | undefined } = {},
  ): Promise<RecipientAnswer> {
    return this.options.recipients.resolve(address, octets);
  }

  spoolPath(): string {
    return this.options.store.spoolPath();
  }

  async deliver(delivery: Delivery): Promise<DeliveryAnswer> {
    const { replication, quotas, clock } = this.options;
    if (isSilent(delivery.mailboxes)) {
      await replication.discard(delivery.body);
      await keepSilent(clock, this.stopping.signal);
      return { kind: "tempfail", why: "on trial" };
    }
    const copies = this.copiesOf(delivery);
    const room = await quotas.reserve(
      copies.map(({ mailbox, message }) => ({ mailbox, octets: octetsOf(message) })),
    );
    if (!room) {
      await replication.discard(delivery.body);
      return { kind: "overQuota" };
    }
    let isStored = false;
    try {
      const answer = await this.deliverCopies(copies, delivery);
      isStored = answer.kind === "stored";
      return answer;
    } finally {
      room.end(isStored);
    }
  }

  private async deliverCopies(
    copies: readonly Copy[],
    delivery: Delivery,
  ): Promise<DeliveryAnswer> {
    const { replication, log } = this.options;
    const result = await replication.deliver(copies, delivery.body);
    const ids = copies.map(({ message }) => message.id);
    if (result.kind !== "stored") {
      // Nothing was promised; what was stored in part must not stand beside the client's next try.
      replication.withdraw(copies);
      log.warn({ ids, result: result.kind }, "mail not accepted");
      return result;
    }
    for (const { mailbox, message } of copies) this.unsettled.set(message.id, mailbox);
    if (this.unsettled.size > unsettledMax) this.forgetOldest();
    const { durable, wanted } = result;
    log.debug({ ids, durable, wanted }, "mail accepted");
    if (durable < wanted && wanted <= 2) log.warn({ ids }, "stored on one member only: degraded");
    return { kind: "stored", ids, copies: durable, copiesWanted: wanted };
  }

  private copiesOf(delivery: Delivery): Copy[] {
    const { sender, mailboxes, elsewhere = [], traceFor } = delivery;
    const out = submittedMailbox(this.options.domain);
    return [
      ...mailboxes.map((mailbox) =>
        this.copyFor(
          { mailbox, identity: sender, traceFor: (id) => traceFor(mailbox, id) },
          delivery,
        ),
      ),
      ...elsewhere.map((to) => {
        const envelope = envelopeLines({ to, from: sender });
        const trace = (id: MessageId): string => `${envelope}${traceFor(out, id, to)}`;
        // Equal octets to two recipients are two mails.
        return this.copyFor({ mailbox: out, identity: envelope, traceFor: trace }, delivery);
      }),
    ];
  }

  private copyFor({ mailbox, identity, traceFor }: Wanted, { body }: Delivery): Copy {
    const { replication, clock, self } = this.options;
    const id = replication.newMessageId();
    const digest: BodyDigest = body.digest;
    return {
      mailbox,
      message: {
        id,
        digest,
        bodyOctets: body.kind === "bytes" ? body.bytes.length : body.octets,
        trace: traceFor(id),
        receivedAtMs: clock.wallMs(),
        fingerprint: fingerprintOf(identity, mailbox, digest),
        coordinator: self,
        ...(body.hasMessageId && { hasMessageId: true }),
      },
    };
  }

  /** Nobody waits for what will not come. */
  stop(): void {
    this.stopping.abort();
  }

  private forgetOldest(): void {
    for (const id of this.unsettled.keys()) {
      this.unsettled.delete(id);
      return;
    }
  }

  settled(ids: readonly MessageId[], outcome: "confirmed" | "doubtful"): void {
    for (const id of ids) {
      const mailbox = this.unsettled.get(id);
      if (!mailbox) continue;
      this.unsettled.delete(id);
      this.options.replication.settled(mailbox, id, outcome);
    }
  }

  /** Opens the maildrop that a client has proved to be the owner of. */
  async open({ mailbox, folder }: Identity): Promise<OpenAnswer> {
    const { replication, log } = this.options;
    if (folder === "queue") throw new Error("a queue is no folder of an account");
    const name = folderOf(mailbox, folder);
    const opened = await replication.openMaildrop(name);
    if (opened.kind === "tempfail") {
      log.warn({ mailbox: name, why: opened.why }, "maildrop not opened");
    }
    return opened;
  }

  /**
   * Deletes all mail of an account that was removed, of all its folders, and what the ring keeps for
   * its programs, so that nobody who gets the name later reads it. False when that could not be
   * done now.
   */
  async purge(mailbox: MailboxName): Promise<boolean> {
    const purged = await Promise.all([
      ...folders.map((each) => this.empty(folderOf(mailbox, each))),
      ...belongings.map((kind) => this.clear(`${kind}:${mailbox}`)),
    ]);
    return purged.every(Boolean);
  }

  private async clear(register: string): Promise<boolean> {
    const { registers } = this.options.replication;
    const answer = await registers.read(register);
    if (answer.kind === "absent" || (answer.kind === "value" && answer.value === null)) return true;
    const change = await registers.change(register, () => ({
      set: { value: null },
      result: null,
    }));
    await this.options.replication.announceChanged(register);
    return change.kind === "changed";
  }

  private async empty(mailbox: MailboxName): Promise<boolean> {
    const opened = await this.options.replication.openMaildrop(mailbox);
    if (opened.kind !== "open") return false;
    const { maildrop } = opened;
    try {
      return maildrop.messages.length === 0 || (await maildrop.remove(maildrop.messages));
    } finally {
      maildrop.release();
    }
  }
}

interface Wanted {
  readonly mailbox: MailboxName;
  /** With the mailbox and the octets, what tells a mail that comes again from another one. */
  readonly identity: string;
  readonly traceFor: (id: MessageId) => string;
}

/** As it is read: trace and body. */
function octetsOf({ trace, bodyOctets }: Copy["message"]): number {
  return Buffer.byteLength(trace) + bodyOctets;
}
