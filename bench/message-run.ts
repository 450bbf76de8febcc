/** One measurement of a broker: what the publisher's process does, and what the consumers' one gathers. */
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";

export const messageOctets = 1_024;

/** Milliseconds by the clock that all processes of a machine share. */
const nowMs = (): number => performance.timeOrigin + performance.now();

/** More than any window of a compressor sees; drawing each message anew costs a part of sending it. */
const random = randomBytes(16 * 1024 * 1024);
let drawn = 0;

/** Random, so that nothing compresses; the time of its publishing in front. */
function messageOf(): Buffer {
  const at = drawn % (random.length - messageOctets);
  // Odd, so that the next round has other messages.
  drawn += messageOctets + 1;
  const octets = Buffer.from(random.subarray(at, at + messageOctets));
  octets.writeDoubleBE(nowMs(), 0);
  return octets;
}

/** Publishes all, `inFlight` unconfirmed at a time; `publish` resolves when it is confirmed. Answers when it began. */
export async function publishAll(
  { messages, inFlight }: { readonly messages: number; readonly inFlight: number },
  publish: (message: Buffer) => Promise<void>,
): Promise<number> {
  const beganMs = nowMs();
  let left = messages;
  const work = async (): Promise<void> => {
    while (left-- > 0) await publish(messageOf());
  };
  await Promise.all(Array.from({ length: inFlight }, work));
  return beganMs;
}

export interface Gathered {
  readonly endedMs: number;
  /** From the call to the consumer, every subscriber's copy. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What subscribers get, until all have all. */
export class Gathering {
  readonly done: Promise<void>;
  private readonly latenciesMs: number[] = [];
  private finish: () => void = () => undefined;
  private endedMs = 0;

  constructor(private readonly copies: number) {
    this.done = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  /** A subscriber has a message. */
  note(octets: Uint8Array): void {
    const publishedMs = Buffer.from(octets.buffer, octets.byteOffset, 8).readDoubleBE(0);
    this.endedMs = nowMs();
    this.latenciesMs.push(this.endedMs - publishedMs);
    if (this.latenciesMs.length === this.copies) this.finish();
  }

  async result(deadlineMs: number): Promise<Gathered> {
    const timer = setTimeout(() => this.finish(), deadlineMs);
    await this.done;
    clearTimeout(timer);
    const got = this.latenciesMs.length;
    if (got < this.copies) throw new Error(`only ${got} of ${this.copies} were consumed`);
    const sorted = this.latenciesMs.sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
    return { endedMs: this.endedMs, p50Ms: at(0.5), p99Ms: at(0.99) };
  }
}
