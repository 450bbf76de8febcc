import { type Floor, isSunk } from "../shared/floor.js";
import type { MessageId } from "../shared/ids.js";
import type { StoredMessage, Tombstone } from "../shared/operation.js";
import type { MailboxContents } from "../replication/ports.js";
import type { StoreLimits } from "./options.js";
import { isPack, Tombstones } from "./tombstones.js";
import { share, summaryOf, type Totals } from "./totals.js";
import {
  floorOf,
  floorPrefix,
  isFloor,
  tombstonePrefix,
  toText,
  toTombstone,
} from "./view-documents.js";
import { isMark, type ViewDocument } from "./view-file.js";

interface Entry {
  readonly json: string;
  readonly octets: number;
  /** Parsed when somebody reads the mailbox. */
  message: StoredMessage | undefined;
}

/** Documents that are taken in without a break. */
const stepDocuments = 1_000;

function parse(entry: Entry): StoredMessage {
  entry.message ??= JSON.parse(entry.json) as StoredMessage;
  return entry.message;
}

/**
 * A mailbox in memory: a grow-only set of messages, a grow-only set of tombstones that win, and a floor that
 * only rises and wins over both.
 */
export class MailboxModel {
  readonly #live = new Map<string, Entry>();
  readonly #removed: Tombstones;
  #digest = 0n;
  #octets = 0;
  #floor: Floor | undefined;
  #contents: MailboxContents | undefined;
  /** Changes that the view file does not have yet. */
  #unwritten: ViewDocument[] = [];
  #unremoved: string[] = [];

  constructor({ tombstonesPerPack }: Pick<StoreLimits, "tombstonesPerPack">) {
    this.#removed = new Tombstones(tombstonesPerPack);
  }

  get documents(): number {
    return this.#live.size + this.#removed.documents;
  }

  get unwritten(): number {
    return this.#unwritten.length + this.#unremoved.length;
  }

  get totals(): Totals {
    return {
      digest: this.#digest,
      messages: this.#live.size,
      tombstones: this.#removed.size,
      octets: this.#octets,
    };
  }

  get floor(): Floor | undefined {
    return this.#floor;
  }

  stateOf(id: MessageId): "live" | "removed" | "unknown" {
    if (this.#removed.has(id) || isSunk(this.#floor, id)) return "removed";
    return this.#live.has(id) ? "live" : "unknown";
  }

  /** Adds a message; nothing happens when it is there or was removed. */
  add(message: StoredMessage): void {
    const { id } = message;
    if (this.stateOf(id) !== "unknown") return;
    const json = JSON.stringify(message);
    const octets = message.bodyOctets + Buffer.byteLength(message.trace);
    this.#insert(id, json, octets);
    this.#unwritten.push({ _id: id, v: json, n: octets });
  }

  /** Removes for ever. Returns the message that this ended, if it was there. */
  remove(tombstone: Tombstone): readonly StoredMessage[] | undefined {
    const { id } = tombstone;
    if (this.stateOf(id) === "removed") return undefined;
    const ended = this.#bury(tombstone);
    this.#unwritten.push({ _id: tombstonePrefix + id, v: toText(tombstone) });
    if (ended !== undefined) this.#unremoved.push(id);
    return ended === undefined ? undefined : [parse(ended)];
  }

  /** What is below and not spared goes, tombstones too. Returns the messages that this ended. */
  raise(floor: Floor): readonly StoredMessage[] {
    const before = this.#floor;
    if (before !== undefined && floor.below <= before.below) return [];
    this.#setFloor(floor);
    if (before !== undefined) this.#retract([floorPrefix + before.below]);
    this.#unwritten.push({ _id: floorPrefix + floor.below, v: floor.spared });
    return this.#sink(floor);
  }

  #setFloor(floor: Floor): void {
    if (this.#floor !== undefined) this.#digest -= share(this.#floor.below, "floor");
    this.#digest = BigInt.asUintN(128, this.#digest + share(floor.below, "floor"));
    this.#floor = floor;
    this.#contents = undefined;
  }

  #sink(floor: Floor): readonly StoredMessage[] {
    const ended: StoredMessage[] = [];
    for (const [id, entry] of this.#live) {
      if (!isSunk(floor, id as MessageId)) continue;
      ended.push(parse(entry));
      this.#live.delete(id);
      this.#digest -= share(id, "live");
      this.#octets -= entry.octets;
    }
    const { singles, packed, documents, kept } = this.#removed.forget(floor);
    for (const id of [...singles, ...packed]) this.#digest -= share(id, "removed");
    this.#digest = BigInt.asUintN(128, this.#digest);
    this.#contents = undefined;
    const tombstones = singles.map((id) => tombstonePrefix + id);
    this.#retract([...ended.map(({ id }) => id), ...tombstones, ...documents]);
    this.#putSingly(kept);
    return ended;
  }

