/** What happened to the mail or account that a violation is about, for a reader. */
import type { Plan } from "./replication-plan.js";
import { type RunOptions, runPlan } from "./replication-scenario.js";

const linesMax = 120;

/** Runs the plan again and tells of it what concerns the first violation. */
export async function tell(plan: Plan, options: RunOptions = {}): Promise<readonly string[]> {
  const lines: string[] = [];
  const { violations } = await runPlan(plan, { ...options, witness: (line) => lines.push(line) });
  const names = subjectsOf(violations[0] ?? "", lines);
  const kept = lines.filter(
    (line) => isEvent(line) || names.some((name) => mentions(line, name)) || /VIOLATION/.test(line),
  );
  if (kept.length <= linesMax) return kept;
  const half = linesMax / 2;
  const left = kept.length - linesMax;
  return [...kept.slice(0, half), `  … ${left} lines …`, ...kept.slice(-half)];
}

/** The mails, ids and names that a violation mentions, with the ids of its mails. */
function subjectsOf(violation: string, lines: readonly string[]): readonly string[] {
  const names = violation.match(/\bmail \d+|\b[0-9a-f]{32}\b|\b(gus|hal|ida)\b/g) ?? [];
  const found = new Set<string>(names);
  for (const line of lines) {
    const [, text, id] = /(mail \d+) is ([0-9a-f]{32}) at/.exec(line) ?? [];
    if (!text || !id) continue;
    if (found.has(text) || found.has(id)) found.add(text).add(id);
  }
  if (found.size > 0) return [...found];
  return violation.match(/\b[a-z]+@ring\.test/g) ?? [];
}

/** As a whole word: "mail 3" is not "mail 31". */
const mentions = (line: string, name: string): boolean => new RegExp(`\\b${name}\\b`).test(line);

const isEvent = (line: string): boolean =>
  / ms {2}(crash|start|freeze|thaw|cut|clog|apart|epoch|all is well|a bit|the disk|the clock|\w+ \(item)/.test(
    line,
  );
