import { createHash, hash } from "node:crypto";
import { dirname, join } from "node:path";
import type { BodyRange } from "../replication/ports.js";
import type { BodyDigest } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import { BodyCorruptError } from "../shared/store-errors.js";
import { type Disk, type DiskFile, errorCode } from "../shared/disk.js";
import { segmentName, type SealedSegment } from "./journal.js";
import { bodyPath, type Layout } from "./layout.js";
import { recordLimits } from "./options.js";
import { Recent } from "./recent.js";
import {
  type BodyLocation,
  SegmentIndex,
  SegmentIndexError,
  writeSegmentIndex,
} from "./segment-index.js";

export function indexName(segment: number): string {
  return `${String(segment).padStart(6, "0")}.idx`;
}

type Bodies = ReadonlyMap<string, BodyLocation>;

const segmentFilesMax = 64;
const locationsMax = 8_192;
const pieceOctets = 1024 * 1024;

export interface BodyStoreOptions {
  readonly disk: Disk;
  readonly layout: Layout;
  readonly log: Log;
  /** Scans a sealed segment for its bodies: for an index that is missing or damaged. */
  readonly scan: (segment: number) => Promise<Bodies>;
}

/**
 * Where every body of this node lies, and reading them. In memory: the bodies of the newest
 * segment, a Bloom filter of each sealed one, and some recent locations.
 */
export class BodyStore {
  /** Of the newest segment. */
  #active = new Map<string, BodyLocation>();
  /** Of segments whose index is not on disk yet, or cannot be. */
  readonly #unindexed = new Map<number, Bodies>();
  /** Newest first. */
  #sealed: { readonly segment: number; readonly index: SegmentIndex }[] = [];
  readonly #recent = new Recent<BodyLocation>(locationsMax);
  readonly #files = new Recent<DiskFile>(segmentFilesMax, (file) => file.close());
  /** Found damaged: as good as absent until they are written again. */
  readonly #corrupt = new Set<string>();
  /** Of bodies in files; settled when their names are on disk. At most 256. */
  readonly #directories = new Map<string, Promise<void>>();
  readonly #indexing = new Set<Promise<void>>();
  /** Digests that somebody asked for or referred to while a compaction runs. */
  watched: Set<string> | undefined;

  constructor(private readonly options: BodyStoreOptions) {}

  /** The node has the body (as far as it knows, whole). No waiting. */
  has(digest: string): boolean {
    this.watched?.add(digest);
    return !this.#corrupt.has(digest) && this.locate(digest) !== undefined;
  }

  /** Newest first: a body that was damaged and written again is found in its newer place. */
  locate(digest: string): BodyLocation | undefined {
    const near = this.#active.get(digest) ?? this.#recent.get(digest);
    if (near !== undefined) return near;
    const found = this.#locateSealed(digest);
    if (found !== undefined) this.#recent.set(digest, found);
    return found;
  }

