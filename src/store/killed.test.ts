import fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Disk } from "../shared/disk.js";
import { type DurableStore, openStore } from "./index.js";
import { nodeDisk } from "../shared/node-disk.js";
import { defaultStoreLimits, type StoreLimits } from "./options.js";
import { SimulatedDisk } from "./simulated-disk.js";
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
  const written = () => viewsIn(first).map((path) => fs.readFileSync(path, "utf8"));
  await expect.poll(() => written().join("")).toContain(idOf(1));
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

test("mail behind damage in front of the checkpoint is not taken for older than that", async () => {
  const first = temporaryDirectory();
  const closed = await open(first, never);
  await closed.write([add(alice, 1, body)], [body]);
  await closed.write([add(alice, 2, bodyOf("damaged"))], [bodyOf("damaged")]);
  await closed.close();
  const path = join(first, "journal", "000001.log");
  const journal = fs.readFileSync(path);
  const at = journal.indexOf("damaged");
  journal.fill(0, at, at + 1);
  fs.writeFileSync(path, journal);

  const killed = await open(first, never);
  const other = bodyOf("written later");
  await killed.write([add(alice, 3, other)], [other]);
  const second = leftBy(first);
  await killed.close();

  const last = await open(second, never);
  const { messages } = await last.contents(alice);
  expect(messages.map(({ id }) => id)).toEqual([idOf(1), idOf(2), idOf(3)]);
  expect((await last.readBody(other.digest))?.equals(other.bytes)).toBe(true);
  await last.close();
});

test("a full disk on which nothing is written in place can be read after a kill", async () => {
  const first = temporaryDirectory();
  const killed = await open(first, never);
  await killed.write([add(alice, 1, body)], [body]);
  const second = leftBy(first);
  await killed.close();

  const log = collectLog();
  const refuse = () => Promise.reject(Object.assign(new Error("full"), { code: "ENOSPC" }));
  const disk: Disk = {
    ...nodeDisk,
    open: (path, mode) => ({ ...nodeDisk.open(path, mode), writev: refuse }),
  };
  const full = await openStore({ directory: second, log, disk, limits: never });
  expect((await full.contents(alice)).messages.map(({ id }) => id)).toEqual([idOf(1)]);
  expect(log.lines.map(({ message }) => message)).toContainEqual(expect.stringMatching(/no space/));
  await full.close();
});

test.each([
  ["in the journal", defaultStoreLimits.inlineBodyOctetsMax],
  ["in a file", 1],
])("killed anywhere in its first seconds, bodies %s", async (_where, inlineBodyOctetsMax) => {
  for (let operations = 0; operations < 40; operations += 1) {
    // Loses all that is not synced.
    const disk = new SimulatedDisk(() => 0);
    const directory = temporaryDirectory();
    const limits = { ...never, inlineBodyOctetsMax };
    const start = () => openStore({ directory, log: collectLog(), disk, limits });
    const deliver = (store?: DurableStore) => store?.write([add(alice, 1, body)], [body]);
    disk.stopAfter(operations);
    const killed = await start().catch(() => undefined);
    await deliver(killed)?.catch(() => undefined);
    disk.stopAfter(0);
    await killed?.close();
    disk.restart();
    const second = await start();
    await deliver(second);
    disk.stopAfter(0);
    await second.close();
    disk.crash();
    const last = await start();
    expect((await last.contents(alice)).messages.map(({ id }) => id)).toEqual([idOf(1)]);
    expect((await last.readBody(body.digest))?.equals(body.bytes), `${operations}`).toBe(true);
    await last.close();
  }
});
