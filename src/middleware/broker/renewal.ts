/**
 * An intention some of whose copies come too late: a floor has risen above their ids, since their delivery was
 * held up for long, or came only with a late retry. Those that never were there are intended anew.
 */
import type { Copy } from "../../replication/delivery.js";
import type { Randomness } from "../../replication/ports.js";
import type { Registers } from "../../replication/registers.js";
import type { BodyDigest, MailboxName, MessageId } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import type { Delivered, Durable, Fate } from "./durable.js";
import { type FlowState, type Intention, type PlannedBody, renewed } from "./flow.js";
import { brokerLimits } from "./limits.js";
import { entryId } from "./planning.js";
import { inParallel } from "./durable.js";
import { type Refused, undecided } from "./refused.js";

interface RenewalOptions {
  readonly registers: Pick<Registers, "change">;
  readonly durable: Durable;
  /** The time of a new id, above one of before. */
  readonly idTimeAfter: (ms: number) => number;
  readonly random: Randomness;
  readonly log: Log;
}

export class Renewal {
  constructor(private readonly options: RenewalOptions) {}

  /** Stores copies of one mail: where some can't be any more, each of the others all the same. */
  async deliver(copies: readonly Copy[], bytes: Buffer, digest: BodyDigest): Promise<Delivered> {
    const { durable } = this.options;
    if (copies.length === 0) return { kind: "stored", copies: Infinity, copiesWanted: 0 };
    const together = await durable.deliver(copies, bytes, digest);
    if (together.kind !== "tempfail" || !together.isSunk || copies.length === 1) return together;
    const each = await inParallel(copies, brokerLimits.deliveriesMax, (copy) =>
      durable.deliver([copy], bytes, digest),
    );
    // What else is amiss comes first: only when all the others are there are these begun anew.
    const isAmiss = (result: Delivered): boolean => result.kind !== "stored";
    const isSunk = (result: Delivered): boolean => result.kind === "tempfail" && !!result.isSunk;
    return (
      each.find((result) => isAmiss(result) && !isSunk(result)) ?? each.find(isAmiss) ?? together
    );
  }

  /** Undefined: the intention was begun anew for what was never delivered. */
  async renew(
    register: string,
    intention: Intention,
    alive: ReadonlySet<string>,
  ): Promise<Refused | undefined> {
    const { registers, random, idTimeAfter, log } = this.options;
    const fates = await this.fatesOf(intention, alive);
    const fateOf = (body: PlannedBody, number: number): Fate => {
      const destination = intention.destinations[number];
      // Nobody reads what is put into a queue that is gone.
      if (!destination || !alive.has(destination.mailbox)) return "delivered";
      const id = entryId(intention, body, destination);
      return fates.get(`${destination.mailbox} ${id}`) ?? "unknown";
    };
    const isUnknown = intention.bodies.some((body) =>
      body.to.some((number) => fateOf(body, number) === "unknown"),
    );
    if (isUnknown) return undecided("whether the message was delivered is not known yet");
    log.info({ register }, "messages that could not be delivered in time get new ids");
    const nonce = random.bytes(12).toString("base64url");
    const answer = await registers.change(register, (value) => {
      const state = value as FlowState | null;
      if (state?.last?.nonce !== intention.nonce || state.last.isVoid) return { result: null };
      const idMs = idTimeAfter(state.lastIdMs);
      const isLacking = (body: PlannedBody, number: number) => fateOf(body, number) === "never";
      return {
        set: { value: renewed(state, intention, { nonce, idMs, isLacking }) },
        result: null,
      };
    });
    return answer.kind === "undecided" ? undecided("too few members answer") : undefined;
  }

  private async fatesOf(
    { bodies, destinations, ...intention }: Intention,
    alive: ReadonlySet<string>,
  ): Promise<ReadonlyMap<string, Fate>> {
    const byMailbox = new Map<MailboxName, MessageId[]>();
    for (const body of bodies) {
      for (const number of body.to) {
        const destination = destinations[number];
        if (!destination || !alive.has(destination.mailbox)) continue;
        const ids = byMailbox.get(destination.mailbox) ?? [];
        ids.push(entryId(intention, body, destination));
        byMailbox.set(destination.mailbox, ids);
      }
    }
    const fates = new Map<string, Fate>();
    await inParallel([...byMailbox], brokerLimits.deliveriesMax, async ([mailbox, ids]) => {
      for (const [id, fate] of await this.options.durable.fatesOf(mailbox, ids)) {
        fates.set(`${mailbox} ${id}`, fate);
      }
    });
    return fates;
  }
}
