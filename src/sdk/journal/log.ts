/**
 * An append-only file of records. What is appended in one turn of the event loop, or while the disk is
 * busy, shares one write and one fsync; promises resolve after it, in order.
 *
 *   file   := "EBMJ" · salt (4) · record*
 *   record := magic (4) · CRC32 of the rest, begun with the salt (4) · octets of content (4)
 *             · how much of the file was durable when this was written (8) · content
 *
 * A record that does not fit its CRC ends the file: the tail of a write that never finished. Unless a record
 * behind it says that this place had been durable: then the disk has lost something, and that is told.
 */
import { crc32 } from "node:zlib";
import type { JournalFile, JournalFiles } from "./ports.js";

const fileMagic = Buffer.from("EBMJ");
const fileHeaderOctets = 8;
const magic = Buffer.from([0xe7, 0x4a, 0x52, 0x31]);
const prefixOctets = 20;
/** Read at a time when a log is opened. */
const contentOctetsMax = 64 * 1024 * 1024;

interface Append {
  readonly content: readonly Buffer[];
  readonly settle: (error?: Error) => void;
}

export interface LogOptions {
  readonly files: JournalFiles;
  readonly directory: string;
  readonly salt: () => number;
  /** What a new file has to begin with, for all that was appended up to now. */
  readonly snapshot: () => Iterable<readonly Buffer[]>;
  readonly compactFromOctets: number;
  readonly onFailure: (error: Error) => void;
}

export class Log {
  #queue: Append[] = [];
  #isBusy = false;
  #failure: Error | undefined;
  #compactAt: number;
  #idle: (() => void)[] = [];

  private constructor(
    private readonly options: LogOptions,
    private file: JournalFile,
    private salt: number,
    private octets: number,
    snapshotOctets: number,
  ) {
    this.#compactAt = Math.max(options.compactFromOctets, 2 * snapshotOctets);
  }

  /** @throws Error when the file is damaged */
  static async open(options: LogOptions, replay: (content: Buffer) => void): Promise<Log> {
    const { files, directory } = options;
    const path = pathOf(directory);
    // What a crash left of an unfinished compaction.
    if (files.exists(`${path}.new`)) await files.unlink(`${path}.new`);
    if (!files.exists(path)) return create(options);
    const file = files.open(path, "write");
    const header = Buffer.alloc(fileHeaderOctets);
    const got = await file.read(header, 0);
    if (got < fileHeaderOctets || !header.subarray(0, 4).equals(fileMagic)) {
      file.close();
      throw new Error(`${path} is not a journal of this program`);
    }
    const salt = header.readUInt32BE(4);
    const { end, snapshotEnd } = await scan(file, salt, replay).catch((error: unknown) => {
      file.close();
      throw error;
    });
    if (end < file.size()) {
      await file.truncate(end);
      await file.sync();
    }
    return new Log(options, file, salt, end, snapshotEnd);

    async function create(of: LogOptions): Promise<Log> {
      const made = await writeNew(of);
      return new Log(of, made.file, made.salt, made.octets, made.octets);
    }
  }