  /** Those of these documents that are in the file are removed from it; others never get there. */
  #retract(ids: readonly string[]): void {
    const gone = new Set(ids);
    this.#unwritten = this.#unwritten.filter(({ _id }) => !gone.delete(_id));
    for (const id of gone) this.#unremoved.push(id);
  }

  /** What was in a pack that is given up. */
  #putSingly(tombstones: readonly Tombstone[]): void {
    const documents = new Map(
      tombstones.map((each) => [
        tombstonePrefix + each.id,
        { _id: tombstonePrefix + each.id, v: toText(each) },
      ]),
    );
    // Packed, and not taken out of the file yet: it stays there.
    this.#unremoved = this.#unremoved.filter((id) => !documents.delete(id));
    this.#unwritten.push(...documents.values());
  }

  /** Puts what the view file has. Pauses after each step: the caller gives others a turn. */
  *load(documents: readonly ViewDocument[]): Generator<void, void> {
    for (const [index, document] of documents.entries()) {
      const { _id, v, n } = document;
      if (isMark(document)) continue;
      if (isFloor(document)) {
        this.#loadFloor(document);
        continue;
      }
      if (isPack(document)) {
        this.#loadPack(document);
        yield;
      } else if (_id.startsWith(tombstonePrefix)) this.#loadTombstone(_id, v);
      else if (!this.#removed.has(_id)) this.#insert(_id, v, n ?? 0);
      if (index % stepDocuments === stepDocuments - 1) yield;
    }
    // What a crash has left behind.
    if (this.#floor !== undefined) this.#sink(this.#floor);
  }

  #loadFloor(document: ViewDocument): void {
    const floor = floorOf(document);
    const known = this.#floor;
    const isHigher = known === undefined || floor.below > known.below;
    if (isHigher) this.#setFloor(floor);
    const lower = isHigher ? known : floor;
    if (lower !== undefined) this.#unremoved.push(floorPrefix + lower.below);
  }

  #loadTombstone(_id: string, v: string): void {
    const tombstone = toTombstone(_id.slice(tombstonePrefix.length), v);
    // A crash between the two: it is in a pack, too.
    if (this.#removed.has(tombstone.id)) this.#unremoved.push(_id);
    else this.#bury(tombstone);
  }

  #loadPack(document: ViewDocument): void {
    const { fresh, repeated } = this.#removed.load(document);
    for (const id of fresh) this.#end(id);
    for (const id of repeated) this.#unremoved.push(tombstonePrefix + id);
    this.#contents = undefined;
  }

  /** Does ahead, in steps as `load`, what would make `contents` of a large mailbox slow. */
  *prepare(): Generator<void, void> {
    if (this.#contents !== undefined) return;
    let parsed = 0;
    for (const entry of this.#live.values()) {
      if (entry.message !== undefined) continue;
      parse(entry);
      parsed += 1;
      if (parsed % stepDocuments === 0) yield;
    }
  }

  #insert(id: string, json: string, octets: number): void {
    this.#live.set(id, { json, octets, message: undefined });
    this.#digest = BigInt.asUintN(128, this.#digest + share(id, "live"));
    this.#octets += octets;
    this.#contents = undefined;
  }

  #bury(tombstone: Tombstone): Entry | undefined {
    this.#removed.add(tombstone);
    this.#contents = undefined;
    return this.#end(tombstone.id);
  }

  /** What follows from a new tombstone. Answers what it has ended. */
  #end(id: string): Entry | undefined {
    const entry = this.#live.get(id);
    if (entry !== undefined) {
      this.#live.delete(id);
      this.#digest -= share(id, "live");
      this.#octets -= entry.octets;
    }
    this.#digest = BigInt.asUintN(128, this.#digest + share(id, "removed"));
    return entry;
  }

  /** All of it, kept until the next change, so that reading an open mailbox is cheap. */
  contents(): MailboxContents {
    if (this.#contents !== undefined) return this.#contents;
    const tombstones = this.#removed.snapshot();
    this.#contents = {
      messages: [...this.#live.values()].map(parse).sort((a, b) => (a.id < b.id ? -1 : 1)),
      // There may be very many, and who looks at messages only does not need them.
      get tombstones() {
        return tombstones();
      },
      floor: this.#floor,
      summary: summaryOf(this.totals),
    };
    return this.#contents;
  }

  /** Digests of the bodies of all live messages. Keeps nothing parsed: it is for sweeps. */
  *bodies(): Iterable<string> {
    for (const { message, json } of this.#live.values()) {
      yield (message ?? (JSON.parse(json) as StoredMessage)).digest;
    }
  }

  /** Takes the changes that are to be written; they count as unwritten again after `putBack`. */
  takeUnwritten(): { added: ViewDocument[]; removed: string[] } {
    this.#pack();
    const taken = { added: this.#unwritten, removed: this.#unremoved };
    this.#unwritten = [];
    this.#unremoved = [];
    return taken;
  }

  /** Documents of tombstones give way to those of packs. */
  #pack(): void {
    const { documents, ids } = this.#removed.pack();
    if (documents.length === 0) return;
    const packed = new Set(ids.map((id) => tombstonePrefix + id));
    const unwritten: ViewDocument[] = [];
    for (const document of this.#unwritten) {
      // Neither in the file nor to be written.
      if (!packed.delete(document._id)) unwritten.push(document);
    }
    this.#unwritten = [...unwritten, ...documents];
    this.#unremoved.push(...packed);
  }

  putBack(taken: { added: ViewDocument[]; removed: string[] }): void {
    this.#unwritten = [...taken.added, ...this.#unwritten];
    this.#unremoved = [...taken.removed, ...this.#unremoved];
  }
}
