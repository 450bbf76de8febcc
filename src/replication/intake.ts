/** What others give this member to keep: mails with their bodies, deletions, floors. */
import type { Body } from "../shared/body.js";
import type { MailboxName } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { Operation } from "../shared/operation.js";
import { StoreFailedError, StoreFullError } from "../shared/store-errors.js";
import type { Bodies } from "./bodies.js";
import { deletionOf, type Doubts, removalsOfDeleted, removalsOfRepeated } from "./doubts.js";
import type { Fence } from "./fence.js";
import type { Admitted, Floors } from "./floors.js";
import type { Groups } from "./group.js";
import type { LockTable } from "./locks.js";
import type { Membership } from "./membership.js";
import { timeOf } from "./message-id.js";
import type { Caller, Fenced, ReplicateReply, ReplyOf, RequestOf } from "./peer-methods.js";
import { isInGroup } from "./placement.js";
import type { Store } from "./ports.js";
import type { Repair } from "./repair.js";
import type { Retries, Unsettled } from "./retries.js";
import type { RingClock } from "./ring-clock.js";

export interface IntakeOptions {
  readonly store: Store;
  readonly membership: Membership;
  readonly groups: Groups;
  readonly locks: LockTable;
  readonly retries: Retries;
  readonly doubts: Doubts;
  readonly ringClock: RingClock;
  readonly bodies: Bodies;
  readonly floors: Floors;
  readonly repair: Repair;
  readonly log: Log;
}

/** Floors that come one after the other while an operation waits. */
const judgementsMax = 16;

interface Barred {
  readonly kind: "barred";
  readonly barred: ReturnType<Floors["barred"]>;
}

export class Intake {
  constructor(
    private readonly fence: Fence,
    private readonly options: IntakeOptions,
  ) {}

  async replicate(from: Caller, request: RequestOf<"replicate">): Promise<ReplyOf<"replicate">> {
    const bodies = await this.options.bodies.collect(from, request.bodies, request.blobs ?? []);
    const reply = await this.counted(from, request, bodies);
    if (reply.kind !== "stored") await this.options.bodies.dispose(bodies);
    return reply;
  }

  /** What lies below a barrier waits, and is judged by the floor. */
  private async counted(
    from: Caller,
    request: RequestOf<"replicate">,
    bodies: readonly Body[],
  ): Promise<ReplyOf<"replicate">> {
    const { floors } = this.options;
    let admitted: Admitted = new Map();
    for (let judged = 0; judged < judgementsMax; judged += 1) {
      const reply = await this.written(from, request, { bodies, admitted });
      if (reply.kind !== "barred") return reply;
      const judgement = await floors.judge(reply.barred, request.lock !== undefined);
      if (judgement.kind === "sunk") return judgement;
      // One of another mailbox may have come meanwhile: what was looked at of the first need not be again.
      admitted = new Map([...admitted, ...judgement.admitted]);
    }
    return { kind: "failed" };
  }

  private written(
    from: Caller,
    request: RequestOf<"replicate">,
    { bodies, admitted }: { bodies: readonly Body[]; admitted: Admitted },
  ): Promise<Fenced<ReplicateReply | Barred>> {
    return this.fence.answer(from, request.epoch, async (): Promise<ReplicateReply | Barred> => {
      const { store, locks, floors, log } = this.options;
      const { lock } = request;
      // No turn of the event loop from here to the write.
      const barred = floors.barred(request.operations, admitted);
      if (barred.length > 0) return { kind: "barred", barred };
      if (lock && !locks.holds(lock.mailbox, lock.session)) return { kind: "lockLost" };
      if (lock) this.noteUnsettled(lock.mailbox, request.unsettled ?? []);
      const operations = request.operations.flatMap((operation) => this.prepared(operation));
      try {
        await store.write(operations, bodies);
        await this.options.doubts.written(operations);
        return { kind: "stored" };
      } catch (error) {
        if (error instanceof StoreFullError) return { kind: "full" };
        if (!(error instanceof StoreFailedError)) log.error({ error: String(error) }, "write");
        return { kind: "failed" };
      }
    });
  }

  /** Mails in doubt that are deleted: this member may never have had them, but gets their retries. */
  private noteUnsettled(mailbox: MailboxName, unsettled: readonly Unsettled[]): void {
    for (const each of unsettled) {
      this.options.retries.note(mailbox, each, each.state === "doubtful");
    }
  }

  /** The operation, with what follows from it on this member. */
  private prepared(operation: Operation): readonly Operation[] {
    const { retries, groups, repair, membership } = this.options;
    switch (operation.kind) {
      case "AddMessage": {
        const { mailbox, message } = operation;
        // A retry that comes here next gets a higher id, whatever the clocks show.
        this.options.ringClock.hear(timeOf(message.id));
        if (!isInGroup(groups.placementOf(mailbox), membership.self.uuid)) {
          repair.noteForeignWrite(mailbox);
        }
        const removals = removalsOfRepeated(retries, mailbox, message);
        const wasDeleted = retries.wasDeleted(message);
        retries.note(mailbox, message);
        return [wasDeleted ? deletionOf(mailbox, message) : operation, ...removals];
      }
      case "RemoveMessage": {
        const { mailbox, tombstone } = operation;
        return [operation, ...removalsOfDeleted(retries, mailbox, tombstone)];
      }
      default:
        throw new Error(`${operation.kind} is not replicated`);
    }
  }
}
