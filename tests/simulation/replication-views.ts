/**
 * The view files of the simulation: what is in place of nedb, which reads and writes past any port.
 * It writes the same kind of file (a line for each document or deletion, a CRC in front) on the
 * simulated disk, so it loses and tears what was not synced just as nedb's files do. Real is all
 * that decides by these files: catalog, checkpoint, flushing, closing, checking and rebuilding of
 * views. Not real is nedb itself: its own parser, and what it keeps in memory.
 */
import { crc32 } from "node:zlib";
import { errorCode, replaceFile, unlinkIfThere, writeFully } from "../../src/shared/disk.js";
import type { SimulatedDisk } from "../../src/store/simulated-disk.js";
import type { LoadedView, ViewDocument, ViewFile, ViewFiles } from "../../src/store/view-file.js";

type Line = ViewDocument | { readonly _id: string; readonly gone: true };

function toText(line: Line): string {
  const json = JSON.stringify(line);
  return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`;
}

function fromText(text: string): Line | undefined {
  const json = text.slice(9);
  const isSound = Number.parseInt(text.slice(0, 8), 16) === crc32(json);
  return isSound ? (JSON.parse(json) as Line) : undefined;
}

class SimulatedViewFile implements ViewFile {
  #documents: Map<string, ViewDocument> | undefined;
  #lines = 0;
  #octets = 0;
  #count = 0;
  #rewriteNeeded = false;

  constructor(
    private readonly disk: SimulatedDisk,
    readonly path: string,
  ) {}

  get documents(): number {
    return this.#count;
  }

  async load(): Promise<LoadedView> {
    const documents = new Map<string, ViewDocument>();
    let soundOctets = 0;
    let broken = 0;
    let damaged = false;
    this.#lines = 0;
    const content = this.disk.exists(this.path) ? this.disk.contentOf(this.path) : Buffer.alloc(0);
    for (const text of content.toString("utf8").split("\n")) {
      if (text === "") continue;
      this.#lines += 1;
      const line = fromText(text);
      if (line === undefined) broken += 1;
      else if (broken > 0) damaged = true;
      else soundOctets += Buffer.byteLength(text) + 1;
      if (line === undefined) continue;
      if ("gone" in line) documents.delete(line._id);
      else documents.set(line._id, line);
    }
    this.#documents = documents;
    this.#count = documents.size;
    this.#octets = content.length;
    this.#rewriteNeeded = broken > 0;
    return { documents: [...documents.values()], damaged, soundOctets };
  }

  async change(added: ViewDocument[], removed: string[]): Promise<void> {
    if (this.#documents === undefined) await this.load();
    const documents = this.#documents ?? new Map<string, ViewDocument>();
    const fresh = added.filter(({ _id }) => !documents.has(_id));
    try {
      if (this.#rewriteNeeded) await this.#rewrite(documents);
      const gone = removed.filter((id) => documents.has(id) || fresh.some(({ _id }) => _id === id));
      const lines: Line[] = [...fresh, ...gone.map((_id) => ({ _id, gone: true as const }))];
      if (lines.length > 0) await this.#append(lines);
      for (const document of fresh) documents.set(document._id, document);
      for (const id of gone) documents.delete(id);
      this.#count = documents.size;
    } catch (error) {
      // Memory and file may differ now: start again from the file.
      this.#documents = undefined;
      throw error;
    }
  }

  async #append(lines: readonly Line[]): Promise<void> {
    const { disk, path } = this;
    const octets = Buffer.from(lines.map(toText).join(""));
    const file = disk.open(path, disk.exists(path) ? "write" : "create");
    try {
      await writeFully(file, [octets], this.#octets);
    } finally {
      file.close();
    }
    this.#octets += octets.length;
    this.#lines += lines.length;
  }

  async #rewrite(documents: ReadonlyMap<string, ViewDocument>): Promise<void> {
    const octets = Buffer.from([...documents.values()].map(toText).join(""));
    await replaceFile(this.disk, this.path, octets);
    this.#octets = octets.length;
    this.#lines = documents.size;
    this.#rewriteNeeded = false;
  }

  async tidy(): Promise<void> {
    const documents = this.#documents;
    if (documents === undefined || this.#lines < 20 || this.#lines < 2 * documents.size) return;
    await this.#rewrite(documents);
  }

  async replace(documents: ViewDocument[]): Promise<void> {
    if (documents.length === 0) return;
    await this.change(
      [],
      documents.map(({ _id }) => _id),
    );
    await this.change(documents, []);
    await this.tidy();
  }

  sync(): Promise<number> {
    return syncView(this.disk, this.path);
  }

  close(): void {
    this.#documents = undefined;
  }

  async unlink(): Promise<void> {
    this.#documents = undefined;
    await unlinkIfThere(this.disk, this.path);
  }
}

async function syncView(disk: SimulatedDisk, path: string): Promise<number> {
  let octets = 0;
  try {
    const file = disk.open(path, "read");
    octets = file.size();
    await file.sync();
    file.close();
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
  await disk.syncDirectory(path.slice(0, path.lastIndexOf("/")));
  return octets;
}

export const simulatedViews = (disk: SimulatedDisk): ViewFiles => ({
  at: (path) => new SimulatedViewFile(disk, path),
  sync: (path) => syncView(disk, path),
});
