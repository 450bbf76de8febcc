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

/** Octets of the trace, the packet's header and the mail around it; about. */
const overheadOctets = 1_500;

export class Room {
  constructor(private readonly options: RoomOptions) {}

  /** Room for what will be stored, about: how large the mails are is known when they are sealed. */
  async reserve(
    frames: readonly DataFrame[],
    routesOf: RoutesOf,
  ): Promise<Reservation | { readonly full: string }> {
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
