/**
 * npm run bench:chord [-- --table path|failure|churn|load] [--seed n] [--quick]
 *
 * Reproduces the tables of the Chord paper with the product's ring over simulated time and network,
 * beside the paper's figures. The same seed prints the same. `--rate .4` runs one row of the churn
 * table, `--lookups 2000` fewer lookups for each of its rows.
 */
import { parseArgs } from "node:util";
import { showGoals, showTable, type Table } from "./chord-format.js";
import { churnTable, failureTable, loadTable, pathTable } from "./chord-tables.js";

const { values } = parseArgs({
  options: {
    table: { type: "string" },
    seed: { type: "string", default: "1" },
    quick: { type: "boolean", default: false },
    rate: { type: "string" },
    lookups: { type: "string" },
  },
});

const beganMs = performance.now();
const note = (text: string): void => {
  const seconds = ((performance.now() - beganMs) / 1_000).toFixed(0).padStart(4);
  process.stderr.write(`${seconds} s  ${text}\n`);
};
const options = { seed: Number(values.seed), quick: values.quick, note };
const churnOptions = {
  ...options,
  ...(values.rate === undefined ? {} : { rate: Number(values.rate) }),
  ...(values.lookups === undefined ? {} : { lookups: Number(values.lookups) }),
};

const makers: Readonly<Record<string, () => Table | Promise<Table>>> = {
  path: () => pathTable(options),
  failure: () => failureTable(options),
  load: () => loadTable(options),
  churn: () => churnTable(churnOptions),
};
const wanted = values.table === undefined ? Object.keys(makers) : [values.table];
const tables: Table[] = [];
for (const name of wanted) {
  const make = makers[name];
  if (make === undefined)
    throw new Error(`--table ${name}: one of ${Object.keys(makers).join(", ")}`);
  const table = await make();
  tables.push(table);
  process.stdout.write(`\n${showTable(table)}\n`);
}
const seconds = ((performance.now() - beganMs) / 1_000).toFixed(0);
process.stdout.write(`\n${showGoals(tables)}\n`);
process.stderr.write(`${seconds} s in all\n`);
if (tables.some(({ goals }) => goals.some(({ met }) => !met))) process.exitCode = 1;
