/**
 * The ring's own addresses: what comes to them is worked off before it is answered, by whichever
 * node took it, so the reply says what became of it. What is not understood is kept for the operator.
 */
import type { ConfigurationAnswer, Frame, Packet, PacketHeader, Settled } from "../../ebm/index.js";
import type { RingMail, RingReceiver, RingReply } from "../../mailbox/ports.js";
import type { Clock, Files } from "../../replication/ports.js";
import { limits } from "../../shared/limits.js";
import type { Log } from "../../shared/log.js";
import type {
  Broker,
  BrokerOperation,
  OperationHandler,
  OperationOutcome,
  ProvenSender,
  PublishOutcome,
} from "../ports.js";
import { AnswerError, type RingAnswers } from "./answers.js";
import type { KeptMail } from "./kept-mail.js";
import { controlLimits } from "./limits.js";
import type { createOperations } from "./operations.js";
import type { Proofs } from "./proof.js";
import { type Question, questionIn, readPacket, type ReadQuestion } from "./reading.js";
import { refusalReply, refuse, type Refusal, undecided } from "./refusal.js";
import { Room } from "./room.js";
import type { SignUp } from "./sign-up.js";
import type { Strangers } from "./strangers.js";
import { Watch, type Watched } from "./watch.js";

export interface ControlOptions {
  readonly proofs: Proofs;
  readonly signUp: SignUp;
  readonly operations: ReturnType<typeof createOperations>;
  readonly broker: Broker;
  readonly answers: RingAnswers;
  readonly kept: KeptMail;
  readonly unproven: Strangers;
  /** Counts answers by the address they go to, where that is elsewhere. */
  readonly elsewhere: Strangers;
  readonly files: Pick<Files, "read" | "remove">;
  readonly clock: Clock;
  readonly log: Log;
}

/** Where a user answers. */
interface Addressee {
  readonly user: string;
  readonly address: string;
}

/** What a question led to; `to` when somebody has proved to have put it. */
type Outcome = (OperationOutcome<never> | ConfigurationAnswer) & { readonly to?: Addressee };

const busy = refuse("throttled", "too many mails at once, try again later");
const ok = (text: string): RingReply => ({ code: 250, status: "2.0.0", text });

export class Control implements RingReceiver {
  private readonly room = new Room(controlLimits.workingOctetsMax, controlLimits.waitingMax);

  private readonly watch: Watch;

  constructor(private readonly options: ControlOptions) {
    this.watch = new Watch(options);
  }

  async take(mail: RingMail): Promise<RingReply> {
    const watched: Watched = { part: mail.part, client: mail.clientAddress };
    this.watch.begin(watched);
    const reply = await this.replyTo(mail, watched);
    this.watch.end(watched, reply);
    return reply;
  }

  /** Never rejects. */
  private async replyTo(mail: RingMail, watched: Watched): Promise<RingReply> {
    const { body, clientAddress: client } = mail;
    try {
      const octets = body.kind === "bytes" ? body.bytes.length : body.octets;
      const max = octetsMax(mail);
      if (octets > max) {
        this.options.log.info({ client, octets }, "a mail to the ring is too large");
        const text = `ebm=malformed such a mail has at most ${max} octets`;
        return { code: 552, status: "5.3.4", text };
      }
      const reply = await this.room.hold(octets, () => this.takeNow(mail, watched));
      return reply ?? refusalReply(busy);
    } catch (error) {
      this.options.log.error({ err: error, client }, "a mail to the ring could not be worked off");
      return refusalReply(undecided());
    } finally {
      // What is kept is kept from memory.
      if (body.kind === "file") await this.remove(body.path);
    }
  }

  private async takeNow(mail: RingMail, watched: Watched): Promise<RingReply> {
    const { files, clock } = this.options;
    const { body, part } = mail;
    const octets = body.kind === "bytes" ? body.bytes : await files.read(body.path, 0, body.octets);
    const read = readPacket(octets, clock.wallMs());
    if (read.kind === "notUnderstood") return this.keep(mail, octets, read.why);
    if (read.kind === "refused") return this.refusedStranger(mail, refuse("denied", read.why));
    const { packet, from } = read.packet.header;
    Object.assign(watched, { user: from.user, device: from.device, packet });
    const wrong = this.options.proofs.checkHeader(read.packet.header, part === "control");
    if (wrong) return this.refusedStranger(mail, wrong, read.packet.header);
    if (part === "broker") return this.publish(mail, read.packet);
    const asked = questionIn(read.packet);
    if (asked.kind === "notUnderstood") return this.keep(mail, octets, asked.why);
    if (asked.kind === "question") watched.operation = asked.question.operation;
    return this.question(mail, read.packet, asked);
  }

