/** Brings a deleted message back, as a new one: deletions win for ever. */
import type { Body } from "../shared/body.js";
import type { MemberUuid, MessageId } from "../shared/ids.js";
import type { StoredMessage } from "../shared/operation.js";
import type { Bodies } from "./bodies.js";
import type { Copy, DeliveryResult } from "./delivery.js";
import type { Groups } from "./group.js";
import type { Recalled } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { Randomness } from "./ports.js";
import type { Puller } from "./pull.js";
import type { Member } from "./roster.js";

interface RestoringOptions {
  readonly self: MemberUuid;
  readonly peers: Peers;
  readonly groups: Groups;
  readonly puller: Puller;
  readonly bodies: Bodies;
  readonly random: Randomness;
  readonly newMessageId: () => MessageId;
  readonly deliver: (copy: Copy, body: Body) => Promise<DeliveryResult>;
}

export type RestoreAnswer =
  | (Copy & { readonly kind: "restored"; readonly durable: number; readonly wanted: number })
  /** It was never deleted, or a message of the same octets and trace is there. */
  | { readonly kind: "there"; readonly id: MessageId }
  | { readonly kind: "gone" }
  | { readonly kind: "failed"; readonly why: string };

const recallDeadlineMs = 20_000;

export class Restoring {
  constructor(private readonly options: RestoringOptions) {}

  /** What a member's disk still knows of the message. @throws PeerUnavailableError */
  async recall(id: MessageId, from: Member): Promise<Recalled | undefined> {
    const options = { deadlineMs: recallDeadlineMs };
    const reply = await this.options.peers.call(from, "recall", { id }, options);
    return reply.kind === "found" ? reply : undefined;
  }

  /** Same octets, same trace, new id; answers when a majority has it on disk. */
  async restore({ mailbox, message }: Recalled, from: Member): Promise<RestoreAnswer> {
    const { bodies, deliver, newMessageId, random, self } = this.options;
    const live = await this.liveIn(mailbox);
    if (!live) return { kind: "failed", why: "no member of the mailbox's group answers" };
    const same = live.find(
      ({ digest, trace }) => digest === message.digest && trace === message.trace,
    );
    if (same) return { kind: "there", id: same.id };
    const body = await bodies.fetch(from, message.digest, message.bodyOctets);
    if (!body) return { kind: "gone" };
    // Not the fingerprint of the deleted one, of which this would look like a retry.
    const fingerprint = random.bytes(18).toString("base64url");
    const restored = { ...message, id: newMessageId(), fingerprint, coordinator: self };
    const result = await deliver({ mailbox, message: restored }, body);
    if (result.kind === "full") return { kind: "failed", why: "the disk is full" };
    if (result.kind === "tempfail") return { kind: "failed", why: result.why };
    const { durable, wanted } = result;
    return { kind: "restored", mailbox, message: restored, durable, wanted };
  }

  /** What any one member of the group has. */
  private async liveIn(
    mailbox: Recalled["mailbox"],
  ): Promise<readonly StoredMessage[] | undefined> {
    const { groups, puller } = this.options;
    for (const member of groups.placementOf(mailbox).everyone) {
      try {
        return (await puller.read(mailbox, member)).messages;
      } catch {
        // The next one may answer.
      }
    }
    return undefined;
  }
}
