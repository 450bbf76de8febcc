/** How long this process' main thread was busy without a break. */
import { readFileSync } from "node:fs";

const tickMs = 10;

/** CPU time of the main thread in ms (Linux): other threads and other processes do not count. */
function mainThreadMs(): number {
  const [ns = "0"] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  return Number(ns) / 1e6;
}

/**
 * Runs `work`; answers with its result, the longest CPU time between two ticks of a timer, and the
 * CPU time of all.
 */
export async function longestStall<T>(
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly stallMs: number; readonly busyMs: number }> {
  const began = mainThreadMs();
  let last = began;
  let stallMs = 0;
  const tick = () => {
    const now = mainThreadMs();
    stallMs = Math.max(stallMs, now - last);
    last = now;
  };
  const timer = setInterval(tick, tickMs);
  try {
    const result = await work();
    tick();
    return { result, stallMs, busyMs: last - began };
  } finally {
    clearInterval(timer);
  }
}