  private async keep(mail: RingMail, bytes: Buffer, why: string): Promise<RingReply> {
    const { kept, log } = this.options;
    if (!this.mayTry(mail)) return refusalReply(busy);
    if (bytes.length > limits.inlineBodyOctetsMax) {
      return this.refused(mail, refuse("malformed", `too large to be kept: ${why}`));
    }
    const { digest, hasMessageId = false } = mail.body;
    const body = { kind: "bytes", digest, bytes, hasMessageId } as const;
    const reply = await kept.keep({ ...mail, body }, why);
    log.info({ client: mail.clientAddress, why, reply: reply.text }, "a mail to the ring was kept");
    return reply;
  }

  // ---- Questions

  private async question(
    mail: RingMail,
    { header }: Packet,
    asked: Exclude<ReadQuestion, { kind: "notUnderstood" }>,
  ): Promise<RingReply> {
    if (asked.kind === "malformed") {
      return this.refused(mail, refuse("malformed", asked.why), header);
    }
    const { question } = asked;
    const outcome = await this.outcomeOf(question, mail, header);
    const { to } = outcome;
    if (!outcome.ok) {
      if (to) await this.tellElsewhere(to, mail, answerFrames(question.id, outcome));
      return this.refused(mail, outcome, header, { operation: question.operation });
    }
    const unsent = to && (await this.tell(to, question, answerFrames(question.id, outcome)));
    if (unsent) return refusalReply(unsent);
    const { done } = outcome.answer as Settled;
    if (done?.includes(false) !== true) return ok(`ebm=ok id=${question.id}`);
    this.options.log.info(
      { user: header.from.user, device: header.from.device, done },
      "not all settlements of a mail were done",
    );
    return ok(`ebm=partly id=${question.id} done=${done.map(Number).join("")}`);
  }

  private async outcomeOf(
    question: Question,
    mail: RingMail,
    header: PacketHeader,
  ): Promise<Outcome> {
    const { operation, ask } = question;
    if (operation === "register" || operation === "login") {
      if (!this.mayTry(mail)) return busy;
      const from = { header, clientAddress: mail.clientAddress };
      const { signUp } = this.options;
      const done =
        operation === "register" ? await signUp.register(ask, from) : await signUp.login(ask, from);
      if (!done.ok) return done;
      const { record, answer } = done;
      return { ok: true, answer, to: { user: record.user, address: record.addresses[0] ?? "" } };
    }
    const proof = await this.options.proofs.sender(header);
    if (!proof.ok) return this.mayTry(mail) ? proof : busy;
    const { sender, entry } = proof;
    // Settling twice is settling once, so that consumers are spared a round of agreement.
    const seen =
      operation === "settle" ? undefined : await this.options.proofs.noteNumber(sender, header);
    if (seen) return seen;
    const to = { user: sender.user, address: entry.record.addresses[0] ?? "" };
    return { ...(await this.run(question, sender, header)), to };
  }

  private async run(
    { operation, ask }: Question,
    sender: ProvenSender,
    header: PacketHeader,
  ): Promise<ConfigurationAnswer> {
    const { operations, broker } = this.options;
    // The name says which question it is; the compiler can't follow that through the table.
    const run = Object.hasOwn(operations, operation)
      ? operations[operation as keyof typeof operations]
      : broker.operations[operation as BrokerOperation];
    return (run as OwnHandler)(ask as never, sender, header);
  }

  // ---- Data for the broker

  private async publish(mail: RingMail, packet: Packet): Promise<RingReply> {
    const { proofs, broker, log } = this.options;
    const { header } = packet;
    const proof = await proofs.sender(header);
    if (!proof.ok) return this.refusedStranger(mail, proof, header);
    const { sender, entry } = proof;
    const outcome = await broker.publish(packet, sender);
    const to = { user: sender.user, address: entry.record.addresses[0] ?? "" };
    await this.tellElsewhere(to, mail, [publishFrame(header, outcome)]);
    switch (outcome.kind) {
      case "taken": {
        const { routed, copies, copiesWanted } = outcome;
        const stored = `stored=${copies}/${copiesWanted}`;
        return ok(`ebm=taken n=${header.packet} routed=${routed} ${stored}`);
      }
      case "early": {
        const expected = Object.entries(outcome.expected).map(
          ([stream, next]) => `${stream}:${next}`,
        );
        return { code: 451, status: "4.3.0", text: `ebm=early ${expected.join(" ")}` };
      }
      case "refused": {
        const { code, why } = outcome;
        log.info({ user: sender.user, code, why }, "a publication was refused");
        return refusalReply(refuse(code, why));
      }
    }
  }

