/**
 * One mail transaction after the other: RFC 5321 §3.3 and §4.1.4. Knows the rules and the replies;
 * knows nothing of sockets or of the library that reads the commands.
 */
import type { Identity, SenderAnswer, Senders } from "../mailbox/authentication.js";
import { folderOf } from "../mailbox/folders.js";
import type {
  DeliveryAnswer,
  MailReceiver,
  RecipientAnswer,
  RingReceiver,
  WayOut,
} from "../mailbox/ports.js";
import { parseAddress } from "../mime/address.js";
import type { Body } from "../shared/body.js";
import type { MessageId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import { unreachable } from "../shared/unreachable.js";
import { parsePathArguments } from "./command-arguments.js";
import { addMailboxes, addRing, emptyEnvelope, type Envelope } from "./envelope.js";
import type { SmtpLimits } from "./limits.js";
import { refusedParameter } from "./mail-parameters.js";
import { replies, type Reply } from "./replies.js";
import { type AddedFields, protocolOf, traceLines, type TraceFacts } from "./trace.js";

export interface TransactionContext {
  readonly receiver: MailReceiver;
  /** For mail to the ring itself; without it there is no such recipient. */
  readonly ring?: RingReceiver | undefined;
  readonly limits: Pick<SmtpLimits, "messageOctetsMax" | "recipientsMax">;
  readonly log: Log;
  /**
   * Present where users hand in their mail (RFC 6409): who is nobody, or sends as somebody else,
   * is refused, and the sender's outbox gets a copy.
   */
  readonly senders?: Senders | undefined;
  /** Where users' mail may leave the ring. Never used for who has not authenticated. */
  readonly wayOut?: WayOut | undefined;
}

/** What the trace says of the client; the rest comes from the transaction. */
export type ClientFacts = Pick<
  TraceFacts,
  "helo" | "clientAddress" | "serverName" | "nodeText" | "tls"
> & {
  readonly extended: boolean;
};

export interface Outcome {
  readonly reply: Reply;
  /** Messages that were stored, whose reply has to be settled with the receiver. */
  readonly ids?: readonly MessageId[];
}

export class Transaction {
  readonly #context: TransactionContext;
  #envelope: Envelope | undefined;
  /** Replaced whenever an answer that is still out has lost its meaning. */
  #turn = {};

  constructor(context: TransactionContext) {
    this.#context = context;
  }

  get active(): boolean {
    return this.#envelope !== undefined;
  }

  /** Some of the mail is for other domains. */
  get leavesRing(): boolean {
    return (this.#envelope?.elsewhere.size ?? 0) > 0;
  }

  get isForRing(): boolean {
    return this.#envelope?.ring !== undefined;
  }

  reset(): void {
    this.#envelope = undefined;
    this.abandon();
  }

  /** The client was told something else: an answer that is still out changes nothing any more. */
  abandon(): void {
    this.#turn = {};
  }

  /** A reply at once, or a promise of one that never rejects. `user` is who has authenticated. */
  mail(line: Buffer, user?: Identity): Reply | Promise<Reply> {
    const { senders } = this.#context;
    if (senders !== undefined && user === undefined) return replies.authenticationRequired;
    const parsed = parsePathArguments(line, "MAIL FROM:");
    if (parsed.kind === "invalid") {
      return parsed.part === "path"
        ? replies.senderSyntax(parsed.why)
        : replies.parameterSyntax(parsed.why);
    }
    if (this.#envelope !== undefined) return replies.sequence("nested MAIL command");
    const { messageOctetsMax } = this.#context.limits;
    const isSubmission = senders !== undefined;
    const refusal = refusedParameter(parsed.parameters, { messageOctetsMax, isSubmission });
    if (refusal !== undefined) return refusal;
    const utf8 = parsed.parameters.some(([keyword]) => keyword === "SMTPUTF8");
    if (parsed.utf8 && !utf8) return replies.needsUtf8;
    if (parsed.path !== "") {
      const address = parseAddress(parsed.path);
      if (address.kind === "invalid") return replies.senderSyntax(address.why);
      if (address.domain === "") return replies.senderSyntax("domain is missing");
    }
    const size = parsed.parameters.find(([keyword]) => keyword === "SIZE")?.[1];
    const octets = size === undefined ? undefined : Number(size);
    const envelope = emptyEnvelope({ sender: parsed.path, utf8, user, octets });
    // RFC 8098 §3: a user's notice of having read a mail comes from the null sender.
    if (senders !== undefined && user !== undefined && parsed.path !== "") {
      return this.#checkSender(senders, user, envelope);
    }
    this.#envelope = envelope;
    return replies.senderOk;
  }

  async #checkSender(senders: Senders, user: Identity, envelope: Envelope): Promise<Reply> {
    const turn = this.#turn;
    let answer: SenderAnswer;
    try {
      answer = await senders.maySend(user, envelope.sender);
    } catch (error) {
      this.#context.log.error({ err: error }, "can't check a sender");
      return replies.undecided;
    }
    switch (answer) {
      case "allowed":
        if (this.#turn === turn) this.#envelope = envelope;
        return replies.senderOk;
      case "refused":
        return replies.senderNotYours;
      case "undecided":
        return replies.undecided;
      default:
        return unreachable(answer);
    }
  }

  /** A reply at once, or a promise of one that never rejects. */
  rcpt(line: Buffer): Reply | Promise<Reply> {
    const parsed = parsePathArguments(line, "RCPT TO:");
    if (parsed.kind === "invalid") {
      return parsed.part === "path"
        ? replies.recipientSyntax(parsed.why)
        : replies.parameterSyntax(parsed.why);
    }
    if (parsed.path === "") return replies.recipientSyntax("local part is empty");
    const envelope = this.#envelope;
    if (envelope === undefined) return replies.sequence("send MAIL first");
    const [parameter] = parsed.parameters;
    if (parameter !== undefined) return replies.parameterUnknown(parameter[0]);
    if (parsed.utf8 && !envelope.utf8) return replies.needsUtf8;
    const address = parseAddress(parsed.path);
    if (address.kind === "invalid") return replies.recipientSyntax(address.why);
    if (envelope.recipients.has(parsed.path)) return replies.recipientOk;
    if (envelope.ring !== undefined) return replies.ringAlone;
    if (envelope.recipients.size >= this.#context.limits.recipientsMax) {
      return replies.tooManyRecipients;
    }
    return this.#resolve(parsed.path, envelope);
  }

  async #resolve(address: string, envelope: Envelope): Promise<Reply> {
    const turn = this.#turn;
    let answer: RecipientAnswer;
    try {
      answer = await this.#context.receiver.resolve(address, { octets: envelope.octets });
    } catch (error) {
      this.#context.log.error({ err: error }, "can't resolve a recipient");
      return replies.undecided;
    }
    switch (answer.kind) {
      case "mailboxes":
        // The transaction may have ended meanwhile, when this took too long.
        if (this.#turn !== turn) return replies.recipientOk;
        return addMailboxes(envelope, address, answer.mailboxes, this.#context.limits);
      case "ring":
        if (this.#context.ring === undefined) return replies.unknownUser;
        if (this.#turn !== turn) return replies.recipientOk;
        return addRing(envelope, address, answer.part);
      case "unknown":
        return replies.unknownUser;
      case "disabled":
        return replies.disabled;
      case "loop":
        return replies.aliasLoop;
      case "overQuota":
        return replies.overQuota;
      case "relay":
        return await this.#leave(address, envelope, turn);
      case "invalid":
        return replies.recipientSyntax(answer.why);
      case "undecided":
        return replies.undecided;
      default:
        return unreachable(answer);
    }
  }

  /** RFC 6409 §3.1: who has authenticated may send to anybody, where there is a way. Others never. */
  async #leave(address: string, envelope: Envelope, turn: object): Promise<Reply> {
    const { senders, wayOut } = this.#context;
    const { user, octets = 0, recipients, elsewhere } = envelope;
    if (!senders || !user) return replies.relay;
    if (!wayOut) return replies.wayOutClosed;
    // What stands in the network behind the smart host is not for users to choose.
    if (address.endsWith("]")) return replies.addressLiteral;
    const answer = await wayOut.ask(user.mailbox, octets);
    switch (answer) {
      case "open":
        if (this.#turn !== turn) return replies.recipientOk;
        recipients.add(address);
        elsewhere.add(address);
        return replies.recipientOk;
      case "throttled":
        return replies.tooMuchSent;
      case "full":
        return replies.outgoingFull;
      case "undecided":
        return replies.undecided;
      default:
        return unreachable(answer);
    }
  }

  /** 354, or why not. */
  data(line: Buffer): Reply {
    if (line.length > "DATA".length && line.toString().trim().length > "DATA".length) {
      return replies.parameterSyntax("DATA has no argument");
    }
    const recipients = this.#envelope?.recipients.size ?? 0;
    return recipients === 0 ? replies.sequence("send RCPT first") : replies.startMail;
  }

  /**
   * Hands the mail over and ends the transaction. Never rejects.
   * @param added fields that are put in front of the header as it came
   */
  async deliver(
    body: Body,
    client: ClientFacts,
    receivedAt: Date,
    added?: AddedFields,
  ): Promise<Outcome> {
    const envelope = this.#envelope;
    this.#envelope = undefined;
    if (envelope === undefined) throw new Error("data without an envelope");
    const { sender, utf8, user, mailboxes, ring, elsewhere } = envelope;
    const [secure, authenticated] = [client.tls !== undefined, user !== undefined];
    const protocol = protocolOf({ extended: client.extended, utf8, secure, authenticated });
    const facts = { ...client, sender, protocol, added, receivedAt };
    const outbox = this.#context.senders && user ? [folderOf(user.mailbox, "outbox")] : [];
    try {
      if (ring && this.#context.ring) {
        const reply = await this.#context.ring.take({
          ...{ part: ring.part, sender, body, user: user?.mailbox },
          clientAddress: client.clientAddress,
          traceFor: (_, id) => traceLines({ ...facts, recipient: ring.address, id }),
        });
        return { reply };
      }
      const answer = await this.#context.receiver.deliver({
        sender,
        mailboxes: [...mailboxes.keys(), ...outbox],
        elsewhere: [...elsewhere],
        body,
        traceFor: (mailbox, id, to) =>
          to === undefined
            ? traceLines({ ...facts, recipient: mailboxes.get(mailbox), id })
            : traceLines({ ...facts, recipient: to, id, leavesRing: true }),
      });
      if (answer.kind === "stored" && elsewhere.size > 0) this.#context.wayOut?.added();
      return outcomeOf(answer);
    } catch (error) {
      this.#context.log.error({ err: error }, "can't deliver a mail");
      return { reply: replies.tempfail("can't store it now, try again later") };
    }
  }
}

function outcomeOf(answer: DeliveryAnswer): Outcome {
  switch (answer.kind) {
    case "stored": {
      const { ids, copies, copiesWanted } = answer;
      return { reply: replies.stored(ids[0] ?? "", copies, copiesWanted), ids };
    }
    case "tempfail":
      return { reply: replies.tempfail(answer.why) };
    case "full":
      return { reply: replies.full };
    case "overQuota":
      return { reply: replies.overQuota };
    default:
      return unreachable(answer);
  }
}
