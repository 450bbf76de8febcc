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
   * begins with the same message anew, cut otherwise, its copies are made void and it is
   * forgotten: should somebody have consumed one, they know the message by its origin. The same when it is so old that
   * nobody carries it out any more: its sender, whom nobody told that it was taken, comes with other streams first, and
   * with these again later. (Whoever does carry it out judges again after that, and begins anew.)
   */
  async makeSure(
    register: string,
    intention: Intention,
    restarts: boolean,
  ): Promise<"delivered" | "void" | Refused> {
    const { durable, clock, registers, log } = this.options;
    const byMailbox = await this.idsOf(intention);
    const known = await inParallel([...byMailbox], brokerLimits.deliveriesMax, ([mailbox, ids]) =>
      durable.isKnown(mailbox, ids),
    );
    if (known.every((answer) => answer === "yes")) {
      return "delivered";
    }
    const ageMs = clock.wallMs() - intention.takenAtMs;
    const isOver = restarts || ageMs > brokerLimits.abandonedMs;
    if (known.includes("undecided") || !isOver) {
      return undecided("whether the messages before these are stored is not known yet");
    }
    log.warn({ register }, "an intention that was not carried out is made void");
    for (const [mailbox, ids] of byMailbox) {
      if (!(await durable.void(mailbox, ids, clock.wallMs()))) {
        return undecided("too few members answer");
      }
    }
    const answer = await registers.change(register, (value) => {
      const state = value as FlowState | null;
      if (state?.last?.nonce !== intention.nonce) return { result: null };
      return { set: { value: withoutLast(state) }, result: null };
    });
    return answer.kind === "undecided" ? undecided("too few members answer") : "void";
  }

  private async idsOf(
    intention: Intention,
  ): Promise<ReadonlyMap<Destination["mailbox"], readonly MessageId[]>> {
    const alive = await this.aliveOf(intention);
    const byMailbox = new Map<Destination["mailbox"], MessageId[]>();
    for (const body of intention.bodies) {
      for (const number of body.to) {
        const destination = intention.destinations[number];
        if (!destination || !alive.has(destination.mailbox)) continue;
        const ids = byMailbox.get(destination.mailbox) ?? [];
        ids.push(entryId(intention, body, destination));
        byMailbox.set(destination.mailbox, ids);
      }
    }
    return byMailbox;
  }
}
