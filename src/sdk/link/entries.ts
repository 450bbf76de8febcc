/** Entries of a broker's queues: kept by the broker until settled, known here by what was consumed. */
import type { DataFrame, Origin } from "../../ebm/index.js";
import type { Journal } from "../journal/journal.js";
import { streamKey } from "../journal/in-state.js";
import type { InboundMessage, Received } from "./ports.js";

export class Entries {
  /** Where it is noted when one is consumed. */
  readonly #keys = new WeakMap<InboundMessage, string>();

  constructor(private readonly journal: Journal) {}

  take(queue: string, frames: readonly DataFrame[]): Received {
    const messages: InboundMessage[] = [];
    const pushed = new Map<string, InboundMessage[]>();
    for (const frame of frames) {
      const { origin, properties, offset, size, octets } = frame;
      if (origin === undefined || properties === undefined || offset > 0 || octets.length < size) {
        return { kind: "dead", why: "an entry of a queue that is not whole" };
      }
      const ofEntry = frame.entry === undefined ? [] : (pushed.get(frame.entry) ?? []);
      if (frame.entry !== undefined) pushed.set(frame.entry, ofEntry);
      const key = `${queue}\n${streamKey(origin, frame.stream)}`;
      if (frame.void === true || this.journal.state.entries.get(key)?.has(frame.sequence)) continue;
      const message = this.#make(queue, frame, origin);
      this.#keys.set(message, key);
      messages.push(message);
      ofEntry.push(message);
    }
    if (pushed.size === 0) return { kind: "entry", queue, messages };
    const entries = [...pushed].map(([entry, own]) => ({ entry, messages: own }));
    return { kind: "entry", queue, messages, pushed: entries };
  }

  #make(queue: string, frame: DataFrame, origin: Origin): InboundMessage {
    const { stream, sequence, id, properties = { sentAtMs: 0 }, redelivered = 0 } = frame;
    const octets = Buffer.from(frame.octets);
    return {
      // A stream goes on under another name where its sender gave a message up.
      ...{ origin, stream: stream.replace(/~\d+$/, ""), sequence, id, properties, redelivered },
      ...{ queue, octets: octets.length, body: () => Promise.resolve(octets) },
    };
  }

  /** False when it is no entry. */
  async consume(message: InboundMessage): Promise<boolean> {
    const key = this.#keys.get(message);
    if (key === undefined) return false;
    const { sequence } = message;
    await this.journal.write({ kind: "entry", key, ranges: [[sequence, sequence]] });
    return true;
  }
}
