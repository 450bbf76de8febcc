import { limitSpecs } from "../config/index.js";
import { formatTable } from "./table.js";
import type { World } from "./world.js";

/** `chord limits`: the table behind `--limit` and the conf file's `"limits"`. */
export function showLimits({ output }: World): void {
  const columns = [
    { title: "limit" },
    { title: "default", align: "right" },
    { title: "least", align: "right" },
    { title: "most", align: "right" },
    { title: "unit" },
    { title: "" },
  ] as const;
  const rows = Object.entries(limitSpecs).map(([name, spec]) => [
    name,
    ...[spec.default, spec.min, spec.max].map(String),
    spec.unit,
    spec.floor === undefined ? spec.help : `${spec.help} (least: ${spec.floor})`,
  ]);
  const [head = "", ...lines] = formatTable(columns, rows);
  output.line(output.style("dim", head));
  for (const line of lines) output.line(line);
  output.line("");
  output.line('Set one with --limit name=value, or in the conf file: "limits": { "name": value }.');
  output.line("Octets may be given as 64K or 1M. The largest mail taken is --max-message.");
}
