/**
 * What outlives the leader of a queue of whom it handed what to: how often an entry came back, so that
 * one that kills its consumers becomes a dead letter however often leaders die, and whether anything was
 * handed out at all. A register of the queue. It is written once for a leadership, and then only when
 * entries come back, after a while and for all of them together: never for a delivery that is acknowledged.
 */
import type { Clock, Randomness } from "../../replication/ports.js";
import type { Registers } from "../../replication/registers.js";
import type { MessageId } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import { brokerLimits } from "./limits.js";

export interface DeliveryCountsOptions {
  readonly registers: Pick<Registers, "read" | "change">;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly log: Log;
}

type Counts = readonly (readonly [MessageId, number])[];

/** As it lies in the register. */
interface Kept {
  readonly incarnation: string;
  /** Names a leadership: a former leader changes nothing. */
  readonly leader: string;
  /** It hands out entries, and what it has handed out is not all here. */
  readonly open: boolean;
  readonly counts: Counts;
}

/** What a new leader knows of former deliveries. */
export interface FormerDeliveries {
  readonly counts: ReadonlyMap<MessageId, number>;
  /** A former leader died: each entry may have been handed out. */
  readonly uncertain: boolean;
}

/** A leader's own part of it. */
export class DeliveryCounts {
  readonly former: FormerDeliveries;
  private readonly register: string;
  private readonly leader: string;
  private opening: Promise<void> | undefined;
  private savedVersion = 0;
  private savedAtMs = Number.NEGATIVE_INFINITY;
  private saving: Promise<void> | undefined;

  private constructor(
    private readonly options: DeliveryCountsOptions,
    private readonly queue: { readonly name: string; readonly incarnation: string },
    kept: Kept | null,
  ) {
    this.register = registerOf(queue.name);
    this.leader = options.random.bytes(9).toString("base64url");
    const own = kept?.incarnation === queue.incarnation ? kept : undefined;
    this.former = { counts: new Map(own?.counts), uncertain: own?.open === true };
  }

  /** Undefined when too few members answer. */
  static async load(
    options: DeliveryCountsOptions,
    queue: { readonly name: string; readonly incarnation: string },
  ): Promise<DeliveryCounts | undefined> {
    const read = await options.registers.read(registerOf(queue.name), { alone: true });
    if (read.kind === "undecided") return undefined;
    const kept = read.kind === "value" ? (read.value as Kept | null) : null;
    return new DeliveryCounts(options, queue, kept);
  }

  /**
   * Before anything is handed out it is noted that it may have been. A ring of two of which one is silent
   * can't note anything, and goes on without.
   */
  async open(): Promise<void> {
    this.opening ??= this.note();
    const { clock } = this.options;
    const end = new AbortController();
    const late = clock.sleep(brokerLimits.countsNotedMs, end.signal).catch(() => undefined);
    await Promise.race([this.opening, late]);
    end.abort();
  }

  private async note(): Promise<void> {
    const { incarnation } = this.queue;
    const counts = [...this.former.counts];
    await this.write(() => ({ incarnation, leader: this.leader, open: true, counts }));
  }

  /** Notes what has come back, if that is due. `version`: changes when something has. */
  keep(version: number, countsOf: () => Counts): void {
    const nowMs = this.options.clock.monotonicMs();
    const isDue = nowMs - this.savedAtMs >= brokerLimits.countsEveryMs;
    if (version === this.savedVersion || !isDue || this.saving || !this.opening) return;
    this.savedAtMs = nowMs;
    this.savedVersion = version;
    this.saving = this.save(countsOf(), true).finally(() => {
      this.saving = undefined;
    });
  }

  /**
   * The leader gives the queue up, and nobody has anything of it. `isCertain`: what it says is all
   * that there is to know. Never rejects.
   */
  async close(counts: Counts, isCertain: boolean): Promise<void> {
    if (!this.opening) return;
    await this.opening;
    await this.saving;
    await this.save(counts, !isCertain || counts.length > brokerLimits.countsMax);
  }

  private async save(counts: Counts, open: boolean): Promise<void> {
    const { incarnation } = this.queue;
    const most = [...counts].sort(([, a], [, b]) => b - a).slice(0, brokerLimits.countsMax);
    await this.write((before) =>
      before?.leader === this.leader
        ? { incarnation, leader: this.leader, open, counts: most }
        : undefined,
    );
  }

  private async write(make: (before: Kept | null) => Kept | undefined): Promise<void> {
    const { registers, log } = this.options;
    try {
      await registers.change(this.register, (value) => {
        const made = make(value as Kept | null);
        return { ...(made && { set: { value: made } }), result: null };
      });
    } catch (error) {
      log.debug({ queue: this.queue.name, error: String(error) }, "deliveries were not noted");
    }
  }
}

const registerOf = (queue: string): string => `deliveries:${queue}`;
