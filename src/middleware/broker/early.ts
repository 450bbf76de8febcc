/**
 * Packets that came before those in front of them. A device may have several on their way, each on a
 * connection of its own, so that a short one overtakes a long one: it waits here for a while instead of being
 * sent away.
 */
import type { Clock } from "../../replication/ports.js";
import { brokerLimits } from "./limits.js";

type Wake = (hasGoneOn: boolean) => void;

export class Early {
  private readonly waiting = new Map<string, Set<Wake>>();
  /** Of the messages in all that wait. */
  private octets = 0;

  constructor(private readonly clock: Pick<Clock, "monotonicMs" | "sleep">) {}

  /**
   * True as soon as another packet of the flow is taken. False when there is no use in waiting: one was
   * refused, the time is over, or too much waits already.
   */
  async wait(flow: string, octets: number, untilMs: number): Promise<boolean> {
    const { earlyMax, earlyOctetsMax } = brokerLimits;
    const line = this.waiting.get(flow) ?? new Set();
    const leftMs = untilMs - this.clock.monotonicMs();
    const isTooMuch = line.size >= earlyMax || this.octets + octets > earlyOctetsMax;
    if (leftMs <= 0 || isTooMuch) return false;
    this.waiting.set(flow, line);
    this.octets += octets;
    const over = new AbortController();
    let wake: Wake = () => undefined;
    const woken = new Promise<boolean>((resolve) => {
      wake = resolve;
      line.add(wake);
    });
    const late = this.clock.sleep(leftMs, over.signal).then(
      () => false,
      () => false,
    );
    const hasGoneOn = await Promise.race([woken, late]);
    over.abort();
    this.octets -= octets;
    line.delete(wake);
    if (line.size === 0 && this.waiting.get(flow) === line) this.waiting.delete(flow);
    return hasGoneOn;
  }

  /** A packet of the flow has got its answer. */
  settled(flow: string, isTaken: boolean): void {
    for (const wake of this.waiting.get(flow) ?? []) wake(isTaken);
  }
}
