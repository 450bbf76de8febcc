/** The table that `npm run bench` prints. */

export interface Figure {
  readonly name: string;
  readonly value: number | null;
  readonly unit: string;
  readonly goal?: { readonly kind: "atLeast" | "atMost"; readonly value: number };
  readonly note?: string;
}

const stamp = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });

function verdict({ value, goal }: Figure): string {
  if (goal === undefined) return "";
  const sign = goal.kind === "atLeast" ? "≥" : "≤";
  if (value === null) return `${sign} ${stamp.format(goal.value)}  not measured`;
  const met = goal.kind === "atLeast" ? value >= goal.value : value <= goal.value;
  return `${sign} ${stamp.format(goal.value)}  ${met ? "met" : "MISSED"}`;
}

/** Aligned columns: what, figure, unit, goal, note. */
export function table(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.name,
    figure.value === null ? "-" : stamp.format(figure.value),
    figure.unit,
    verdict(figure),
    figure.note ?? "",
  ]);
  const head = ["what", "figure", "unit", "goal", "note"];
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 1 ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd();
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
