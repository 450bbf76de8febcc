/**
 * One mail transaction after the other: RFC 5321 §3.3 and §4.1.4. Knows the rules and the replies;
 * knows nothing of sockets or of the library that reads the commands.
 */
import type { DeliveryAnswer, MailReceiver, RecipientAnswer } from "../mailbox/ports.js";
import { parseAddress } from "../mime/address.js";
import type { Body } from "../shared/body.js";
import type { MailboxName, MessageId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import { unreachable } from "../shared/unreachable.js";
import { parsePathArguments, type PathArguments } from "./command-arguments.js";
import type { SmtpLimits } from "./limits.js";
import { replies, type Reply } from "./replies.js";
import { traceLines, type TraceFacts } from "./trace.js";

export interface TransactionContext {
  readonly receiver: MailReceiver;
  readonly limits: Pick<SmtpLimits, "messageOctetsMax" | "recipientsMax">;
  readonly log: Log;
}

/** What the trace says of the client; the rest comes from the transaction. */
export type ClientFacts = Pick<TraceFacts, "helo" | "clientAddress" | "serverName" | "nodeText"> & {
  readonly extended: boolean;
};

export interface Outcome {
  readonly reply: Reply;
  /** Messages that were stored, whose reply has to be settled with the receiver. */
  readonly ids?: readonly MessageId[];
}

interface Envelope {
  readonly sender: string;
  readonly utf8: boolean;
  /** Of the mail, as MAIL said (RFC 1870). */
  readonly octets: number | undefined;
  /** As given. Several may mean one mailbox, one may mean several. */
  readonly recipients: Set<string>;
  /** One copy each, however often it was named; the copy says the recipient that came first. */
  readonly mailboxes: Map<MailboxName, string>;
}

type Path = Extract<PathArguments, { kind: "path" }>;

export class Transaction {
  readonly #context: TransactionContext;
  #envelope: Envelope | undefined;

  constructor(context: TransactionContext) {
    this.#context = context;
  }

  reset(): void {
    this.#envelope = undefined;
  }

  mail(line: Buffer): Reply {
    const parsed = parsePathArguments(line, "MAIL FROM:");
    if (parsed.kind === "invalid") {
      return parsed.part === "path"
        ? replies.senderSyntax(parsed.why)
        : replies.parameterSyntax(parsed.why);
    }
    if (this.#envelope !== undefined) return replies.sequence("nested MAIL command");
    const refusal = this.#checkParameters(parsed);
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
    this.#envelope = {
      sender: parsed.path,
      utf8,
      octets,
      recipients: new Set(),
      mailboxes: new Map(),
    };
    return replies.senderOk;
  }

  /** RFC 5321 §4.1.1.11: a parameter that was not announced is refused, never ignored. */
  #checkParameters({ parameters }: Path): Reply | undefined {
    const seen = new Set<string>();
    for (const [keyword, value] of parameters) {
      if (seen.has(keyword)) return replies.parameterSyntax(`${keyword} is given twice`);
      seen.add(keyword);
      const refusal = this.#checkParameter(keyword, value);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  #checkParameter(keyword: string, value: string | undefined): Reply | undefined {
    const { messageOctetsMax } = this.#context.limits;
    switch (keyword) {
      case "SIZE": // RFC 1870
        if (value === undefined || !/^\d{1,20}$/.test(value)) {
          return replies.parameterSyntax("SIZE needs a number");
        }
        return Number(value) > messageOctetsMax ? replies.tooLarge(messageOctetsMax) : undefined;
      case "BODY": // RFC 6152
        return value !== undefined && /^(?:7BIT|8BITMIME)$/i.test(value)
          ? undefined
          : replies.parameterSyntax("BODY is 7BIT or 8BITMIME");
      case "SMTPUTF8": // RFC 6531 §3.4
        return value === undefined ? undefined : replies.parameterSyntax("SMTPUTF8 has no value");
      default:
        return replies.parameterUnknown(keyword);
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
    if (envelope.recipients.size >= this.#context.limits.recipientsMax) {
      return replies.tooManyRecipients;
    }
    return this.#resolve(parsed.path, envelope);
  }

  async #resolve(address: string, envelope: Envelope): Promise<Reply> {
    let answer: RecipientAnswer;
    try {
      answer = await this.#context.receiver.resolve(address, { octets: envelope.octets });
    } catch (error) {
      this.#context.log.error({ err: error }, "can't resolve a recipient");
      return replies.undecided;
    }
    switch (answer.kind) {
      case "mailboxes":
        return this.#add(address, answer.mailboxes, envelope);
      case "unknown":
        return replies.unknownUser;
      case "disabled":
        return replies.disabled;
      case "loop":
        return replies.aliasLoop;
      case "overQuota":
        return replies.overQuota;
      case "relay":
        return replies.relay;
      case "invalid":
        return replies.recipientSyntax(answer.why);
      case "undecided":
        return replies.undecided;
      default:
        return unreachable(answer);
    }
  }

  #add(address: string, named: readonly MailboxName[], envelope: Envelope): Reply {
    const { recipients, mailboxes } = envelope;
    const more = named.filter((mailbox) => !mailboxes.has(mailbox));
    // The bound is for copies; an alias alone is taken in any case, it has its own.
    const all = mailboxes.size + more.length;
    if (mailboxes.size > 0 && all > this.#context.limits.recipientsMax) {
      return replies.tooManyRecipients;
    }
    recipients.add(address);
    for (const mailbox of more) mailboxes.set(mailbox, address);
    return replies.recipientOk;
  }

  /** 354, or why not. */
  data(line: Buffer): Reply {
    if (line.length > "DATA".length && line.toString().trim().length > "DATA".length) {
      return replies.parameterSyntax("DATA has no argument");
    }
    const recipients = this.#envelope?.recipients.size ?? 0;
    return recipients === 0 ? replies.sequence("send RCPT first") : replies.startMail;
  }

  /** Hands the mail over and ends the transaction. Never rejects. */
  async deliver(body: Body, client: ClientFacts, receivedAt: Date): Promise<Outcome> {
    const envelope = this.#envelope;
    this.#envelope = undefined;
    if (envelope === undefined) throw new Error("data without an envelope");
    const { mailboxes } = envelope;
    const protocol = envelope.utf8 ? "UTF8SMTP" : client.extended ? "ESMTP" : "SMTP";
    try {
      const answer = await this.#context.receiver.deliver({
        sender: envelope.sender,
        mailboxes: [...mailboxes.keys()],
        body,
        traceFor: (mailbox, id) =>
          traceLines({
            ...client,
            sender: envelope.sender,
            recipient: mailboxes.get(mailbox) ?? mailbox,
            protocol,
            id,
            receivedAt,
          }),
      });
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
