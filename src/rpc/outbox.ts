import { performance } from "node:perf_hooks";
import { bounds } from "./bounds.js";
import { encodeItems, type OutgoingItem } from "./frame.js";

/** Hands a frame to the stream; calls `written` when HTTP/2 took it (flow control included). */
export type WriteFrame = (frame: Buffer, written: () => void) => void;

/**
 * What waits to be sent on one stream. Everything pushed in one turn of the event loop, or while
 * earlier frames are still on their way, goes out in as few frames as the bounds allow: the slower
 * the other side, the larger the frames.
 */
export class Outbox {
  readonly #waiting = new Set<OutgoingItem>();
  #octets = 0;
  #write: WriteFrame | undefined;
  #inFlight = 0;
  #scheduled: NodeJS.Immediate | undefined;
  /** Frames handed out, for measurements. */
  framesSent = 0;

  /** `onSent` hears of every item that was handed to the stream. */
  constructor(private readonly onSent?: (item: OutgoingItem) => void) {}

  get octets(): number {
    return this.#octets;
  }

  /** True while `item` has not been handed to the stream. */
  has(item: OutgoingItem): boolean {
    return this.#waiting.has(item);
  }

  push(item: OutgoingItem): void {
    this.#waiting.add(item);
    this.#octets += item.octets;
    this.#schedule();
  }

  /** Takes back what nobody waits for any more; nothing happens when it is sent already. */
  drop(item: OutgoingItem): void {
    if (this.#waiting.delete(item)) this.#octets -= item.octets;
  }

  /** Begins to send, now and whenever something is pushed. */
  open(write: WriteFrame): void {
    this.#write = write;
    this.#inFlight = 0;
    this.#schedule();
  }

  /** Stops sending and forgets what waits. */
  close(): void {
    this.#write = undefined;
    this.#waiting.clear();
    this.#octets = 0;
    clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
  }

  #schedule(): void {
    if (this.#scheduled !== undefined || this.#write === undefined) return;
    if (this.#waiting.size === 0 || this.#inFlight >= bounds.framesInFlightMax) return;
    this.#scheduled = setImmediate(() => {
      this.#scheduled = undefined;
      this.#flush();
    });
  }

  #flush(): void {
    const write = this.#write;
    while (
      write !== undefined &&
      this.#write === write &&
      this.#waiting.size > 0 &&
      this.#inFlight < bounds.framesInFlightMax
    ) {
      const frame = encodeItems(this.#take(), performance.now());
      this.#inFlight += 1;
      this.framesSent += 1;
      write(frame, () => {
        // A late word from a stream that was given up must not count for its successor.
        if (this.#write !== write) return;
        this.#inFlight -= 1;
        this.#schedule();
      });
    }
  }

  #take(): OutgoingItem[] {
    const items: OutgoingItem[] = [];
    let octets = 0;
    let parts = 0;
    for (const item of this.#waiting) {
      const itemParts = 1 + item.blobs.length;
      const fits =
        octets + item.octets <= bounds.frameOctetsTarget &&
        parts + itemParts <= bounds.frameItemsTarget;
      if (items.length > 0 && !fits) break;
      octets += item.octets;
      parts += itemParts;
      this.drop(item);
      this.onSent?.(item);
      items.push(item);
    }
    return items;
  }
}