  // ---- Answers

  private async tell(
    to: Addressee,
    { operation }: Question,
    frames: readonly Frame[],
  ): Promise<Refusal | undefined> {
    const where = await this.options.answers.whereIs(to.address);
    if (where === "elsewhere") return this.sendElsewhere(to, frames);
    // Consumers settle all the time, and the reply has said all that there is to say.
    if (where === "here" && operation === "settle") return undefined;
    return this.send(to, frames);
  }

  /** Our reply to a mail that came through others' servers is read by these, not by the user. */
  private async tellElsewhere(
    to: Addressee,
    { user }: RingMail,
    frames: readonly Frame[],
  ): Promise<void> {
    if (user !== undefined) return;
    if ((await this.options.answers.whereIs(to.address)) !== "elsewhere") return;
    await this.sendElsewhere(to, frames);
  }

  private async sendElsewhere(
    to: Addressee,
    frames: readonly Frame[],
  ): Promise<Refusal | undefined> {
    return this.options.elsewhere.take(to.address) ? this.send(to, frames) : busy;
  }

  /** Why the answer could not be sent, if so. */
  private async send(to: Addressee, frames: readonly Frame[]): Promise<Refusal | undefined> {
    try {
      await this.options.answers.send(to, frames);
      return undefined;
    } catch (error) {
      if (error instanceof AnswerError) return refuse(error.code, error.message);
      this.options.log.warn({ error: String(error), user: to.user }, "an answer was not sent");
      return undecided();
    }
  }

  /** Of somebody who has proved nothing; beyond the limit it is not even logged. */
  private refusedStranger(mail: RingMail, refusal: Refusal, header?: PacketHeader): RingReply {
    return this.mayTry(mail) ? this.refused(mail, refusal, header) : refusalReply(busy);
  }

  private refused(
    mail: RingMail,
    refusal: Refusal,
    header?: PacketHeader,
    more: object = {},
  ): RingReply {
    const { log } = this.options;
    const { clientAddress: client, sender, part } = mail;
    const from = header && { user: header.from.user, device: header.from.device };
    const { code, why } = refusal;
    log.info(
      { part, client, sender, ...from, ...more, code, why },
      "a mail to the ring was refused",
    );
    return refusalReply(refusal);
  }

  /** Who hands mail in with a password is known already. */
  private mayTry({ user, clientAddress }: RingMail): boolean {
    return user !== undefined || this.options.unproven.take(clientAddress);
  }

  private async remove(path: string): Promise<void> {
    try {
      await this.options.files.remove(path);
    } catch (error) {
      this.options.log.warn({ path, error: String(error) }, "a spool file was not removed");
    }
  }
}

type OwnHandler = (
  ...args: [...Parameters<OperationHandler<never>>, PacketHeader]
) => Promise<ConfigurationAnswer>;

function octetsMax({ part, user }: RingMail): number {
  if (part === "broker") {
    const { brokerOctetsMax, strangerBrokerOctetsMax } = controlLimits;
    return user === undefined ? strangerBrokerOctetsMax : brokerOctetsMax;
  }
  return user === undefined ? controlLimits.strangerOctetsMax : controlLimits.userOctetsMax;
}

function answerFrames(id: string, outcome: Outcome): readonly Frame[] {
  const { to: _to, ...body } = outcome;
  return [{ kind: "configuration", id, body }];
}

function publishFrame({ connection, packet }: PacketHeader, outcome: PublishOutcome): Frame {
  switch (outcome.kind) {
    case "taken":
      return {
        ...{ kind: "ack", connection, cumulative: 0, ranges: [[packet, packet]] },
        ...{ windowOctets: controlLimits.brokerOctetsMax, pollMs: 0, consumed: {} },
      };
    case "early":
      return { kind: "nack", connection, packet, why: "early", expected: outcome.expected };
    case "refused":
      return {
        kind: "nack",
        connection,
        packet,
        why: `${outcome.code} ${outcome.why}`.slice(0, 256),
      };
  }
}
