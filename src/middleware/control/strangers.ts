/** How much strangers have done of late, by the network they come from and in all. */
import { clientNetwork } from "../../mailbox/client-network.js";
import type { Clock } from "../../replication/ports.js";
import type { StrangerLimits } from "./limits.js";

interface Count {
  readonly sinceMs: number;
  count: number;
}

const networksMax = 10_000;

export class Strangers {
  /** In the order in which their windows began. */
  private readonly byNetwork = new Map<string, Count>();
  private all: Count = { sinceMs: Number.NEGATIVE_INFINITY, count: 0 };

  constructor(
    private readonly limits: StrangerLimits,
    private readonly clock: Pick<Clock, "monotonicMs">,
  ) {}

  /** Counts one more; false when that is too many. What was refused is not counted. */
  take(address: string): boolean {
    const network = this.countOf(clientNetwork(address));
    const all = this.countOfAll();
    const { perNetwork, inAll } = this.limits;
    if (network.count >= perNetwork || all.count >= inAll) return false;
    network.count += 1;
    all.count += 1;
    return true;
  }

  private isOver({ sinceMs }: Count): boolean {
    return this.clock.monotonicMs() - sinceMs >= this.limits.windowMs;
  }

  private countOfAll(): Count {
    if (this.isOver(this.all)) this.all = { sinceMs: this.clock.monotonicMs(), count: 0 };
    return this.all;
  }

  private countOf(network: string): Count {
    const known = this.byNetwork.get(network);
    if (known && !this.isOver(known)) return known;
    const count = { sinceMs: this.clock.monotonicMs(), count: 0 };
    this.byNetwork.delete(network);
    this.byNetwork.set(network, count);
    for (const oldest of this.byNetwork.keys()) {
      if (this.byNetwork.size <= networksMax) break;
      this.byNetwork.delete(oldest);
    }
    return count;
  }
}