  #locateSealed(digest: string): BodyLocation | undefined {
    let found: BodyLocation | undefined;
    for (const [segment, bodies] of this.#unindexed) {
      const location = bodies.get(digest);
      if (location !== undefined && segment >= (found?.segment ?? 0)) found = location;
    }
    const key = Buffer.from(digest, "hex");
    for (const { segment, index } of this.#sealed) {
      if (found !== undefined && found.segment > segment) break;
      try {
        const location = index.find(key);
        if (location !== undefined) return location;
      } catch (error) {
        if (!(error instanceof SegmentIndexError)) throw error;
        this.#reindex(segment);
      }
    }
    return found;
  }

  /** The bodies of a record that has become durable, or is replayed. */
  add(digest: string, location: BodyLocation): void {
    this.#active.set(digest, location);
    this.#recent.delete(digest);
    this.#corrupt.delete(digest);
  }

  /** The newest segment was sealed: its index is written in the background. */
  seal(sealed: SealedSegment): void {
    const bodies = this.#active;
    this.#active = new Map();
    this.#unindexed.set(sealed.segment, bodies);
    this.#inBackground(this.#writeIndex(sealed, bodies));
  }

  /** Takes up a segment that is sealed already. @returns false when its index must be rebuilt */
  openSealed({ segment, octets }: SealedSegment): boolean {
    const path = join(this.options.layout.journal, indexName(segment));
    const index = SegmentIndex.open(this.options.disk, path, segment, octets);
    if (index === undefined) return false;
    this.#sealed.push({ segment, index });
    this.#sealed.sort((a, b) => b.segment - a.segment);
    this.#unindexed.delete(segment);
    return true;
  }

  /** Takes up the bodies of a sealed segment that had to be scanned, and writes its index. */
  async adopt(sealed: SealedSegment, bodies: Bodies): Promise<void> {
    this.#unindexed.set(sealed.segment, bodies);
    await this.#writeIndex(sealed, bodies);
  }

  async #writeIndex(sealed: SealedSegment, bodies: Bodies): Promise<void> {
    const { disk, layout } = this.options;
    const path = join(layout.journal, indexName(sealed.segment));
    try {
      await writeSegmentIndex(disk, path, bodies, sealed.octets);
    } catch (error) {
      // The index can be rebuilt at any time; until then it stays in memory.
      this.options.log.warn({ err: error, segment: sealed.segment }, "an index was not written");
      return;
    }
    // Condemned meanwhile: then it is nobody's index.
    if (this.#unindexed.has(sealed.segment)) this.openSealed(sealed);
  }

  #reindex(segment: number): void {
    const damaged = this.#sealed.find((entry) => entry.segment === segment);
    if (damaged === undefined) return;
    this.options.log.warn({ segment }, "the index of a segment is damaged: rebuilding it");
    const octets = this.#file(segment).size();
    damaged.index.close();
    this.#sealed = this.#sealed.filter((entry) => entry !== damaged);
    this.#inBackground(
      this.options.scan(segment).then((bodies) => this.adopt({ segment, octets }, bodies)),
    );
  }

  #inBackground(task: Promise<void>): void {
    const logged = task.catch((error: unknown) => {
      this.options.log.error({ err: error }, "a segment could not be indexed");
    });
    this.#indexing.add(logged);
    void logged.then(() => this.#indexing.delete(logged)); // Never rejects.
  }

  /** Resolves when no index is being built. A body may be there although it was not found. */
  async indexed(): Promise<void> {
    while (this.#indexing.size > 0) await Promise.all(this.#indexing);
  }

  get indexing(): boolean {
    return this.#indexing.size > 0;
  }

  /** The segment is about to be deleted: nothing is looked up in it from now on. */
  forgetSegment(segment: number): void {
    this.#sealed.find((entry) => entry.segment === segment)?.index.close();
    this.#sealed = this.#sealed.filter((entry) => entry.segment !== segment);
    this.#unindexed.delete(segment);
    this.#recent.deleteWhere((location) => location.segment === segment);
    this.#files.delete(segmentName(segment));
  }

  #file(segment: number): DiskFile {
    const name = segmentName(segment);
    const known = this.#files.get(name);
    if (known !== undefined) return known;
    const file = this.options.disk.open(join(this.options.layout.journal, name), "read");
    this.#files.set(name, file);
    return file;
  }

  /** See `Store.readBody`. Inline bodies are read synchronously, see `disk.ts`. */
  async read(digest: BodyDigest, range?: BodyRange): Promise<Buffer | undefined> {
    let location = this.locate(digest);
    if (location === undefined && this.indexing) {
      await this.indexed();
      location = this.locate(digest);
    }
    if (location === undefined) return undefined;
    if (location.offset === undefined) return this.#readFile(digest, location.octets, range);
    let whole = this.#readInline(digest, location);
    if (whole === undefined && (await this.#indexWasWrong(location.segment))) {
      const right = this.locate(digest);
      whole = right === undefined ? undefined : this.#readInline(digest, right);
    }
    if (whole === undefined) throw this.#spoilt(digest);
    return range === undefined ? whole : whole.subarray(range.offset, range.offset + range.length);
  }

  /** Undefined when it does not match the digest. */
  #readInline(digest: BodyDigest, { segment, offset, octets }: BodyLocation): Buffer | undefined {
    if (offset === undefined || octets > recordLimits.bodyOctetsMax) return undefined;
    const whole = Buffer.allocUnsafe(octets);
    const got = this.#file(segment).readSync(whole, offset);
    return got === octets && hash("sha256", whole, "hex") === digest ? whole : undefined;
  }

  /** Checks the index that led to a wrong place, and rebuilds it when it is damaged. */
  async #indexWasWrong(segment: number): Promise<boolean> {
    try {
      this.#sealed.find((entry) => entry.segment === segment)?.index.verify();
      return false;
    } catch (error) {
      if (!(error instanceof SegmentIndexError)) throw error;
      this.#recent.deleteWhere((location) => location.segment === segment);
      this.#reindex(segment);
      await this.indexed();
      return true;
    }
  }

  #spoilt(digest: string): BodyCorruptError {
    this.#corrupt.add(digest);
    this.options.log.error({ digest }, "a body is damaged on disk; a replica has to heal it");
    return new BodyCorruptError(`body ${digest} does not match its SHA-256`);
  }

  async #readFile(digest: string, octets: number, range?: BodyRange): Promise<Buffer | undefined> {
    let file: DiskFile;
    try {
      file = this.options.disk.open(bodyPath(this.options.layout, digest), "read");
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
      this.#corrupt.add(digest);
      return undefined;
    }
    try {
      const from = Math.min(range?.offset ?? 0, octets);
      const length = Math.min(range?.length ?? octets, octets - from);
      const buffer = range?.into?.subarray(0, length) ?? Buffer.allocUnsafe(length);
      const isWhole = length === octets;
      const sum = createHash("sha256");
      for (let done = 0; done < length; ) {
        const piece = buffer.subarray(done, done + pieceOctets);
        const got = await file.read(piece, from + done);
        if (got === 0) throw this.#spoilt(digest);
        if (isWhole) sum.update(piece.subarray(0, got));
        done += got;
      }
      if (isWhole && sum.digest("hex") !== digest) throw this.#spoilt(digest);
      return buffer;
    } finally {
      file.close();
    }
  }

  /**
   * Moves a spooled file to its place and makes it durable there. The journal's record follows.
   * @throws Error when its size is not what was said; what `onSyncFailed` makes of a failed fsync
   */
  async takeFile(
    body: { readonly digest: string; readonly octets: number; readonly path: string },
    onSyncFailed: (error: unknown) => Error,
  ): Promise<void> {
    const { disk, layout } = this.options;
    const final = async (action: () => Promise<void>) => {
      try {
        await action();
      } catch (error) {
        throw onSyncFailed(error);
      }
    };
    const file = disk.open(body.path, "write");
    try {
      const size = file.size();
      if (size !== body.octets) {
        throw new Error(`the spooled body ${body.digest} has ${size} octets, not ${body.octets}`);
      }
      await final(() => file.sync());
    } finally {
      file.close();
    }
    const target = bodyPath(layout, body.digest);
    const directory = dirname(target);
    await this.#makeDirectory(directory, final);
    await disk.rename(body.path, target);
    await final(() => disk.syncDirectory(directory));
  }

  /**
   * Once for each directory, made now or not: who made it may have been killed before its name was
   * on disk. Who comes meanwhile waits too.
   */
  #makeDirectory(
    directory: string,
    final: (action: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    const { disk, layout } = this.options;
    const known = this.#directories.get(directory);
    if (known !== undefined) return known;
    const made = disk
      .mkdir(directory)
      .then(() => final(() => disk.syncDirectory(layout.bodies)))
      .catch((error: unknown) => {
        this.#directories.delete(directory);
        throw error;
      });
    this.#directories.set(directory, made);
    return made;
  }

  async close(): Promise<void> {
    await this.indexed();
    for (const { index } of this.#sealed) index.close();
    this.#files.clear();
  }
}
