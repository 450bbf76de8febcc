/** Which queues a message goes to, by what is bound now; and whether its sender may send it there. */
import type { DataFrame } from "../../ebm/index.js";
import { queueMailbox } from "../../mailbox/folders.js";
import type { ProvenSender } from "../ports.js";
import type { Definitions, ExchangeFields, QueueFields } from "./definitions.js";
import type { Destination } from "./flow.js";
import { isPermitted } from "./permissions.js";
import { type Refused, refused, undecided } from "./refused.js";
import { matches } from "./routing.js";

interface RoutesOptions {
  readonly exchanges: Definitions<ExchangeFields>;
  readonly queues: Definitions<QueueFields>;
  /** The ring's first domain. */
  readonly domain: string;
}

export type RoutesOf = (frame: DataFrame) => readonly Destination[];

export class Routes {
  constructor(private readonly options: RoutesOptions) {}

  /** Where each frame goes by what is bound now. Equal addresses are looked up once. */
  async routesOf(
    frames: readonly DataFrame[],
    { user }: ProvenSender,
  ): Promise<Refused | { kind: "routes"; of: RoutesOf }> {
    const byAddress = new Map<string, readonly Destination[]>();
    for (const frame of frames) {
      const address = addressOf(frame);
      if (byAddress.has(address)) continue;
      const found = await this.destinationsOf(frame, user);
      if ("kind" in found) return found;
      byAddress.set(address, found);
    }
    return { kind: "routes", of: (frame) => byAddress.get(addressOf(frame)) ?? [] };
  }

  private async destinationsOf(
    { properties }: DataFrame,
    user: ProvenSender["user"],
  ): Promise<Refused | readonly Destination[]> {
    const { exchange, routingKey = "" } = properties ?? {};
    if (exchange === undefined) return this.directTo(routingKey, user);
    const found = await this.options.exchanges.recall(exchange);
    if (found.kind === "undecided") return undecided(`the exchange ${exchange} can't be read`);
    if (found.kind === "unknown") return refused("unknown", `there is no exchange ${exchange}`);
    const { type, owner, publishers, bindings } = found.value;
    if (!isPermitted(user, owner, publishers)) {
      return refused("forbidden", `${user} may not publish to ${exchange}`);
    }
    const bound = bindings.filter((binding) => matches(type, binding, properties ?? {}));
    const names = new Map(bound.map(({ queue, incarnation }) => [queue, incarnation]));
    const destinations: Destination[] = [];
    for (const [queue, incarnation] of names) {
      const there = await this.options.queues.recall(queue);
      if (there.kind === "undecided") return undecided(`the queue ${queue} can't be read`);
      if (there.kind === "unknown" || there.value.incarnation !== incarnation) continue;
      destinations.push(this.destination(queue, there.value));
    }
    return destinations;
  }

  private async directTo(
    queue: string,
    user: ProvenSender["user"],
  ): Promise<Refused | readonly Destination[]> {
    const found = await this.options.queues.recall(queue);
    if (found.kind === "undecided") return undecided(`the queue ${queue} can't be read`);
    if (found.kind === "unknown") return refused("unknown", `there is no queue ${queue}`);
    const { owner, publishers } = found.value;
    if (isPermitted(user, owner, publishers)) return [this.destination(queue, found.value)];
    return refused("forbidden", `${user} may not publish to the queue ${queue}`);
  }

  private destination(queue: string, { incarnation, exclusive }: QueueFields): Destination {
    return { queue, incarnation, exclusive, mailbox: queueMailbox(queue, this.options.domain) };
  }
}

const addressOf = ({ properties }: DataFrame): string => {
  const { exchange, routingKey, headers } = properties ?? {};
  return JSON.stringify([exchange, routingKey, headers]);
};
