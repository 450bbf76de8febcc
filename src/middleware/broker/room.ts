/** How much more a queue takes. */
import type { DataFrame } from "../../ebm/index.js";
import type { Quotas, Reservation } from "../../mailbox/quotas.js";
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

/** Octets of the trace, the packet's header and the mail around it; about. */
const overheadOctets = 1_500;

export class Room {
  constructor(private readonly options: RoomOptions) {}

  /**
   * Room for what will be stored, about: how large the mails are is known when they are sealed. For the first
   * frames only, where there is none for all: a packet may hold more than a queue ever does.
   */
  async reserve(
    frames: readonly DataFrame[],
    routesOf: RoutesOf,
  ): Promise<(Reservation & { readonly frames: number }) | Full> {
    for (let count = frames.length; ; count >>= 1) {
      const reserved = await this.reserveAll(frames.slice(0, count), routesOf);
      if (!("full" in reserved)) return { end: reserved.end, frames: count };
      if (count <= 1) return reserved;
      if (count < frames.length) continue;
      // Mostly there is room for nothing: that is to be known at once.
      const first = await this.reserveAll(frames.slice(0, 1), routesOf);
      if ("full" in first) return first;
      first.end(false);
    }
  }

  private async reserveAll(
    frames: readonly DataFrame[],
    routesOf: RoutesOf,
  ): Promise<Reservation | Full> {
    const { queues, quotas } = this.options;
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
      const found = await queues.recall(to.queue);
      if (found.kind !== "found") continue;
      // One that drops its oldest takes more, for the moment until its leader has done so.
      const factor = dropsOldest(found.value) ? brokerLimits.overflowFactor : 1;
      const { messagesMax, octetsMax } = found.value;
      const quota = { messages: messagesMax * factor, octets: octetsMax * factor };
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
