/** The clock and the dice of a real machine. */
import { randomBytes } from "node:crypto";
import type { Clock, Randomness } from "../replication/ports.js";

const poolOctets = 4_096;
let pool = Buffer.alloc(0);

/** From a pool: a call to the generator costs as much as the rest of a small mail's bookkeeping. */
export const random: Randomness = {
  bytes(n) {
    if (n > poolOctets) return randomBytes(n);
    if (pool.length < n) pool = randomBytes(poolOctets);
    const bytes = pool.subarray(0, n);
    pool = pool.subarray(n);
    return bytes;
  },
};

export const clock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new Error("aborted"));
      const timer = setTimeout(done, ms);
      function done(): void {
        signal?.removeEventListener("abort", cancel);
        resolve();
      }
      function cancel(): void {
        clearTimeout(timer);
        reject(new Error("aborted"));
      }
      signal?.addEventListener("abort", cancel, { once: true });
    }),
};
