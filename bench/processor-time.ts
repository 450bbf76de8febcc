/** Time of the processor that processes have used, by Linux's `/proc` (proc(5)). */
import { readdirSync, readFileSync } from "node:fs";

/** Of USER_HZ, which is 100 wherever Node runs. */
const ticksPerSecond = 100;

/** Fields behind the name of the program, which may have spaces; the first is the state. */
function statOf(pid: number | string): readonly string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    // It has ended, or there is no /proc.
    return [];
  }
}

const secondsOf = (stat: readonly string[]): number =>
  (Number(stat[11] ?? 0) + Number(stat[12] ?? 0)) / ticksPerSecond;

/** User and system. */
export const processorSeconds = (pid: number): number => secondsOf(statOf(pid));

export function groupProcessorSeconds(group: number): number {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const stats = pids.map(statOf).filter((stat) => Number(stat[2]) === group);
  return stats.reduce((sum, stat) => sum + secondsOf(stat), 0);
}
