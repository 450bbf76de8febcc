/**
 * The coordinator of a mail: sends it to the group of every recipient in parallel, and answers
 * when each has a majority of durable copies.
 */
import { createHash } from "node:crypto";
import type { Body } from "../shared/body.js";
import type { MailboxName, MemberUuid } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Log } from "../shared/log.js";
import type { Operation, StoredMessage } from "../shared/operation.js";
import type { Groups, RosterView } from "./group.js";
import type { BodyHeader, ReplicateReply } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import { isQuorum, type Placement, standInsFor } from "./placement.js";
import type { Files, Store } from "./ports.js";
import type { Member } from "./roster.js";

/** One recipient's copy. */
export interface Copy {
  readonly mailbox: MailboxName;
  readonly message: StoredMessage;
}

export type DeliveryResult =
  | {
      readonly kind: "stored";
      /** Of the recipient with the fewest: durable copies known when the answer was given. */
      readonly durable: number;
      readonly wanted: number;
    }
  /** `isSunk`: members have a floor above a copy's id (see `Floors`), with which it may never be counted. */
  | { readonly kind: "tempfail"; readonly why: string; readonly isSunk?: boolean }
  | { readonly kind: "full" };

/** What identifies a retry: the same sender, mailbox and octets. */
export function fingerprintOf(sender: string, mailbox: MailboxName, digest: string): string {
  const hash = createHash("sha256").update(`${mailbox}\0${sender}\0${digest}`);
  return hash.digest("base64url").slice(0, 24);
}

interface Recipient {
  readonly copy: Copy;
  readonly placement: Placement;
  readonly epoch: number;
  readonly stored: Set<MemberUuid>;
  /** Durable on a member outside the group, that will hand it over. */
  readonly hinted: Set<MemberUuid>;
  /** Stand-ins that were asked, whether or not they have answered yet. */
  readonly asked: Set<MemberUuid>;
}

interface DeliveryOptions {
  readonly peers: Peers;
  readonly groups: Groups;
  readonly view: RosterView;
  readonly store: Store;
  readonly files: Files;
  readonly log: Log;
  /** Is the member known to be down, so that its copy goes to a stand-in at once? */
  readonly isDown: (member: Member) => boolean;
  /** Ids of this time (milliseconds) are too old to be delivered. */
  readonly onSunk: (ms: number) => void;
}

/** `byGroup`: only copies with the mailbox's group count, and nobody else gets any. */
interface DeliverOptions {
  readonly byGroup?: boolean;
}

type Outcome = ReplicateReply["kind"] | "unanswered" | "stale";

const roundsMax = 4;

export class Coordinator {
  constructor(private readonly options: DeliveryOptions) {}

  /** Takes over the body's spool file, whatever it answers. */
  async deliver(
    copies: readonly Copy[],
    body: Body,
    { byGroup = false }: DeliverOptions = {},
  ): Promise<DeliveryResult> {
    const sends: Promise<void>[] = [];
    try {
      return await this.deliverRounds(copies, { body, byGroup }, sends);
    } finally {
      if (body.kind === "file") void this.removeAfter(sends, body.path);
    }
  }

  /** A quorum is enough for the answer; the other copies still need the file. */
  private async removeAfter(sends: readonly Promise<void>[], path: string): Promise<void> {
    await Promise.allSettled(sends);
    try {
      await this.options.files.remove(path);
    } catch (error) {
      this.options.log.warn({ path, error: String(error) }, "a spool file was not removed");
    }
  }

  private async deliverRounds(
    copies: readonly Copy[],
    what: { readonly body: Body; readonly byGroup: boolean },
    sends: Promise<void>[],
  ): Promise<DeliveryResult> {
    let wanted = copies;
    const safe: Recipient[] = [];
    for (let round = 1; round <= roundsMax; round += 1) {
      const attempt = new Attempt(this.options, wanted, what);
      await attempt.run(sends);
      const missed = attempt.recipients.filter((recipient) => !isSafe(recipient, true));
      safe.push(...attempt.recipients.filter((recipient) => isSafe(recipient, true)));
      if (missed.length === 0) {
        const durable = Math.min(...safe.map(copiesOf));
        const wantedCopies = Math.max(...safe.map(({ placement }) => placement.next.length));
        return { kind: "stored", durable, wanted: wantedCopies };
      }
      if (attempt.metFloor) return { kind: "tempfail", why: describe(missed), isSunk: true };
      if (attempt.localFull) return { kind: "full" };
      // The members changed meanwhile: once more, with the group as it is now.
      if (!attempt.metNewerRoster) return { kind: "tempfail", why: describe(missed) };
      wanted = missed.map((recipient) => recipient.copy);
    }
    return { kind: "tempfail", why: "the members of the ring are changing" };
  }
}

const copiesOf = (recipient: Recipient): number => recipient.stored.size + recipient.hinted.size;

/**
 * Hints count like copies, since each lies on another host and finds its way home. `atLast`: all
 * have answered or are silent, so that in a ring of two one copy may have to do.
 */
function isSafe(recipient: Recipient, atLast: boolean): boolean {
  const { placement, stored, hinted } = recipient;
  if (isQuorum(placement, stored, atLast)) return true;
  if (hinted.size === 0) return false;
  const absent = placement.everyone.filter((member) => !stored.has(member.uuid));
  const covered = new Set([
    ...stored,
    ...absent.slice(0, hinted.size).map((member) => member.uuid),
  ]);
  return isQuorum(placement, covered);
}

function describe(missed: readonly Recipient[]): string {
  const first = missed[0];
  if (!first) return "";
  const need = Math.floor(first.placement.next.length / 2) + 1;
  return `${copiesOf(first)} of at least ${need} copies could be made`;
}

