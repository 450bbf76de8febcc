/** The tables of Stoica et al., "Chord" (IEEE/ACM ToN 2003), each beside our figures. */
import { churn } from "./chord-churn.js";
import { showSpread, spreadOf, type Table } from "./chord-format.js";
import { measureLoad } from "./chord-load.js";
import { measurePaths } from "./chord-paths.js";

export interface TableOptions {
  readonly seed: number;
  /** Small rings and few lookups: shows that everything works. */
  readonly quick: boolean;
  readonly note: (text: string) => void;
}

const hopsNotes = [
  "path: hops to the predecessor in the paper; ours: members that answered, without the asker and",
  "the owner. To the owner it is one more. A list that reaches beyond the key names the owner, so",
  "that the hop to the predecessor is spared unless a dead member makes it necessary",
];

/** The successor alone, the product's default, the paper's for 1,000 members. */
const listLengths = [1, 4, 20];

export async function pathTable({ seed, quick, note }: TableOptions): Promise<Table> {
  const [powers, lookups] = quick
    ? [[3, 5, 7], 300]
    : [[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 4_000];
  const rows: string[][] = [];
  let met = true;
  for (const power of powers) {
    const row = [String(2 ** power)];
    for (const listLength of listLengths) {
      const report = await measurePaths({ seed, members: 2 ** power, listLength, lookups });
      const formula = power / 2 - (listLength === 1 ? 0 : Math.log2(listLength) / 2 - 1);
      const paper = Math.max(0, formula);
      met &&= report.failed === 0 && report.hops.mean <= paper + 0.1;
      row.push(paper.toFixed(2), showSpread(report.hops));
    }
    rows.push(row);
    note(`path length, ${2 ** power} members`);
  }
  return {
    title: "Path length",
    notes: [
      `${lookups} lookups of random keys in settled rings; mean (1st, 99th percentile)`,
      ...hopsNotes,
      "paper: 1/2 log2 N with the successor alone, 1/2 log2 N - 1/2 log2 r + 1 with a list of r",
    ],
    head: ["N", "paper r=1", "ours", "paper r=4", "ours", "paper r=20", "ours"],
    rows,
    goals: [{ what: "path length: no mean above the paper's by more than 0.1, none failed", met }],
  };
}

/** Dead share, mean path, mean timeouts, each with 1st and 99th percentile. */
const paperFailures = [
  [0, 3.84, "3.84 (2, 5)", 0, "0.00 (0, 0)"],
  [0.1, 4.03, "4.03 (2, 6)", 0.6, "0.60 (0, 2)"],
  [0.2, 4.22, "4.22 (2, 6)", 1.17, "1.17 (0, 3)"],
  [0.3, 4.44, "4.44 (2, 6)", 2.02, "2.02 (0, 5)"],
  [0.4, 4.69, "4.69 (2, 7)", 3.23, "3.23 (0, 8)"],
  [0.5, 5.09, "5.09 (3, 8)", 5.1, "5.10 (0, 11)"],
] as const;

export async function failureTable({ seed, quick, note }: TableOptions): Promise<Table> {
  const rings = 10;
  const [members, lookups] = quick ? [200, 500] : [1_000, 10_000];
  const rows: string[][] = [];
  const [none, path, timeouts] = [{ met: true }, { met: true }, { met: true }];
  for (const [deadShare, paperHops, paperPath, paperMean, paperTimeouts] of paperFailures) {
    const options = { seed, members, listLength: 20, deadShare, lookups, rings };
    const report = await measurePaths(options);
    none.met &&= report.failed === 0;
    path.met &&= report.hops.mean <= paperHops;
    timeouts.met &&= report.timeouts.mean <= paperMean;
    rows.push([
      deadShare.toFixed(1),
      ...[paperPath, showSpread(report.hops), paperTimeouts, showSpread(report.timeouts)],
      ...[showSpread(report.allTimeouts), String(report.failed)],
    ]);
    note(`simultaneous failure, p = ${deadShare}`);
  }
  return {
    title: "A share p of the members dies at once",
    notes: [
      `${rings} rings of ${members} members, lists of 20, ${lookups} lookups for each p`,
      "stabilization has stopped, and no lookup learns from an earlier one",
      ...hopsNotes,
      "timeouts: dead members asked on the way to the key. The paper's means are its hops times",
      "p / (1 - p), which leaves no room for dead owners; 'all' counts those too, and second asks",
      "failed: no owner, or another than the first live member at or after the key",
    ],
    head: ["p", "paper path", "ours", "paper timeouts", "ours", "ours, all", "failed (paper: 0)"],
    rows,
    goals: [
      { what: "simultaneous failure: no lookup fails", ...none },
      { what: "simultaneous failure: mean paths at most the paper's", ...path },
      { what: "simultaneous failure: mean timeouts on the way at most the paper's", ...timeouts },
    ],
  };
}

/** Joins and leaves per second, mean path, mean timeouts, failed lookups per 10,000. */
const paperChurn = [
  [0.05, 3.9, 0.05, 0],
  [0.1, 3.83, 0.11, 0],
  [0.15, 3.84, 0.16, 2],
  [0.2, 3.81, 0.23, 5],
  [0.25, 3.83, 0.3, 6],
  [0.3, 3.91, 0.34, 8],
  [0.35, 3.94, 0.42, 16],
  [0.4, 4.06, 0.46, 15],
] as const;

export async function churnTable(
  options: TableOptions & { readonly rate?: number; readonly lookups?: number },
): Promise<Table> {
  const { seed, quick, note } = options;
  const members = quick ? 100 : 1_000;
  const lookups = options.lookups ?? (quick ? 300 : 10_000);
  const quickRates: readonly number[] = [0.4];
  const rates = options.rate === undefined ? (quick ? quickRates : undefined) : [options.rate];
  const rows: string[][] = [];
  const [failures, path, timeouts] = [{ met: true }, { met: true }, { met: true }];
  for (const [rate, paperPath, paperTimeouts, paperFailed] of paperChurn) {
    if (rates?.includes(rate) === false) continue;
    let notedAt = 0;
    const report = await churn({
      ...{ seed, members, listLength: 20, lookups, warmUpMs: quick ? 60_000 : 600_000 },
      // As many of a hundred members as the paper has come and go would be another experiment.
      rate: (rate * members) / 1_000,
      onProgress: (done) => {
        if (done < notedAt + lookups / 10) return;
        notedAt = done;
        note(`churn, R = ${rate}: ${done} lookups`);
      },
    });
    const failed = ((report.wrong + report.none) * 10_000) / lookups;
    failures.met &&= failed <= paperFailed;
    path.met &&= report.hops.mean <= paperPath;
    timeouts.met &&= report.timeouts.mean <= paperTimeouts;
    rows.push([
      rate.toFixed(2),
      ...[paperPath.toFixed(2), showSpread(report.hops)],
      ...[paperTimeouts.toFixed(2), showSpread(report.timeouts)],
      ...[String(paperFailed), String(failed)],
      `${report.joins} / ${report.crashes} / ${report.live}`,
    ]);
    note(`churn, R = ${rate}: ${report.wrong} wrong, ${report.none} not found, ${lookups} lookups`);
  }
  return {
    title: "Members come and crash at a rate of R per second each",
    notes: [
      `${members} members grown by joins, lists of 20, ${lookups} lookups for each R, one a second`,
      "stabilization and one finger every U[15, 45] s; each message takes 50 ms (exponential), and",
      "what is not answered within 500 ms counts as dead, late answers of the living among it",
      "the paper's members say good-bye when they leave; ours crash",
      ...hopsNotes,
      "timeouts: all questions that went unanswered, those to dead owners among them",
      "failed: no owner, or another than the live member that succeeded the key when the lookup",
      "ended or when it began; a lookup whose asker crashes is not counted and another takes its place",
      "every state satisfies Zave's invariant, or the run ends with an error",
    ],
    head: [
      ...["R", "paper path", "ours", "paper timeouts", "ours"],
      ...["paper failed / 10,000", "ours", "joins / crashes / up"],
    ],
    rows,
    goals: [
      { what: "churn: in no row more failed lookups than the paper's", ...failures },
      { what: "churn: mean paths at most the paper's", ...path },
      { what: "churn: mean timeouts at most the paper's", ...timeouts },
    ],
  };
}

export function loadTable({ seed, quick, note }: TableOptions): Table {
  const [members, keys, rings] = quick ? [500, 10_000, 3] : [10_000, 500_000, 10];
  const reports = Array.from({ length: rings }, (_, i) => {
    note(`load, ring ${i + 1} of ${rings}`);
    return measureLoad({ seed: seed + i, members, keys });
  });
  const over = (pick: (report: (typeof reports)[number]) => number): string => {
    const values = reports.map(pick);
    const range = `${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)}`;
    return `${spreadOf(values).mean.toFixed(1)} (${range})`;
  };
  const mean = (pick: (report: (typeof reports)[number]) => number): number =>
    spreadOf(reports.map(pick)).mean;
  const least = Math.min(...reports.map(({ owned }) => owned.fullest));
  const most = Math.max(...reports.map(({ owned }) => owned.fullest));
  // The largest of n exponential arcs is the n-th harmonic number times the mean on average.
  const expected = Math.log(members) + 0.577;
  return {
    title: "Load",
    notes: [
      `${keys} mailboxes on ${members} members, ids and keys by SHA-1 as in the product, ${rings} rings`,
      "multiples of the mean; mean over the rings (least to most)",
      `the fullest of ${members} random arcs is ${expected.toFixed(1)} times the mean on average`,
    ],
    head: ["", "paper", "ours, owners", "ours, all 3 copies"],
    rows: [
      ["fullest", "9.1", over(({ owned }) => owned.fullest), over(({ copies }) => copies.fullest)],
      ["p99", "4.6", over(({ owned }) => owned.p99), over(({ copies }) => copies.p99)],
    ],
    goals: [
      {
        what: "load: the paper's fullest member lies within the spread of our rings",
        met: quick || (least <= 9.1 && 9.1 <= most),
      },
      { what: "load: p99 of owners at most 4.8", met: mean(({ owned }) => owned.p99) <= 4.8 },
    ],
  };
}
