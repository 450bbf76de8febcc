/** Runs a fuzzer for a while: batches of executions, each of a seed of its own. */
import { performance } from "node:perf_hooks";
import fc from "fast-check";
import type { Fuzzer } from "./fuzzer.js";

export interface Failure {
  readonly seed: number;
  /** The smallest input found that fails. */
  readonly input: unknown;
  readonly error: string;
}

export interface CampaignResult {
  readonly name: string;
  readonly executions: number;
  readonly seconds: number;
  /** The longest that the event loop stood still: the lesser of wall clock and CPU time. */
  readonly stallMs: number;
  /** Of the used heap, after a collection where `gc` is exposed. */
  readonly heapGrowthOctets: number;
  readonly failure: Failure | undefined;
}

const runsPerBatch = 200;
const tickMs = 5;

/**
 * Runs until `untilMs` (of `performance.now()`) or `runsMax` executions, or the first failure.
 * Batch n of seed s has the seed s + n, so that a failure names a seed that shows it at once.
 */
export async function campaign(
  { name, inputs, run }: Fuzzer,
  options: { readonly seed: number; readonly untilMs?: number; readonly runsMax?: number },
): Promise<CampaignResult> {
  const { seed, untilMs = Infinity, runsMax = Infinity } = options;
  const startedMs = performance.now();
  const stalls = new StallMeter();
  let executions = 0;
  let failure: Failure | undefined;
  const property = fc.asyncProperty(inputs, async (input) => {
    executions += 1;
    const timer = stalls.begin();
    const pending = run(input);
    if (pending === undefined) stalls.end(timer);
    else await pending;
  });
  // The first batch warms up: code is compiled, servers have their first connections.
  let heapBefore = 0;
  for (let batch = 0; failure === undefined; batch += 1) {
    if (performance.now() >= untilMs || executions >= runsMax) break;
    if (batch === 1) heapBefore = heapOctets();
    const details = await fc.check(property, {
      seed: seed + batch,
      numRuns: Math.min(runsPerBatch, runsMax - executions),
      ...(untilMs < Infinity && { interruptAfterTimeLimit: untilMs - performance.now() }),
    });
    await new Promise((resolve) => setImmediate(resolve));
    if (!details.failed || details.counterexample === null) continue;
    const { errorInstance } = details;
    const error = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
    failure = { seed: seed + batch, input: details.counterexample[0], error };
  }
  stalls.stop();
  return {
    ...{ name, executions, failure },
    seconds: (performance.now() - startedMs) / 1_000,
    stallMs: stalls.worstMs,
    heapGrowthOctets: heapBefore === 0 ? 0 : heapOctets() - heapBefore,
  };
}

function heapOctets(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

interface Moment {
  readonly wallMs: number;
  readonly cpuMs: number;
}

/**
 * Work that runs through is timed; between runs that wait, a tick that comes late tells. On a busy
 * machine wall clock time says little, so that CPU time bounds it.
 */
class StallMeter {
  worstMs = 0;
  #last: Moment | undefined;
  readonly #timer = setInterval(() => this.#tick(), tickMs);

  begin(): Moment {
    const { user, system } = process.cpuUsage();
    return { wallMs: performance.now(), cpuMs: (user + system) / 1_000 };
  }

  end({ wallMs, cpuMs }: Moment): void {
    const now = this.begin();
    this.#note(Math.min(now.wallMs - wallMs, now.cpuMs - cpuMs));
    // Runs that never wait would look like one long stall to the tick.
    this.#last = undefined;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const now = this.begin();
    const last = this.#last;
    if (last) this.#note(Math.min(now.wallMs - last.wallMs, now.cpuMs - last.cpuMs) - tickMs);
    this.#last = now;
  }

  #note(ms: number): void {
    this.worstMs = Math.max(this.worstMs, ms);
  }
}
