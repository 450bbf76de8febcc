/** What the tables of `npm run bench:chord` are made of. */

/** Mean, 1st and 99th percentile, as the paper prints them. */
export interface Spread {
  readonly mean: number;
  readonly p1: number;
  readonly p99: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  const sum = sorted.reduce((total, value) => total + value, 0);
  return { mean: sum / sorted.length, p1: at(0.01), p99: at(0.99) };
}

export function showSpread({ mean, p1, p99 }: Spread): string {
  return `${mean.toFixed(2)} (${p1}, ${p99})`;
}

export interface Goal {
  readonly what: string;
  readonly met: boolean;
}

export interface Table {
  readonly title: string;
  /** How it was measured and judged, a line each. */
  readonly notes: readonly string[];
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly goals: readonly Goal[];
}

export function showTable({ title, notes, head, rows }: Table): string {
  const widths = head.map((cell, i) =>
    Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => cell.padStart(widths[i] ?? 0)).join(" | ");
  const rule = widths.map((width) => "-".repeat(width)).join("-|-");
  return [title, ...notes.map((note) => `  ${note}`), "", line(head), rule, ...rows.map(line)].join(
    "\n",
  );
}

export function showGoals(tables: readonly Table[]): string {
  const lines = tables.flatMap(({ goals }) =>
    goals.map(({ what, met }) => `  ${met ? "met    " : "NOT MET"}  ${what}`),
  );
  return ["Goals", ...lines].join("\n");
}
