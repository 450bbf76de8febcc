/** What a drill found: for machines as an object, for people as text of 80 columns. */
import type { Violation, Wrong } from "./book.js";
import { wrongs } from "./book.js";
import { type FaultKind, faultKinds, faultTexts } from "./faults.js";
import type { LoadCounts } from "./load-options.js";

/** One fault. Times in milliseconds; absent where another fault came in between. */
export interface FaultRecord {
  readonly kind: FaultKind;
  readonly what: string;
  /** From the start of the faults. */
  readonly atMs: number;
  /** The fault that was there meanwhile. */
  readonly during?: FaultKind;
  /** From the fault (of all members: from the restart) to the first POP3 login elsewhere. */
  loginMs?: number;
  /** As above, to the first 250 elsewhere. */
  acceptedMs?: number;
  /** From the end of the fault until all members were one ring. */
  oneRingMs?: number;
}

export interface DrillReport {
  readonly ok: boolean;
  readonly seed: number;
  readonly members: number;
  readonly replicas: number;
  /** How long there were faults. */
  readonly faultSeconds: number;
  /** Unix time of 0 s in histories; members log times of the same clock. */
  readonly startedAtMs: number;
  readonly mails: LoadCounts;
  /** Mails by broken promise. */
  readonly wrong: Readonly<Record<Wrong, number>>;
  readonly violations: readonly Violation[];
  /** What else must not be: a ring that did not heal, a member that ended by itself. */
  readonly problems: readonly string[];
  readonly faults: readonly FaultRecord[];
  /** From the last fault until every copy of every mailbox was equal; absent: it did not happen. */
  readonly equalMs?: number;
  /** The end: mailboxes fetched through every member, and mails found in them. */
  readonly checked: {
    readonly members: number;
    readonly mailboxes: number;
    readonly mails: number;
  };
  /** Logs, data and this report, where they were kept. */
  readonly kept?: string;
}

/** One violation per promise and mail: every member and reader may have seen it. */
export function distinct(violations: readonly Violation[]): Violation[] {
  const byName = new Map<string, Violation>();
  // The last one has the longest history.
  for (const violation of violations) {
    const { wrong, messageId, detail } = violation;
    byName.set(`${wrong} ${messageId || detail}`, violation);
  }
  return [...byName.values()];
}

export function countByWrong(violations: readonly Violation[]): Record<Wrong, number> {
  const counts = Object.fromEntries(wrongs.map((wrong) => [wrong, 0])) as Record<Wrong, number>;
  for (const { wrong } of violations) counts[wrong] += 1;
  return counts;
}

/** Nearest rank; undefined of nothing. */
export function percentile(values: readonly number[], percent: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
}

const whole = (value: number): string => value.toLocaleString("en-US");
const seconds = (ms: number): string => (ms / 1_000).toFixed(2);
const violationsShownMax = 20;

export function reportText(report: DrillReport): string[] {
  const { members, replicas, faultSeconds, seed, faults, violations, problems } = report;
  return [
    `Drill: ${members} members, ${replicas + 1} copies of each mail, ` +
      `${faultSeconds} s of faults, seed ${seed}`,
    "",
    ...mailLines(report),
    "",
    ...promiseLines(report),
    "",
    ...recoveryTable(faults),
    "",
    ...restLines(report),
    ...violations.slice(0, violationsShownMax).flatMap(violationLines),
    ...(violations.length > violationsShownMax ? ["", "… more in report.json"] : []),
    ...problems.flatMap((problem) => ["", `! ${problem}`]),
    "",
    verdict(report),
    ...(report.kept === undefined ? [] : [`Logs, data and report.json are in ${report.kept}`]),
  ];
}

function counted(name: string, count: number, meaning: string): string {
  return `  ${name.padEnd(16)}${whole(count).padStart(9)}   ${meaning}`;
}

