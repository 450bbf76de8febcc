/** What became of an intention of which this node does not know that it was delivered. */
import type { Clock } from "../../replication/ports.js";
import type { Registers } from "../../replication/registers.js";
import type { MessageId } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import type { Definitions, QueueFields } from "./definitions.js";
import { type Durable, inParallel } from "./durable.js";
import { type Destination, type FlowState, type Intention, withoutLast } from "./flow.js";
import { brokerLimits } from "./limits.js";
import { entryId } from "./planning.js";
import { type Refused, undecided } from "./refused.js";

interface DoubtsOptions {
  readonly registers: Pick<Registers, "change">;
  readonly queues: Definitions<QueueFields>;
  readonly durable: Durable;
  readonly clock: Clock;
  readonly log: Log;
}

export class Doubts {
  constructor(private readonly options: DoubtsOptions) {}

  /** Mailboxes of queues that are still there: of others nobody reads what is put into them. */
  async aliveOf({ destinations }: Intention): Promise<ReadonlySet<string>> {
    const alive = new Set<string>();
    for (const { queue, incarnation, mailbox } of destinations) {
      const found = await this.options.queues.recall(queue);
      const isGone =
        found.kind === "unknown" ||
        (found.kind === "found" && found.value.incarnation !== incarnation);
      if (!isGone) alive.add(mailbox);
    }
    return alive;
  }

  /**
   * Another node may have delivered the intention. If so, one goes on from there. If not, and its sender
   * begins with the same message anew, cut otherwise, it is marked as void, its copies are deleted, and it is
   * forgotten: should somebody have consumed one, they know the message by its origin. The same when it is so old that
   * nobody carries it out any more: its sender, whom nobody told that it was taken, comes with other streams first, and
   * with these again later. (Whoever does carry it out judges again after that, and begins anew.)
   */
  async makeSure(
    register: string,
    intention: Intention,
    restarts: boolean,
  ): Promise<"delivered" | "void" | Refused> {
    const { durable, clock, log } = this.options;
    const byMailbox = await this.idsOf(intention);
    // Once that has begun, what is known of copies may be their deletion.
    if (intention.isVoid !== true) {
      const known = await inParallel([...byMailbox], brokerLimits.deliveriesMax, ([mailbox, ids]) =>
        durable.isKnown(mailbox, ids),
      );
      if (known.every((answer) => answer === "yes")) return "delivered";
      const ageMs = clock.wallMs() - intention.takenAtMs;
      const isOver = restarts || ageMs > brokerLimits.abandonedMs;
      if (known.includes("undecided") || !isOver) {
        return undecided("whether the messages before these are stored is not known yet");
      }
      log.warn({ register }, "an intention that was not carried out is made void");
      const marked = await this.change(register, intention, (state) => ({
        ...state,
        last: { ...intention, isVoid: true },
      }));
      if (marked === "undecided") return undecided("too few members answer");
      // Somebody knows that it was delivered, or has begun it anew.
      if (marked === "other") return "void";
    }
    for (const [mailbox, ids] of await this.idsOf(intention, intention.former)) {
      if (!(await durable.void(mailbox, ids, clock.wallMs()))) {
        return undecided("too few members answer");
      }
    }
    const forgotten = await this.change(register, intention, withoutLast);
    return forgotten === "undecided" ? undecided("too few members answer") : "void";
  }

  /** `other`: the intention is not the last one any more. */
  private async change(
    register: string,
    { nonce }: Intention,
    to: (state: FlowState) => FlowState,
  ): Promise<"done" | "other" | "undecided"> {
    const answer = await this.options.registers.change<"done" | "other">(register, (value) => {
      const state = value as FlowState | null;
      if (state?.last?.nonce !== nonce) return { result: "other" };
      return { set: { value: to(state) }, result: "done" };
    });
    return answer.kind === "undecided" ? "undecided" : answer.result;
  }

  /** Of its copies, and of those that it once had. */
  private async idsOf(
    intention: Intention,
    former: Intention["former"] = [],
  ): Promise<ReadonlyMap<Destination["mailbox"], readonly MessageId[]>> {
    const alive = await this.aliveOf(intention);
    const byMailbox = new Map<Destination["mailbox"], MessageId[]>();
    for (const each of [intention, ...former.map((one) => ({ ...intention, ...one }))]) {
      for (const body of each.bodies) {
        for (const number of body.to) {
          const destination = each.destinations[number];
          if (!destination || !alive.has(destination.mailbox)) continue;
          const ids = byMailbox.get(destination.mailbox) ?? [];
          ids.push(entryId(each, body, destination));
          byMailbox.set(destination.mailbox, ids);
        }
      }
    }
    return byMailbox;
  }
}
