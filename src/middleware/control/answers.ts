/** What the ring says to users: signed with its key, to where they answer now. */
import { createHash } from "node:crypto";
import {
  composeMail,
  connectionId,
  type Frame,
  type PacketType,
  sealPacket,
} from "../../ebm/index.js";
import type { Domains } from "../../mailbox/domains.js";
import { folderOf } from "../../mailbox/folders.js";
import type { Mailboxes } from "../../mailbox/mailboxes.js";
import type { Quotas } from "../../mailbox/quotas.js";
import type { RingKeys } from "../../mailbox/ring-keys.js";
import { addressDomain } from "../../mime/address.js";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { Replication } from "../../replication/replication.js";
import type { BodyDigest, MailboxName } from "../../shared/ids.js";
import type { StoredMessage } from "../../shared/operation.js";
import { OutgoingError } from "../outgoing.js";
import type { Addressee, Answers, Outgoing } from "../ports.js";
import { controlLimits } from "./limits.js";

/** An answer that could not be made durable. `message` is one line. */
export class AnswerError extends Error {
  override readonly name = "AnswerError";
  constructor(
    readonly code: "full" | "undecided" | "forbidden",
    message: string,
  ) {
    super(message);
  }
}

interface AnswersOptions {
  readonly mailboxes: Pick<Mailboxes, "deliver" | "settled">;
  readonly openMaildrop: Replication["openMaildrop"];
  readonly quotas: Pick<Quotas, "check" | "usageOf">;
  readonly domains: Pick<Domains, "serves" | "first">;
  readonly keys: Pick<RingKeys, "current">;
  readonly outgoing: Outgoing | undefined;
  /** `ring@ring.test`. */
  readonly ring: string;
  readonly clock: Pick<Clock, "wallMs">;
  readonly random: Randomness;
}

/** Where mail to an address goes. */
export type Whereabouts = "here" | "elsewhere" | "undecided";

/** Waiting in a maildrop elsewhere included; then nobody waits for it any more. */
const expiresMs = 24 * 3_600_000;
/** Answers of others that a login finds and that are worth a look whether they are old. */
const sweepFrom = 50;

export class RingAnswers implements Answers {
  constructor(private readonly options: AnswersOptions) {}

  async whereIs(address: string): Promise<Whereabouts> {
    const { domains } = this.options;
    const where = addressDomain(address, domains.first);
    if (where.kind === "invalid" || where.domain === undefined) return "elsewhere";
    const served = await domains.serves(where.domain);
    if (served === "undecided") return "undecided";
    return served === "yes" ? "here" : "elsewhere";
  }

  /** True when mail can be sent out of the ring. */
  get reachesElsewhere(): boolean {
    return this.options.outgoing !== undefined;
  }

  /** @throws AnswerError */
  async send(to: Addressee, frames: readonly Frame[]): Promise<void> {
    const where = await this.whereIs(to.address);
    if (where === "undecided") throw undecidedError();
    if (where === "here" && to.queue !== undefined) {
      throw new AnswerError("forbidden", "its owner has an account here and fetches it");
    }
    const octets = await this.compose(to, frames);
    if (where === "here") return this.deliver(to.user as MailboxName, octets);
    const { outgoing } = this.options;
    if (!outgoing) {
      throw new AnswerError("forbidden", "this ring sends no mail to other mail systems");
    }
    await outgoing.send({ to: to.address, octets }).catch((error: unknown) => {
      throw error instanceof OutgoingError ? notSent(error) : error;
    });
  }

  /** Best effort, where somebody begins anew: answers that nobody fetched for an hour. */
  async dropOld(user: MailboxName): Promise<void> {
    const config = folderOf(user, "config");
    const usage = await this.options.quotas.usageOf(config);
    if (usage && usage.messages >= sweepFrom) await this.sweep(config, Number.POSITIVE_INFINITY);
  }

  private async compose(
    { user, address, queue }: Addressee,
    frames: readonly Frame[],
  ): Promise<Buffer> {
    const { keys, ring, clock, random } = this.options;
    const [key] = (await keys.current())?.keys ?? [];
    if (!key) throw undecidedError();
    const from = { user: ring, device: key.kid, epoch: 0 };
    const reader = queue === undefined ? user : `queue:${queue}`;
    const connection = connectionId(from, reader);
    const nowMs = clock.wallMs();
    const header = { connection, packet: 0, from, to: reader, expiresAtMs: nowMs + expiresMs };
    return composeMail({
      ...{ from: ring, to: address },
      index: { connection, packet: 0, type: typeOf(frames) },
      messageId: `${random.bytes(18).toString("base64url")}@${ring.slice(ring.indexOf("@") + 1)}`,
      date: new Date(nowMs),
      packet: sealPacket({ header, frames, privateKey: key.privateKey }),
    });
  }

  private async deliver(user: MailboxName, bytes: Buffer): Promise<void> {
    const { mailboxes } = this.options;
    const config = folderOf(user, "config");
    await this.makeRoom(config, bytes.length);
    const digest = createHash("sha256").update(bytes).digest("hex") as BodyDigest;
    const answer = await mailboxes.deliver({
      sender: "",
      mailboxes: [config],
      body: { kind: "bytes", digest, bytes, hasMessageId: true },
      traceFor: () => "Return-Path: <>\r\n",
    });
    if (answer.kind === "overQuota") throw fullError();
    if (answer.kind !== "stored") throw undecidedError();
    // No client is told of this mail and sends it again.
    mailboxes.settled(answer.ids, "confirmed");
  }

  /** @throws AnswerError when there is none, and none can be made now */
  private async makeRoom(config: MailboxName, octets: number): Promise<void> {
    const { quotas } = this.options;
    const quota = { messages: controlLimits.answersMax };
    const room = await quotas.check(config, quota, octets);
    if (room === "undecided") throw undecidedError();
    if (room === "fits") return;
    await this.sweep(config, controlLimits.answersKept);
    if ((await quotas.check(config, quota, octets)) === "full") throw fullError();
  }

  /**
   * Drops answers that are an hour old, and the oldest until no more than `keep` are left. Not while a
   * client has the maildrop open: it is reading them.
   */
  private async sweep(config: MailboxName, keep: number): Promise<void> {
    const opened = await this.options.openMaildrop(config);
    if (opened.kind !== "open") return;
    const { maildrop } = opened;
    try {
      const oldMs = this.options.clock.wallMs() - controlLimits.answerMs;
      const over = maildrop.messages.length - keep;
      const isOver = ({ receivedAtMs }: StoredMessage, index: number): boolean =>
        index < over || receivedAtMs < oldMs;
      const gone = maildrop.messages.filter(isOver);
      if (gone.length > 0) await maildrop.remove(gone);
    } finally {
      maildrop.release();
    }
  }
}

const undecidedError = (): AnswerError =>
  new AnswerError("undecided", "too few members answer, try again later");
const fullError = (): AnswerError =>
  new AnswerError("full", "too many answers wait to be fetched; fetch them");

const notSent = ({ code, message }: OutgoingError): AnswerError =>
  new AnswerError(code === "full" || code === "undecided" ? code : "forbidden", message);

function typeOf([first]: readonly Frame[]): PacketType {
  if (first?.kind === "data") return "data";
  return first?.kind === "configuration" ? "configuration" : "acknowledgement";
}
