/** Entries of a broker's queues: kept by the broker until settled, known here by what was consumed. */
import { createHash } from "node:crypto";
import type { DataFrame, Origin } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { Intervals } from "../journal/intervals.js";
import type { Journal } from "../journal/journal.js";
import { streamKey } from "../journal/in-state.js";
import type { InboundMessage, Received, Shown } from "./ports.js";

/** `key`: where it is noted when it is consumed. */
interface EntryMessage extends InboundMessage {
  readonly key: string;
}

/** A message that came in blocks, each in an entry of its own. */
interface Pieces {
  readonly message: InboundMessage;
  /** What its sender says of it: not believed when it comes to memory. */
  readonly size: number;
  readonly blocks: { readonly offset: number; readonly octets: Buffer }[];
  /** Octets that are there, counted from 1. */
  readonly have: Intervals;
  /** Of the whole message; not every block has it. */
  digest: string | undefined;
}

/** Messages of an entry, in order. */
class Parts {
  readonly #whole = new Set<InboundMessage>();
  readonly #waiting = new Set<InboundMessage>();
  readonly #over = new Set<InboundMessage>();

  addOver(message: InboundMessage): void {
    this.#waiting.delete(message);
    this.#over.add(message);
  }

  add(message: InboundMessage, isWhole: boolean): void {
    if (isWhole) this.#waiting.delete(message);
    else if (this.#whole.has(message)) return;
    (isWhole ? this.#whole : this.#waiting).add(message);
  }

  get shown(): Shown {
    const shown = { messages: [...this.#whole], waiting: [...this.#waiting] };
    return this.#over.size === 0 ? shown : { ...shown, over: [...this.#over] };
  }
}

export class Entries {
  /** By queue, stream and sequence: what is not whole yet. */
  readonly #pieces = new Map<string, Pieces>();

  constructor(private readonly journal: Journal) {}

  take(queue: string, frames: readonly DataFrame[]): Received {
    const all = new Parts();
    /** Of a mail that was pushed, by the entry that each frame is of. */
    const pushed = new Map<string, Parts>();
    for (const frame of frames) {
      const { origin, properties, offset, size, octets, entry } = frame;
      if (origin === undefined || properties === undefined || offset + octets.length > size) {
        return { kind: "dead", why: "an entry of a queue that can't be understood" };
      }
      const ofEntry = entry === undefined ? undefined : (pushed.get(entry) ?? new Parts());
      if (entry !== undefined && ofEntry !== undefined) pushed.set(entry, ofEntry);
      const key = `${queue}\n${streamKey(origin, frame.stream)}`;
      if (this.journal.state.entries.get(key)?.has(frame.sequence)) continue;
      if (frame.void === true) {
        const over = this.#over({ queue, key, frame, origin });
        all.addOver(over);
        ofEntry?.addOver(over);
        continue;
      }
      const { message, isWhole } = this.#part({ queue, key, frame, origin });
      all.add(message, isWhole);
      ofEntry?.add(message, isWhole);
    }
    const shown = { kind: "entry" as const, queue, ...all.shown };
    if (pushed.size === 0) return shown;
    return { ...shown, pushed: [...pushed].map(([entry, own]) => ({ entry, ...own.shown })) };
  }

  /** Also when none of its blocks has come yet: those that do are passed over. */
  #over(of: Place): InboundMessage {
    const known = this.#pieces.get(`${of.key} ${of.frame.sequence}`);
    return known?.message ?? this.#make(of, () => Buffer.alloc(0));
  }

  #part(of: Place): { message: InboundMessage; isWhole: boolean } {
    const { octets, size } = of.frame;
    if (octets.length < size) return this.#piece(of);
    const body = Buffer.from(octets);
    return { message: this.#make(of, () => body), isWhole: true };
  }

  #piece(of: Place): { message: InboundMessage; isWhole: boolean } {
    const { key, frame } = of;
    const { sequence, size, offset, octets, digest } = frame;
    const name = `${key} ${sequence}`;
    const known = this.#pieces.get(name);
    const pieces = known?.size === size ? known : this.#begin(of);
    this.#pieces.set(name, pieces);
    pieces.digest ??= digest;
    if (pieces.have.add(offset + 1, offset + octets.length) > 0) {
      pieces.blocks.push({ offset, octets: Buffer.from(octets) });
    }
    const isWhole = pieces.have.covers(1, size);
    // Should it be shown once more, to another consumer, it is put together anew.
    if (isWhole) this.#pieces.delete(name);
    return { message: pieces.message, isWhole };
  }

  #begin(of: Place): Pieces {
    const { size } = of.frame;
    const pieces: Pieces = {
      message: this.#make(of, () => whole(pieces)),
      ...{ size, blocks: [], have: new Intervals(), digest: undefined },
    };
    return pieces;
  }

  #make({ queue, key, frame, origin }: Place, read: () => Buffer): InboundMessage {
    const { stream, sequence, id, size, properties = { sentAtMs: 0 }, redelivered = 0 } = frame;
    const message: EntryMessage = {
      key,
      origin,
      stream,
      sequence,
      id,
      properties,
      redelivered,
      queue,
      octets: size,
      body: async () => read(),
    };
    return message;
  }

  /** False when it is no entry. */
  async consume(message: InboundMessage): Promise<boolean> {
    if (!("key" in message)) return false;
    const { key } = message as EntryMessage;
    const { sequence } = message;
    this.#pieces.delete(`${key} ${sequence}`);
    await this.journal.write({ kind: "entry", key, ranges: [[sequence, sequence]] });
    return true;
  }
}

/** @throws RingpostError */
function whole({ size, blocks, digest }: Pieces): Buffer {
  const octets = Buffer.alloc(size);
  for (const block of blocks) block.octets.copy(octets, block.offset);
  if (createHash("sha256").update(octets).digest("base64url") === digest) return octets;
  const why = "its pieces do not make the message that was sent";
  throw new RingpostError("malformed", why, false);
}

interface Place {
  readonly queue: string;
  readonly key: string;
  readonly frame: DataFrame;
  readonly origin: Origin;
}
