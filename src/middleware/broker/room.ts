/** How much more a queue takes. */
import type { DataFrame } from "../../ebm/index.js";
import type { Amount, Quotas, Reservation } from "../../mailbox/quotas.js";
import type { Definitions, QueueFields } from "./definitions.js";
import type { Destination } from "./flow.js";
import { brokerLimits } from "./limits.js";
import { dropsOldest } from "./overflow.js";
import type { RoutesOf } from "./routes.js";

interface RoomOptions {
  readonly queues: Definitions<QueueFields>;
  readonly quotas: Pick<Quotas, "check" | "reserve">;
}

interface Full {
  /** Names of queues. */
  readonly full: string;
}

const unbounded: Amount = { messages: Infinity, octets: Infinity };

/** Octets of the trace, the packet's header and the mail around it; about. */
const overheadOctets = 1_500;

export class Room {
  constructor(private readonly options: RoomOptions) {}

  /**
   * Room for what will be stored, about: how large the mails are is known when they are sealed. For the first
   * frames only, where all would never fit or hardly ever: a packet may hold more than a queue does.
   */
  async reserve(
    frames: readonly DataFrame[],
    routesOf: RoutesOf,
  ): Promise<(Reservation & { readonly frames: number }) | Full> {
    const count = await this.fitting(frames, routesOf);
    const reserved = await this.reserveAll(frames.slice(0, count), routesOf);
    return "full" in reserved ? reserved : { end: reserved.end, frames: count };
  }

  /** How many frames together take up half of a queue at most; at least one. */
  private async fitting(frames: readonly DataFrame[], routesOf: RoutesOf): Promise<number> {
    const left = new Map<Destination["mailbox"], { messages: number; octets: number }>();
    for (const [index, frame] of frames.entries()) {
      for (const to of routesOf(frame)) {
        const own = left.get(to.mailbox) ?? (await this.halfOf(to));
        left.set(to.mailbox, own);
        own.octets -= frame.octets.length + overheadOctets;
        if (!to.exclusive) own.messages -= 1;
        if (index > 0 && (own.messages < 0 || own.octets < 0)) return index;
      }
    }
    return frames.length;
  }

  private async halfOf(to: Destination): Promise<{ messages: number; octets: number }> {
    const { messages, octets } = (await this.quotaOf(to)) ?? unbounded;
    return { messages: messages / 2, octets: octets / 2 };
  }

  private async quotaOf({ queue }: Destination): Promise<Amount | undefined> {
    const found = await this.options.queues.recall(queue);
    if (found.kind !== "found") return undefined;
    // One that drops its oldest takes more, for the moment until its leader has done so.
    const factor = dropsOldest(found.value) ? brokerLimits.overflowFactor : 1;
    const { messagesMax, octetsMax } = found.value;
    return { messages: messagesMax * factor, octets: octetsMax * factor };
  }

  private async reserveAll(
    frames: readonly DataFrame[],
    routesOf: RoutesOf,
  ): Promise<Reservation | Full> {
    const { quotas } = this.options;
    // Of an exclusive queue, all that comes together is one entry.
    const wanted = new Map<Destination["mailbox"], { to: Destination; entries: number[] }>();
    for (const frame of frames) {
      for (const to of routesOf(frame)) {
        const entries: number[] = wanted.get(to.mailbox)?.entries ?? [];
        const octets = frame.octets.length + overheadOctets;
        if (to.exclusive && entries.length > 0) entries[0] = (entries[0] ?? 0) + octets;
        else entries.push(octets);
        wanted.set(to.mailbox, { to, entries });
      }
    }
    for (const { to, entries } of wanted.values()) {
      const quota = await this.quotaOf(to);
      if (!quota) continue;
      const check = await quotas.check(to.mailbox, quota, entries[0] ?? 0);
      if (check === "full") return { full: to.queue };
    }
    const reserved = await quotas.reserve(
      [...wanted].flatMap(([mailbox, { entries }]) =>
        entries.map((octets) => ({ mailbox, octets })),
      ),
    );
    return reserved ?? { full: [...wanted.values()].map(({ to }) => to.queue).join(", ") };
  }
}