  /** Resolves when it is durable. */
  append(content: readonly Buffer[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      this.#queue.push({ content, settle: (error) => (error ? reject(error) : resolve()) });
      this.#wake();
    });
  }

  async close(): Promise<void> {
    if (this.#isBusy) await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#failure ??= new Error("the journal is closed");
    this.file.close();
  }

  #wake(): void {
    if (this.#isBusy) return;
    this.#isBusy = true;
    // The next turn of microtasks, so that all that this turn appends shares the fsync.
    void Promise.resolve().then(() => this.#run());
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      try {
        if (this.#failure) throw this.#failure;
        await this.#commit(batch);
        for (const { settle } of batch) settle();
      } catch (error) {
        this.#fail(error, batch);
      }
    }
    this.#isBusy = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** After a failed write or fsync nobody knows what is on disk: nothing is promised any more. */
  #fail(error: unknown, batch: readonly Append[]): void {
    const failure = error instanceof Error ? error : new Error(String(error));
    if (!this.#failure) {
      this.#failure = failure;
      this.options.onFailure(failure);
    }
    for (const { settle } of batch) settle(this.#failure);
  }

  async #commit(batch: readonly Append[]): Promise<void> {
    const contents = batch.map(({ content }) => content);
    const octets = contents.reduce((sum, content) => sum + prefixOctets + octetsOf(content), 0);
    if (this.octets + octets > this.#compactAt) return this.#compact();
    await writeFully(this.file, [encode(contents, this.salt, this.octets)], this.octets);
    await this.file.sync();
    this.octets += octets;
  }

  /**
   * The snapshot is of this moment: it has this batch and all before it, and nothing of what is
   * appended while it is written, since records are applied when they are appended.
   */
  async #compact(): Promise<void> {
    const made = await writeNew(this.options);
    this.file.close();
    this.file = made.file;
    this.salt = made.salt;
    this.octets = made.octets;
    this.#compactAt = Math.max(this.options.compactFromOctets, 2 * made.octets);
  }
}

const pathOf = (directory: string): string => `${directory}/journal`;

async function writeNew({ files, directory, salt: chooseSalt, snapshot }: LogOptions) {
  const path = pathOf(directory);
  const salt = chooseSalt() >>> 0;
  const header = Buffer.alloc(fileHeaderOctets);
  fileMagic.copy(header);
  header.writeUInt32BE(salt, 4);
  const records = [...snapshot()].map((content) => encode([content], salt, 0));
  const file = files.open(`${path}.new`, "create");
  await writeFully(file, [header, ...records], 0);
  await file.sync();
  await files.rename(`${path}.new`, path);
  await files.syncDirectory(directory);
  return { file, salt, octets: fileHeaderOctets + octetsOf(records) };
}

/** Records one behind the other. */
function encode(contents: readonly (readonly Buffer[])[], salt: number, durable: number): Buffer {
  const octets = contents.reduce((sum, content) => sum + prefixOctets + octetsOf(content), 0);
  const records = Buffer.allocUnsafe(octets);
  let at = 0;
  for (const content of contents) {
    const from = at;
    at += prefixOctets;
    for (const part of content) at += part.copy(records, at);
    magic.copy(records, from);
    records.writeUInt32BE(at - from - prefixOctets, from + 8);
    records.writeUInt32BE(Math.floor(durable / 2 ** 32), from + 12);
    records.writeUInt32BE(durable % 2 ** 32, from + 16);
    records.writeUInt32BE(crc32(records.subarray(from + 8, at), salt), from + 4);
  }
  return records;
}

/** Where the sound part ends, and in it what the file began with. @throws Error when something durable is damaged */
async function scan(file: JournalFile, salt: number, replay: (content: Buffer) => void) {
  const size = file.size();
  let end = fileHeaderOctets;
  let snapshotEnd = end;
  for (;;) {
    const record = await recordAt(file, salt, end, size);
    if (!record) break;
    replay(record.content);
    end += prefixOctets + record.content.length;
    // When it was written, there was no file.
    if (record.durable === 0) snapshotEnd = end;
  }
  await refuseDamage(file, salt, end, size);
  return { end, snapshotEnd };
}

async function recordAt(file: JournalFile, salt: number, at: number, size: number) {
  if (at + prefixOctets > size) return undefined;
  const prefix = await readExactly(file, at, prefixOctets);
  if (!prefix?.subarray(0, 4).equals(magic)) return undefined;
  const octets = prefix.readUInt32BE(8);
  if (octets > contentOctetsMax || at + prefixOctets + octets > size) return undefined;
  const content = await readExactly(file, at + prefixOctets, octets);
  if (!content) return undefined;
  const sum = crc32(content, crc32(prefix.subarray(8), salt));
  if (sum !== prefix.readUInt32BE(4)) return undefined;
  return { content, durable: Number(prefix.readBigUInt64BE(12)) };
}

async function refuseDamage(file: JournalFile, salt: number, end: number, size: number) {
  const stepOctets = 1024 * 1024;
  for (let from = end + 1; from < size; from += stepOctets) {
    // A little more, for a magic that lies across the step.
    const octets = Math.min(stepOctets + magic.length - 1, size - from);
    const window = (await readExactly(file, from, octets)) ?? Buffer.alloc(0);
    for (let at = window.indexOf(magic); at >= 0; at = window.indexOf(magic, at + 1)) {
      const record = await recordAt(file, salt, from + at, size);
      if (record && record.durable > end) {
        throw new Error(
          `the journal is damaged at octet ${end}, in front of records that are sound`,
        );
      }
    }
  }
}

async function readExactly(file: JournalFile, at: number, octets: number) {
  const into = Buffer.allocUnsafe(octets);
  for (let done = 0; done < octets; ) {
    const got = await file.read(into.subarray(done), at + done);
    if (got === 0) return undefined;
    done += got;
  }
  return into;
}

/** Continues after short writes until the disk refuses. */
export async function writeFully(file: JournalFile, buffers: readonly Buffer[], position: number) {
  const octets = octetsOf(buffers);
  let done = await file.writev(buffers, position);
  if (done === octets) return;
  const whole = Buffer.concat(buffers);
  while (done < octets) {
    const written = await file.writev([whole.subarray(done)], position + done);
    if (written === 0) throw new Error("a write made no progress: is the disk full?");
    done += written;
  }
}

const octetsOf = (buffers: readonly Buffer[]): number =>
  buffers.reduce((sum, { length }) => sum + length, 0);
