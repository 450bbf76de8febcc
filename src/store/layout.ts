import { join } from "node:path";
import type { Disk } from "../shared/disk.js";

/** Paths inside the data directory. */
export interface Layout {
  readonly directory: string;
  readonly lock: string;
  readonly version: string;
  readonly journal: string;
  readonly bodies: string;
  readonly spool: string;
  readonly views: string;
}

export function layoutOf(directory: string): Layout {
  return {
    directory,
    lock: join(directory, "lock"),
    version: join(directory, "version"),
    journal: join(directory, "journal"),
    bodies: join(directory, "bodies"),
    spool: join(directory, "spool"),
    views: join(directory, "views"),
  };
}

export function bodyPath(layout: Layout, digest: string): string {
  return join(layout.bodies, digest.slice(0, 2), digest);
}

/** Makes the directories and their entries durable. */
export async function makeDirectories(disk: Disk, layout: Layout): Promise<void> {
  const { directory, journal, bodies, spool, views } = layout;
  for (const path of [directory, journal, bodies, spool, views]) await disk.mkdir(path);
  await disk.syncDirectory(directory);
}
