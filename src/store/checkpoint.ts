import { join } from "node:path";
import type { RegisterState } from "../shared/operation.js";
import { type Disk, readFileBounded, replaceFile } from "../shared/disk.js";
import type { JournalPosition } from "./journal.js";
import type { State } from "./state.js";
import type { VersionedEntry, VersionedValues } from "./versioned-values.js";
import type { ViewDocument, ViewFile, ViewFiles } from "./view-file.js";

/**
 * The views reflect everything in front of `position`. The counts are a lower bound of what the
 * value views had then: a file that has fewer was damaged.
 */
interface Checkpoint {
  readonly position: JournalPosition;
  readonly registers: number;
  readonly locals: number;
  readonly mailboxes: number;
  /** Estimated dead octets per segment. */
  readonly dead: readonly (readonly [segment: number, octets: number])[];
}

const checkpointOctetsMax = 16 * 1024 * 1024;

/** Ids get a letter in front: nedb keeps documents in an object, where `__proto__` is not a key. */
const idPrefix = "k";

/** Loads and writes the views that are one file each, and the checkpoint that vouches for them. */
export class Checkpoints {
  readonly #path: string;
  readonly #registers: ViewFile;
  readonly #locals: ViewFile;
  readonly #catalog: ViewFile;

  constructor(
    /** The real one: nedb writes views past the `Disk` of the journal. */
    private readonly disk: Disk,
    views: ViewFiles,
    viewsDirectory: string,
    private readonly state: State,
  ) {
    this.#path = join(viewsDirectory, "checkpoint.json");
    this.#registers = views.at(join(viewsDirectory, "registers.db"));
    this.#locals = views.at(join(viewsDirectory, "local.db"));
    this.#catalog = views.at(join(viewsDirectory, "catalog.db"));
  }

  /**
   * Takes up the views. Returns where the replay has to begin; undefined when the views are missing
   * or damaged, so that the whole journal has to be replayed.
   */
  async load(): Promise<JournalPosition | undefined> {
    const checkpoint = this.#read();
    if (checkpoint === undefined) {
      await this.#startOver();
      return undefined;
    }
    const [registers, locals, catalog] = await Promise.all([
      this.#registers.load(),
      this.#locals.load(),
      this.#catalog.load(),
    ]);
    const sound =
      !(registers.damaged || locals.damaged || catalog.damaged) &&
      registers.documents.length >= checkpoint.registers &&
      locals.documents.length >= checkpoint.locals &&
      catalog.documents.length >= checkpoint.mailboxes;
    if (!sound) {
      await this.#startOver();
      return undefined;
    }
    for (const document of registers.documents) this.state.registers.load(fromDocument(document));
    for (const document of locals.documents) this.state.locals.load(fromDocument(document));
    for (const { _id, v } of catalog.documents) {
      this.state.mailboxes.loadCatalog(_id.slice(idPrefix.length), v);
    }
    for (const [segment, octets] of checkpoint.dead) this.state.dead.set(segment, octets);
    return checkpoint.position;
  }

  /** Damaged views of values go; those of mailboxes are checked when they are opened. */
  async #startOver(): Promise<void> {
    for (const view of [this.#registers, this.#locals, this.#catalog]) await view.unlink();
  }

  #read(): Checkpoint | undefined {
    const content = readFileBounded(this.disk, this.#path, checkpointOctetsMax);
    if (content === undefined) return undefined;
    try {
      const parsed = JSON.parse(content.toString("utf8")) as Partial<Checkpoint>;
      const { position, registers, locals, mailboxes, dead } = parsed;
      if (position === undefined || dead === undefined) return undefined;
      if (registers === undefined || locals === undefined || mailboxes === undefined) {
        return undefined;
      }
      return { position, registers, locals, mailboxes, dead };
    } catch {
      return undefined; // Written atomically, so this is a damaged disk: replay everything.
    }
  }

  /** `position`: an end of the journal; everything in front of it has been applied to `state`. */
  async take(position: JournalPosition): Promise<void> {
    const { state } = this;
    await state.mailboxes.flushAll();
    const counts = {
      registers: await writeValues<RegisterState>(this.#registers, state.registers),
      locals: await writeValues<unknown>(this.#locals, state.locals),
      mailboxes: await this.#writeCatalog(),
    };
    const checkpoint: Checkpoint = { position, ...counts, dead: [...state.dead] };
    await replaceFile(this.disk, this.#path, Buffer.from(JSON.stringify(checkpoint)));
  }

  async #writeCatalog(): Promise<number> {
    const { mailboxes } = this.state;
    const changed = mailboxes.takeChanged();
    try {
      await replaceSynced(
        this.#catalog,
        changed.map(({ key, text }) => ({ _id: idPrefix + key, v: text })),
      );
    } catch (error) {
      mailboxes.markChanged(changed.map(({ key }) => key));
      throw error;
    }
    return this.#catalog.documents;
  }
}

async function writeValues<T>(file: ViewFile, values: VersionedValues<T>): Promise<number> {
  const changed = values.takeChanged();
  try {
    await replaceSynced(file, changed.map(toDocument));
  } catch (error) {
    values.markChanged(changed.map(({ key }) => key));
    throw error;
  }
  return file.documents;
}

async function replaceSynced(file: ViewFile, documents: ViewDocument[]): Promise<void> {
  if (documents.length === 0) return;
  await file.replace(documents);
  await file.sync();
}

function toDocument({
  key,
  version,
  segment,
  octets,
  value,
}: VersionedEntry<unknown>): ViewDocument {
  return { _id: idPrefix + key, v: JSON.stringify([version, segment, octets, value]) };
}

function fromDocument<T>({ _id, v }: ViewDocument): VersionedEntry<T> {
  const [version, segment, octets, value] = JSON.parse(v) as [number, number, number, T];
  return { key: _id.slice(idPrefix.length), version, segment, octets, value };
}