function mailLines({ mails }: DrillReport): string[] {
  return [
    "Mails",
    counted("offered", mails.offered, "different ones, to mailboxes all over the ring"),
    counted("acknowledged", mails.acknowledged, "250: a majority has it on disk"),
    counted("refused", mails.refused, "tries answered with 451; sent again elsewhere"),
    counted("unanswered", mails.unanswered, "tries whose reply was lost; sent again elsewhere"),
    counted("fetched", mails.fetched, "compared with what was sent, octet by octet"),
    counted("deleted", mails.deleted, "QUIT was answered with +OK"),
  ];
}

const promises: Readonly<Record<Wrong, readonly [name: string, meaning: string]>> = {
  lost: ["lost", "acknowledged, not deleted, and not there"],
  doubled: ["doubled", "there more than once"],
  resurrected: ["resurrected", "there again after its deletion was confirmed"],
  corrupt: ["corrupt", "other octets than were sent, or in a wrong mailbox"],
  refused: ["turned away", "refused for good: 5xx, [AUTH], never accepted"],
};

function promiseLines({ wrong }: DrillReport): string[] {
  const lines = wrongs.map((key) => counted(promises[key][0], wrong[key], promises[key][1]));
  return ["Broken promises", ...lines];
}

function restLines({ checked, equalMs, problems }: DrillReport): string[] {
  if (equalMs === undefined) return ["The copies were not found equal at the end."];
  const alike = problems.length > 0 ? "." : ", all with the same UIDLs.";
  return [
    `${seconds(equalMs)} s after the last fault all copies were equal. ` +
      `${checked.members} members served`,
    `${whole(checked.mails)} mails in ${checked.mailboxes} mailboxes${alike}`,
  ];
}

function violationLines({ wrong, messageId, mailbox, detail, history }: Violation): string[] {
  const name = messageId === "" ? "" : ` ${messageId}`;
  const lines = history.map((line) => `    ${line}`);
  return ["", `! ${promises[wrong][0]}:${name} in ${mailbox}`, `    ${detail}`, ...lines];
}

function verdict({ ok, wrong, problems }: DrillReport): string {
  if (ok) return "OK: every promise was kept.";
  const broken = wrongs
    .filter((key) => wrong[key] > 0)
    .map((key) => `${wrong[key]} ${promises[key][0]}`);
  if (problems.length > 0) {
    broken.push(problems.length === 1 ? "1 problem" : `${problems.length} problems`);
  }
  return `FAILED: ${broken.join(", ")}.`;
}

const columns = ["loginMs", "acceptedMs", "oneRingMs"] as const;

/** Median, p99 and worst by kind of fault, with what the kinds mean. */
export function recoveryTable(faults: readonly FaultRecord[]): string[] {
  const kinds = faultKinds.filter((kind) => faults.some((fault) => fault.kind === kind));
  const head = ["login elsewhere", "mail accepted", "one ring again"];
  const nested = faults.filter(({ during }) => during !== undefined).length;
  return [
    `Faults: ${faults.length}, of which ${nested} while another one was there. Seconds until a ` +
      "client",
    "was served elsewhere (all killed: from their restart), and from the fault's",
    "end until the ring was whole:",
    "",
    `${"".padEnd(17)}${head.map((text) => `  ${text.padStart(18)}`).join("")}`,
    `  ${"fault".padEnd(10)}times${"  median   p99 worst".repeat(3)}`,
    ...kinds.map((kind) => recoveryLine(kind, faults)),
    "",
    ...kinds.map((kind) => `  ${kind.padEnd(10)}${faultTexts[kind]}`),
  ];
}

function recoveryLine(kind: FaultKind, faults: readonly FaultRecord[]): string {
  const own = faults.filter((fault) => fault.kind === kind);
  const cells = columns.map((column) => {
    const values = own.map((fault) => fault[column]).filter((value) => value !== undefined);
    const cell = (percent: number, width: number): string => {
      const value = percentile(values, percent);
      return (value === undefined ? "-" : seconds(value)).padStart(width);
    };
    return `${cell(50, 8)}${cell(99, 6)}${cell(100, 6)}`;
  });
  return `  ${kind.padEnd(9)}${whole(own.length).padStart(6)}${cells.join("")}`;
}
