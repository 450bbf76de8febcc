import { type EntryOptions, openEntry } from "./entry.js";
import { nameOf } from "./table.js";
import type { World } from "./world.js";

export async function lookup(
  world: World,
  key: string,
  options: EntryOptions & { readonly json?: boolean },
): Promise<void> {
  const entry = await openEntry(world, options);
  const reply = await entry.ask("lookup", { key });
  const { output } = world;
  if (options.json === true) {
    output.line(JSON.stringify(reply));
    return;
  }
  const { owner, path, timeouts } = reply;
  output.line(`key ${reply.key} belongs to member ${nameOf(owner)}`);
  output.line(`path ${path.map(nameOf).join(" → ")}`);
  if (timeouts > 0) output.line(`${timeouts} silent members were passed by on the way`);
}
