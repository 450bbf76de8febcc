import { hash } from "node:crypto";
import { type Floor, isSunk } from "../shared/floor.js";
import type { MessageId } from "../shared/ids.js";
import type { Tombstone } from "../shared/operation.js";
import type { ViewDocument } from "./view-file.js";

const idOctets = 16;
const packPrefix = "p";
/** What a pack takes in memory, its document included, in documents of a message or tombstone. */
const packedPerDocument = 16;

const isPackable = ({ id, fingerprint }: Tombstone): boolean =>
  fingerprint === undefined && /^[0-9a-f]{32}$/.test(id);

/** Sorted ids, side by side. Immutable. */
class Pack {
  readonly first: string;
  readonly last: string;

  constructor(
    readonly ids: Buffer,
    /** Of the one that was removed last: nothing depends on the others' times. */
    readonly removedAtMs: number,
    /** Of its document. By what is in it: a part of a pack may begin as the whole did. */
    readonly name = `${packPrefix}${ids.toString("hex", 0, idOctets)}${hash("sha256", ids).slice(0, 16)}`,
  ) {
    this.first = this.idAt(0);
    this.last = this.idAt(this.size - 1);
  }

  get size(): number {
    return this.ids.length / idOctets;
  }

  idAt(index: number): MessageId {
    return this.ids.toString("hex", index * idOctets, (index + 1) * idOctets) as MessageId;
  }

  has(id: string): boolean {
    if (id < this.first || id > this.last) return false;
    const wanted = Buffer.from(id, "hex");
    let [low, high] = [0, this.size];
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = middle * idOctets;
      const order = this.ids.compare(wanted, 0, idOctets, at, at + idOctets);
      if (order === 0) return true;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return false;
  }

  *tombstones(): Iterable<Tombstone> {
    for (let index = 0; index < this.size; index += 1) {
      yield { id: this.idAt(index), removedAtMs: this.removedAtMs };
    }
  }

  toDocument(): ViewDocument {
    return {
      _id: this.name,
      v: `${this.removedAtMs} ${this.ids.toString("base64")}`,
    };
  }
}

export const isPack = ({ _id }: ViewDocument): boolean => _id.startsWith(packPrefix);

function packOf({ _id, v }: ViewDocument): Pack {
  const space = v.indexOf(" ");
  return new Pack(Buffer.from(v.slice(space + 1), "base64"), Number(v.slice(0, space)), _id);
}

/** What a floor has done to tombstones. */
interface Forgotten {
  /** Those that were there one by one. */
  readonly singles: readonly MessageId[];
  readonly packed: readonly MessageId[];
  /** Documents of packs that are no more. */
  readonly documents: readonly string[];
  /** What else was in these, one by one now. */
  readonly kept: readonly Tombstone[];
}

/**
 * What was removed from one mailbox. That is not forgotten before a floor says so, and a queue removes as
 * many messages as pass through it: so those of which no more than the id is known are packed, and take
 * a tenth of the room.
 */
export class Tombstones {
  readonly #single = new Map<string, Tombstone>();
  #packable = 0;
  #packs: Pack[] = [];
  #packed = 0;
  #lastPacked = "";

  /** `perPack`: ids of one pack. Its document is a line of the view file. */
  constructor(private readonly perPack: number) {}

  get size(): number {
    return this.#single.size + this.#packed;
  }

  /** What they take in memory, in documents. */
  get documents(): number {
    return this.#single.size + Math.ceil(this.#packed / packedPerDocument);
  }

  has(id: string): boolean {
    if (this.#single.has(id)) return true;
    return id <= this.#lastPacked && this.#packs.some((pack) => pack.has(id));
  }

  /** The caller knows that it is new. */
  add(tombstone: Tombstone): void {
    this.#single.set(tombstone.id, tombstone);
    if (isPackable(tombstone)) this.#packable += 1;
  }

  /** Packs what there are enough of. Answers the documents, and the ids that are in them. */
  pack(): { documents: ViewDocument[]; ids: string[] } {
    const documents: ViewDocument[] = [];
    const ids: string[] = [];
    if (this.#packable < this.perPack) return { documents, ids };
    const packable = [...this.#single.values()].filter(isPackable);
    packable.sort((a, b) => (a.id < b.id ? -1 : 1));
    for (let at = 0; at + this.perPack <= packable.length; at += this.perPack) {
      const some = packable.slice(at, at + this.perPack);
      const octets = Buffer.from(some.map(({ id }) => id).join(""), "hex");
      const removedAtMs = some.reduce((latest, each) => Math.max(latest, each.removedAtMs), 0);
      const pack = new Pack(octets, removedAtMs);
      this.#keep(pack);
      documents.push(pack.toDocument());
      for (const { id } of some) {
        this.#single.delete(id);
        ids.push(id);
      }
      this.#packable -= some.length;
    }
    return { documents, ids };
  }

  /** Forgets what is below the floor and not spared. */
  forget(floor: Floor): Forgotten {
    const singles: MessageId[] = [];
    const packed: MessageId[] = [];
    const documents: string[] = [];
    const kept: Tombstone[] = [];
    for (const [id, tombstone] of this.#single) {
      if (!isSunk(floor, tombstone.id)) continue;
      this.#single.delete(id);
      if (isPackable(tombstone)) this.#packable -= 1;
      singles.push(tombstone.id);
    }
    const packs = this.#packs;
    this.#packs = [];
    this.#packed = 0;
    this.#lastPacked = "";
    for (const pack of packs) {
      const all = pack.first < floor.below ? [...pack.tombstones()] : [];
      const sunk = all.filter(({ id }) => isSunk(floor, id));
      if (sunk.length === 0) {
        this.#keep(pack);
        continue;
      }
      documents.push(pack.name);
      for (const { id } of sunk) packed.push(id);
      kept.push(...all.filter(({ id }) => !isSunk(floor, id)));
    }
    for (const tombstone of kept) this.add(tombstone);
    return { singles, packed, documents, kept };
  }

  #keep(pack: Pack): void {
    this.#packs.push(pack);
    this.#packed += pack.size;
    if (pack.last > this.#lastPacked) this.#lastPacked = pack.last;
  }

  /**
   * Takes a pack from the view file. Answers which of its ids are new; and those that were there one
   * by one, whose documents a crash has left behind.
   */
  load(document: ViewDocument): { fresh: string[]; repeated: string[] } {
    const pack = packOf(document);
    const fresh: string[] = [];
    const repeated: string[] = [];
    for (let index = 0; index < pack.size; index += 1) {
      const id = pack.idAt(index);
      const single = this.#single.get(id);
      if (single === undefined) fresh.push(id);
      else {
        repeated.push(id);
        this.#single.delete(id);
        if (isPackable(single)) this.#packable -= 1;
      }
    }
    this.#keep(pack);
    return { fresh, repeated };
  }

  /** All as they are now; made when they are asked for. */
  snapshot(): () => readonly Tombstone[] {
    const packs = [...this.#packs];
    const single = [...this.#single.values()];
    let made: readonly Tombstone[] | undefined;
    return () => (made ??= [...packs.flatMap((pack) => [...pack.tombstones()]), ...single]);
  }
}
