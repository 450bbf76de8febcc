/** Whose data a directory has, and in which format. */
import { type Disk, readFileBounded, replaceFile } from "../shared/disk.js";
import type { MemberUuid } from "../shared/ids.js";
import type { Layout } from "./layout.js";
import type { StoreSystem } from "./system.js";

/**
 * The format that this program writes. A higher number in the directory is refused; a lower one is raised at the
 * start, before anything else is written, so that an older program refuses what it would misread.
 *
 * 2: many removals in one operation of a record (`packed-removals.ts`), packs of tombstones and marks in
 * view files (`tombstones.ts`, `view-file.ts`). All that 1 has is read as before.
 * 3: floors (`shared/floor.ts`), in records and in view files. All that 2 has is read as before.
 */
const formatVersion = 3;

/** The data directory cannot be used by this program: newer, damaged or not a store. */
export class StoreVersionError extends Error {
  override readonly name = "StoreVersionError";
}

/** What the `version` file says. */
export interface StoreIdentity {
  readonly format: number;
  readonly member: MemberUuid;
  /** Start value of the journal's CRCs, see `record.ts`. */
  readonly salt: number;
}

/** Reads the `version` file, or makes it at the first start. */
export async function readOrMakeIdentity(
  disk: Disk,
  layout: Layout,
  { randomBytes, randomUuid }: Pick<StoreSystem, "randomBytes" | "randomUuid">,
): Promise<StoreIdentity> {
  const content = readFileBounded(disk, layout.version, 64 * 1024);
  if (content !== undefined) {
    const found = parseIdentity(layout, content.toString("utf8"));
    if (found.format === formatVersion) return found;
    const raised = { ...found, format: formatVersion };
    await writeIdentity(disk, layout, raised);
    return raised;
  }
  if ((await disk.list(layout.journal)).length > 0) {
    throw new StoreVersionError(
      `${layout.directory} has a journal but no "version" file. Restore that file from a backup; ` +
        `without it the journal cannot be read.`,
    );
  }
  const identity: StoreIdentity = {
    format: formatVersion,
    member: randomUuid() as MemberUuid,
    salt: randomBytes(4).readUInt32BE(0),
  };
  await writeIdentity(disk, layout, identity);
  return identity;
}

const writeIdentity = (disk: Disk, { version }: Layout, identity: StoreIdentity): Promise<void> =>
  replaceFile(disk, version, Buffer.from(`${JSON.stringify(identity)}\n`));

function parseIdentity(layout: Layout, text: string): StoreIdentity {
  let parsed: Partial<StoreIdentity>;
  try {
    parsed = JSON.parse(text) as Partial<StoreIdentity>;
  } catch {
    throw new StoreVersionError(`${layout.version} is damaged: it is not JSON`);
  }
  const { format, member, salt } = parsed;
  if (typeof format === "number" && format > formatVersion) {
    throw new StoreVersionError(
      `the data in ${layout.directory} was written by a newer version (format ${format}; ` +
        `this program knows ${formatVersion}). Start the newer program, or use another directory.`,
    );
  }
  const isFormat = typeof format === "number" && Number.isInteger(format) && format >= 1;
  if (!isFormat || typeof member !== "string" || typeof salt !== "number") {
    throw new StoreVersionError(`${layout.version} is damaged: a field is missing`);
  }
  return { format, member, salt };
}
