/** `chord control …`: mail to the ring's own address that it did not understand. */
import { type EntryOptions, openEntry } from "./entry.js";
import { formatTable } from "./table.js";
import { visibleLine, visibleLines } from "./visible.js";
import type { World } from "./world.js";

const columns = [
  { title: "ID" },
  { title: "RECEIVED" },
  { title: "OCTETS", align: "right" },
  { title: "WHY IT WAS KEPT" },
] as const;

export async function listKept(world: World, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const { mails } = await entry.ask("controlList", {});
  const rows = mails.map(({ id, receivedAtMs, octets, why }) => [
    ...[id, new Date(receivedAtMs).toISOString(), String(octets), visibleLine(why)],
  ]);
  if (rows.length === 0) world.output.note("nothing is kept");
  else for (const line of formatTable(columns, rows)) world.output.line(line);
}

export async function readKept(world: World, id: string, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const { text, isWhole } = await entry.ask("controlRead", { id });
  for (const line of visibleLines(text)) world.output.line(line);
  if (!isWhole) world.output.note("there is more of it; this is the beginning");
}

export async function deleteKept(world: World, id: string, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  await entry.ask("controlDelete", { id });
  world.output.line(`deleted ${id}`);
}