/** One round: every copy to its group, hints where the group is not enough. */
class Attempt {
  readonly recipients: readonly Recipient[];
  metNewerRoster = false;
  metFloor = false;
  localFull = false;

  constructor(
    private readonly options: DeliveryOptions,
    copies: readonly Copy[],
    private readonly what: { readonly body: Body; readonly byGroup: boolean },
  ) {
    const { epoch } = options.view.roster;
    this.recipients = copies.map((copy) => ({
      copy,
      placement: options.groups.placementOf(copy.mailbox),
      epoch,
      stored: new Set(),
      hinted: new Set(),
      asked: new Set(),
    }));
  }

  private get isSafe(): boolean {
    return this.recipients.every((recipient) => isSafe(recipient, false));
  }

  /**
   * Resolves when every recipient is safe, or nothing more can be done. What is still under way
   * then is in `sends`.
   */
  run(sends: Promise<void>[]): Promise<void> {
    const targets = new Map<MemberUuid, { member: Member; recipients: Recipient[] }>();
    for (const recipient of this.recipients) {
      for (const member of recipient.placement.everyone) {
        const target = targets.get(member.uuid) ?? { member, recipients: [] };
        target.recipients.push(recipient);
        targets.set(member.uuid, target);
      }
    }
    return new Promise((resolve) => {
      let outstanding = targets.size;
      const settled = (): void => {
        outstanding -= 1;
        if (this.isSafe || outstanding === 0) resolve();
      };
      for (const { member, recipients } of targets.values()) {
        const send = this.sendOrHint(member, recipients);
        sends.push(send);
        send.then(settled, settled);
      }
      if (targets.size === 0) resolve();
    });
  }

  private async sendOrHint(member: Member, recipients: readonly Recipient[]): Promise<void> {
    const outcome = this.options.isDown(member)
      ? "unanswered"
      : await this.send(member, recipients, (recipient) => recipient.stored);
    if (outcome !== "unanswered" && outcome !== "failed" && outcome !== "full") return;
    if (this.what.byGroup) return;
    await Promise.all(recipients.map((recipient) => this.hint(recipient)));
  }

  /** Leaves the copy of a silent member with the next one that is not in the group. */
  private async hint(recipient: Recipient): Promise<void> {
    for (const member of standInsFor(this.options.view.roster, recipient.placement)) {
      if (recipient.asked.has(member.uuid) || this.options.isDown(member)) continue;
      // Noted before it answers, so that two silent members get two stand-ins.
      recipient.asked.add(member.uuid);
      const outcome = await this.send(member, [recipient], ({ hinted }) => hinted);
      if (outcome === "stored") return;
    }
  }

  private async send(
    member: Member,
    recipients: readonly Recipient[],
    noteIn: (recipient: Recipient) => Set<MemberUuid>,
  ): Promise<Outcome> {
    const { peers, view } = this.options;
    const epoch = recipients[0]?.epoch ?? 0;
    const operations = recipients.map(({ copy }): Operation => ({ kind: "AddMessage", ...copy }));
    try {
      const { header, blobs } = await this.bring(member);
      const request = { epoch, operations, bodies: [header], blobs };
      const reply = await peers.call(member, "replicate", request);
      if (reply.kind === "stale") {
        this.metNewerRoster = true;
        await view.learn(reply.roster);
        return "stale";
      }
      if (reply.kind === "behind") return "unanswered";
      if (reply.kind === "sunk") {
        this.metFloor = true;
        this.options.onSunk(Number.parseInt(reply.below, 16));
      }
      if (reply.kind === "full" && peers.isSelf(member.uuid)) this.localFull = true;
      if (reply.kind === "stored") {
        for (const recipient of recipients) noteIn(recipient).add(member.uuid);
      }
      return reply.kind;
    } catch (error) {
      this.options.log.debug({ member: member.addr, error: String(error) }, "copy not made");
      return "unanswered";
    }
  }

  /** Small bodies go along; large ones are sent ahead in pieces. */
  private async bring(member: Member): Promise<{ header: BodyHeader; blobs: Buffer[] }> {
    const { body } = this.what;
    if (body.kind === "bytes") {
      const header = { digest: body.digest, octets: body.bytes.length };
      return { header, blobs: [body.bytes] };
    }
    const transfer = await sendBodyFile({ ...this.options, member, body });
    return { header: { digest: body.digest, octets: body.octets, transfer }, blobs: [] };
  }
}

interface SendBodyOptions {
  readonly peers: Peers;
  readonly files: Files;
  readonly store: Store;
  readonly member: Member;
  readonly body: Body & { kind: "file" };
}

/** Puts a large body into a member's spool, piece by piece; answers the transfer's name. */
async function sendBodyFile(options: SendBodyOptions): Promise<string> {
  const { peers, files, store, member, body } = options;
  if (peers.isSelf(member.uuid)) {
    const path = store.spoolPath();
    await files.link(body.path, path);
    return path;
  }
  const transfer = store.spoolPath().split("/").at(-1) ?? "";
  const chunk = limits.bodyChunkOctets;
  for (let offset = 0; offset < body.octets; offset += chunk) {
    const blob = await files.read(body.path, offset, chunk);
    const last = offset + blob.length >= body.octets;
    const request = { transfer, offset, last, blobs: [blob] };
    const reply = await peers.call(member, "bodyChunk", request, {
      deadlineMs: limits.peerTransferDeadlineMs,
    });
    if (reply.kind === "failed") throw new Error(reply.why);
  }
  return transfer;
}
