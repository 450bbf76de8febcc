/** Makes a failing run small: what can be left out while the violation remains is left out. */
import type { Plan, PlanItem } from "./replication-plan.js";
import { type RunOptions, runPlan } from "./replication-scenario.js";

export interface Shrunk {
  readonly plan: Plan;
  /** What is wrong in it: of the same name as in the whole run. */
  readonly violations: readonly string[];
  readonly runs: number;
}

/** The name of a violation: "9000 ms: lost: mail 3 …" is of the name "lost". */
export const nameOf = (violation: string): string => violation.split(": ")[1] ?? violation;

/**
 * Delta debugging (Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002)
 * over the items of a plan: faults, mails, sessions and acts alike. Every item has dice of its own,
 * so leaving some out changes the others little.
 */
export async function shrink(
  whole: Plan,
  name: string,
  options: RunOptions,
  runsMax = 400,
): Promise<Shrunk> {
  let runs = 0;
  let best: Shrunk = { plan: whole, violations: [], runs };
  const fails = async (plan: Plan): Promise<boolean> => {
    if (runs >= runsMax) return false;
    runs += 1;
    const { violations } = await runPlan(plan, options);
    const wanted = violations.filter((violation) => nameOf(violation) === name);
    if (wanted.length === 0) return false;
    best = { plan, violations: wanted, runs };
    return true;
  };
  const minimize = async (): Promise<void> => {
    let pieces = 2;
    while (best.plan.items.length >= 2) {
      const before = best.plan.items;
      const size = Math.ceil(before.length / pieces);
      let smaller = false;
      // From the end, since what comes late is needed least.
      for (let start = size * (pieces - 1); start >= 0; start -= size) {
        const { items } = best.plan;
        const cut = new Set(before.slice(start, start + size));
        const kept = items.filter((item) => !cut.has(item));
        if (kept.length === items.length) continue;
        if (await fails({ ...best.plan, items: kept })) smaller = true;
      }
      if (runs >= runsMax || (size === 1 && !smaller)) return;
      const { length } = best.plan.items;
      pieces = size === 1 ? length : Math.min(length, smaller ? Math.max(2, pieces) : pieces * 2);
    }
  };
  await fails(whole);
  await minimize();
  for (let members = 1; members < best.plan.members; members += 1) {
    if (await fails({ ...best.plan, members })) {
      await minimize();
      break;
    }
  }
  return { ...best, runs };
}

/** The items of a plan by their numbers, as `--keep` takes them: "3,17,29-31". */
export function keepText(items: readonly PlanItem[]): string {
  const parts: { from: number; to: number }[] = [];
  for (const { number } of items) {
    const last = parts.at(-1);
    if (last && last.to === number - 1) last.to = number;
    else parts.push({ from: number, to: number });
  }
  return parts.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(",");
}

export function keepOnly(plan: Plan, text: string): Plan {
  const kept = new Set<number>();
  for (const part of text.split(",")) {
    const [from = 0, to = from] = part.split("-").map(Number);
    for (let number = from; number <= to; number += 1) kept.add(number);
  }
  return { ...plan, items: plan.items.filter(({ number }) => kept.has(number)) };
}
