import { join } from "node:path";
import type { Log } from "../shared/log.js";
import { BodyStore } from "./bodies.js";
import { Checkpoints } from "./checkpoint.js";
import { type Disk, unlinkIfThere } from "../shared/disk.js";
import { Journal } from "./journal.js";
import { readOrMakeIdentity } from "./identity.js";
import { layoutOf, makeDirectories } from "./layout.js";
import type { StoreLock } from "../shared/lock.js";
import { Mailboxes } from "./mailboxes.js";
import { nodeDisk } from "../shared/node-disk.js";
import { defaultStoreLimits, type StoreLimits } from "./options.js";
import { LastMessages, replay, Segments } from "./replay.js";
import { State } from "./state.js";
import { type DurableStore, JournalStore } from "./store.js";
import { nodeSystem, type StoreSystem } from "./system.js";

export interface OpenStoreOptions {
  /** Made when missing. One process at a time. */
  readonly directory: string;
  readonly log: Log;
  readonly limits?: Partial<StoreLimits>;
  /** What the journal is written to. For tests. */
  readonly disk?: Disk;
  /** Time, chance, and what the views are written to. For the simulation. */
  readonly system?: StoreSystem;
}

/** More than are under way at a time: a mail for each connection, to many recipients. */
const lastMessagesMax = 5_000;

/**
 * Opens the store of a node and brings it up to the end of its journal.
 * @throws StoreLockedError, StoreVersionError
 */
export async function openStore(options: OpenStoreOptions): Promise<DurableStore> {
  const layout = layoutOf(options.directory);
  const system = options.system ?? nodeSystem;
  const lock = await system.take(layout);
  try {
    return await openLocked(options, system, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function openLocked(
  options: OpenStoreOptions,
  system: StoreSystem,
  lock: StoreLock,
): Promise<DurableStore> {
  const { log } = options;
  const disk = options.disk ?? nodeDisk;
  const limits = { ...defaultStoreLimits, ...options.limits };
  const layout = layoutOf(options.directory);
  await makeDirectories(disk, layout);
  const { member: identity, salt } = await readOrMakeIdentity(disk, layout, system);
  for (const name of await disk.list(layout.spool)) {
    await unlinkIfThere(disk, join(layout.spool, name));
  }
  const segments = new Segments({ disk, directory: layout.journal, salt, log });
  await segments.list();
  const scan = (segment: number) => segments.bodies(segment);
  const bodies = new BodyStore({ disk, layout, log, scan });
  let endOfJournal = () => ({ segment: Infinity, offset: 0 });
  const state = new State(
    bodies,
    (onRemoved) =>
      new Mailboxes({
        directory: layout.views,
        ...{ limits, log, system },
        onRemoved,
        recover: (mailbox) => segments.operationsOn(mailbox, () => endOfJournal()),
      }),
  );
  const checkpoints = new Checkpoints(system.viewDisk, system.views, layout.views, state);
  const from = await checkpoints.load();
  const last = new LastMessages(lastMessagesMax);
  const end = await replay({ segments, state, from, last });
  let store: JournalStore | undefined;
  const journal = new Journal({
    disk,
    directory: layout.journal,
    segmentOctets: limits.segmentOctets,
    nextTurn: (run) => system.nextTurn(run),
    segment: end.segment,
    octets: end.offset,
    onSealed: (sealed) => store?.sealed(sealed),
    onFailure: (error) => store?.failed(error),
  });
  endOfJournal = () => journal.end;
  const parts = { disk, layout, limits, log, system, lock, segments, state, journal, checkpoints };
  store = new JournalStore({ ...parts, identity, salt, lastMessages: last.list() });
  return store;
}
