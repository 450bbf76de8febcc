/** One measurement of a broker: what the publisher's process does, and what the consumers' one gathers. */
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";

export const messageOctets = 1_024;

/** Milliseconds by the clock that all processes of a machine share. */
const nowMs = (): number => performance.timeOrigin + performance.now();

/** More than any window of a compressor sees; drawing each message anew costs a part of sending it. */
const random = randomBytes(16 * 1024 * 1024);
let drawn = 0;

/** Random, so that nothing compresses; the time of its publishing and the number of its round in front. */
function messageOf(round: number): Buffer {
  const at = drawn % (random.length - messageOctets);
  // Odd, so that the next round has other messages.
  drawn += messageOctets + 1;
  const octets = Buffer.from(random.subarray(at, at + messageOctets));
  octets.writeDoubleBE(nowMs(), 0);
  octets[8] = round;
  return octets;
}

export interface Round {
  /** 0, 1, 2 … */
  readonly number: number;
  readonly messages: number;
}

/** Publishes all, `inFlight` unconfirmed at a time; `publish` resolves when it is confirmed. Answers when it began. */
export async function publishAll(
  { number, messages }: Round,
  inFlight: number,
  publish: (message: Buffer) => Promise<void>,
): Promise<number> {
  const beganMs = nowMs();
  let left = messages;
  const work = async (): Promise<void> => {
    while (left-- > 0) await publish(messageOf(number));
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

/** Of one round. */
class Copies {
  readonly latenciesMs: number[] = [];
  endedMs = 0;
  private wanted = Infinity;
  private finish: () => void = () => undefined;

  note(publishedMs: number): void {
    this.endedMs = nowMs();
    this.latenciesMs.push(this.endedMs - publishedMs);
    if (this.latenciesMs.length === this.wanted) this.finish();
  }

  async all(wanted: number, deadlineMs: number): Promise<void> {
    this.wanted = wanted;
    if (this.latenciesMs.length >= wanted) return;
    await new Promise<void>((resolve, reject) => {
      const late = (): void =>
        reject(new Error(`only ${this.latenciesMs.length} of ${wanted} were consumed`));
      const timer = setTimeout(late, deadlineMs);
      this.finish = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** What subscribers get, by round; of one that the program is told of later, too. */
export class Gathering {
  private readonly rounds = new Map<number, Copies>();

  private of(round: number): Copies {
    const known = this.rounds.get(round) ?? new Copies();
    this.rounds.set(round, known);
    return known;
  }

  /** A subscriber has a message. */
  note(octets: Uint8Array): void {
    const publishedMs = Buffer.from(octets.buffer, octets.byteOffset, 8).readDoubleBE(0);
    this.of(octets[8] ?? 0).note(publishedMs);
  }

  /** When so many copies of the round are there. @throws Error when they aren't in time */
  async result(round: number, wanted: number, deadlineMs: number): Promise<Gathered> {
    const copies = this.of(round);
    await copies.all(wanted, deadlineMs);
    const sorted = copies.latenciesMs.sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
    return { endedMs: copies.endedMs, p50Ms: at(0.5), p99Ms: at(0.99) };
  }
}
