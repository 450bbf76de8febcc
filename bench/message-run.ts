/** One measurement of a broker: messages from one publisher to all subscribers, a window at a time. */
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";

export const messageOctets = 1_024;

/** Its first octets are its number; the rest of each is another, so that nothing compresses. */
export function messageOf(n: number): Buffer {
  const octets = randomBytes(messageOctets);
  octets.writeUInt32BE(n, 0);
  return octets;
}

export interface RunResult {
  /** Published and consumed by all subscribers. */
  readonly perSecond: number;
  /** From the call to the consumer, every subscriber's copy. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly messages: number;
}

/** Gathers what subscribers get, until all have all. */
export class MessageRun {
  private readonly publishedAtMs: number[] = [];
  private readonly latenciesMs: number[] = [];
  private readonly done: Promise<void>;
  private finish: () => void = () => undefined;
  private beganMs = 0;

  constructor(
    private readonly messages: number,
    private readonly subscribers: number,
  ) {
    this.done = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  /** Publishes all, `inFlight` unconfirmed at a time. `publish` resolves when it is confirmed. */
  async publish(inFlight: number, publish: (n: number) => Promise<void>): Promise<void> {
    this.beganMs = performance.now();
    let next = 0;
    const work = async (): Promise<void> => {
      for (let n = next++; n < this.messages; n = next++) {
        this.publishedAtMs[n] = performance.now();
        await publish(n);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, work));
  }

  /** A subscriber has a message. */
  note(octets: Uint8Array): void {
    const n = Buffer.from(octets.buffer, octets.byteOffset, 4).readUInt32BE(0);
    this.latenciesMs.push(performance.now() - (this.publishedAtMs[n] ?? 0));
    if (this.latenciesMs.length === this.messages * this.subscribers) this.finish();
  }

  async result(deadlineMs: number): Promise<RunResult> {
    const timer = setTimeout(() => this.finish(), deadlineMs);
    await this.done;
    clearTimeout(timer);
    const got = this.latenciesMs.length;
    const wanted = this.messages * this.subscribers;
    if (got < wanted) throw new Error(`only ${got} of ${wanted} were consumed`);
    const seconds = (performance.now() - this.beganMs) / 1_000;
    const sorted = this.latenciesMs.sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
    const { messages } = this;
    return { perSecond: messages / seconds, p50Ms: at(0.5), p99Ms: at(0.99), messages };
  }
}
