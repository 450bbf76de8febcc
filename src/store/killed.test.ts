import fs from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { openStore } from "./index.js";
import type { StoreLimits } from "./options.js";
import { nodeSystem, type StoreSystem } from "./system.js";
import { add, alice, bodyOf, collectLog, idOf, temporaryDirectory } from "./test-support.js";
import type { ViewFiles } from "./view-file.js";

const body = bodyOf("hello");
const never: Partial<StoreLimits> = { checkpointIdleMs: 600_000, flushAfterMs: 600_000 };

/** The real views, with note taken of which were fsynced. */
function watchedSystem(synced: Set<string>): StoreSystem {
  const { views } = nodeSystem;
  const sync: ViewFiles["sync"] = (path) => {
    synced.add(path);
    return views.sync(path);
  };
  const at: ViewFiles["at"] = (path) => {
    const file = views.at(path);
    file.sync = () => sync(path);
    return file;
  };
  return { ...nodeSystem, views: { at, sync } };
}

const open = (directory: string, limits: Partial<StoreLimits>, synced = new Set<string>()) =>
  openStore({ directory, log: collectLog(), limits, system: watchedSystem(synced) });

/** What a process that is killed now leaves: all that it wrote, fsynced or not. */
function leftBy(directory: string): string {
  const copy = temporaryDirectory();
  fs.cpSync(directory, copy, {
    recursive: true,
    filter: (path) => path !== join(directory, "lock"),
  });
  return copy;
}

function viewsIn(directory: string): string[] {
  const views = join(directory, "views", "mailboxes");
  const names = fs.readdirSync(views, { recursive: true, encoding: "utf8" });
  return names.filter((name) => name.endsWith(".db")).map((name) => join(views, name));
}

test("a checkpoint fsyncs what a killed process left in a view", async () => {
  const first = temporaryDirectory();
  const killed = await open(first, { ...never, pendingPerMailboxMax: 1 });
  await killed.write([add(alice, 1, body)], [body]);
  await vi.waitFor(() => {
    expect(viewsIn(first).map((path) => fs.readFileSync(path, "utf8")).join("")).toContain(idOf(1));
  });
  const second = leftBy(first);
  await killed.close();

  const synced = new Set<string>();
  const closed = await open(second, never, synced);
  await closed.close();
  const again = await open(second, never);
  await again.write([add(alice, 2, body)], [body]);
  const third = leftBy(second);
  await again.close();

  // The power fails: a view that nobody has fsynced is gone.
  for (const path of viewsIn(third)) {
    if (!synced.has(path.replace(third, second))) fs.rmSync(path);
  }
  const last = await open(third, never);
  const { messages } = await last.contents(alice);
  await last.close();
  expect(messages.map(({ id }) => id)).toEqual([idOf(1), idOf(2)]);
});
