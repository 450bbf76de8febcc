/**
 * What a publisher has given up and the ring may have taken keeps its place: the ring takes nothing behind a gap, so
 * packets say what nobody sends any more. In front of the first message that is left of a stream that is all there was,
 * so that nothing need be remembered; only between messages that are left each is known by itself.
 */
import type { AckFrame, Dead } from "../../ebm/index.js";
import type { OutStream } from "../journal/out-state.js";
import type { Sent } from "./sent.js";

/** Messages that one frame tells of. */
const deadPerFrame = 1_000;
/** Given up behind messages that are left: more than that are not made. */
const placesMax = 100_000;

export class Passed {
  /** Streams of which the ring may wait for something in front of what is left; up to where it was told. */
  readonly #heads = new Map<string, number>();
  /** By stream, how many were given up behind messages that were left. */
  readonly #places = new Map<string, number>();
  readonly #toldBy = new WeakMap<Sent, readonly Dead[]>();

  constructor(private readonly streamOf: (name: string) => OutStream | undefined) {}

  /** After a start nobody knows how far the ring has heard. */
  restored(stream: OutStream): void {
    if (stream.next > 1) this.#heads.set(stream.stream, 0);
    const places = [...stream.messages.values()].filter(({ isVoid }) => isVoid).length;
    if (places > 0) this.#places.set(stream.stream, places);
  }

  get isFull(): boolean {
    let places = 0;
    for (const count of this.#places.values()) places += count;
    return places >= placesMax;
  }

  gaveUp(stream: string): void {
    this.#places.set(stream, (this.#places.get(stream) ?? 0) + 1);
  }

  /** The ring has taken what was in front. */
  settled(stream: string): void {
    this.#heads.delete(stream);
  }

  /** The last of those given up in front of all that is left of the stream: nobody need remember these. */
  head(name: string): number | undefined {
    if (!this.#places.has(name)) return undefined;
    let last: number | undefined;
    let left = 0;
    let isHead = true;
    for (const { isVoid, sequence } of this.streamOf(name)?.messages.values() ?? []) {
      isHead &&= isVoid;
      if (isHead) last = sequence;
      else if (isVoid) left += 1;
    }
    if (left > 0) this.#places.set(name, left);
    else this.#places.delete(name);
    if (last !== undefined) this.#heads.set(name, this.#heads.get(name) ?? 0);
    return last;
  }

  /** In front of a packet that has messages of these streams up to these sequences. */
  before(upTo: ReadonlyMap<string, number>): readonly Dead[] {
    const dead = [...upTo].flatMap(([stream, last]) => this.#runs(stream, last));
    // What the ring has begun and not finished it forgets when it hears that nobody waits for it.
    for (const [name, told] of this.#heads) {
      const first = this.#firstLeft(name);
      if (!upTo.has(name) && first - 1 > told) dead.push([name, 1, first - 1]);
    }
    return dead;
  }

  #runs(name: string, upTo: number): Dead[] {
    const runs: Dead[] = [];
    if (this.#heads.has(name)) {
      const first = this.#firstLeft(name);
      if (first > 1) runs.push([name, 1, first - 1]);
    }
    if (!this.#places.has(name)) return runs;
    for (const { isVoid, sequence } of this.streamOf(name)?.messages.values() ?? []) {
      if (sequence >= upTo) break;
      if (!isVoid) continue;
      const last = runs.at(-1);
      if (last?.[2] === undefined || last[2] + 1 < sequence) runs.push([name, sequence, sequence]);
      else runs[runs.length - 1] = [name, last[1], Math.max(last[2], sequence)];
    }
    return runs;
  }

  /** All in front of it was settled or given up. */
  #firstLeft(name: string): number {
    const stream = this.streamOf(name);
    for (const { isVoid, sequence } of stream?.messages.values() ?? []) {
      if (!isVoid) return sequence;
    }
    return stream?.next ?? 1;
  }

  sent(sent: Sent, dead: readonly Dead[]): void {
    if (dead.length > 0) this.#toldBy.set(sent, dead);
  }

  /** The ring has taken a packet, and heard what it said. */
  heard(sent: Sent): void {
    for (const [name, from, to = from] of this.#toldBy.get(sent) ?? []) {
      const told = this.#heads.get(name);
      if (told !== undefined && from === 1) this.#heads.set(name, Math.max(told, to));
    }
  }
}

export function deadFrames(connection: string, dead: readonly Dead[]): readonly AckFrame[] {
  const frames: AckFrame[] = [];
  for (let at = 0; at < dead.length; at += deadPerFrame) {
    frames.push({
      ...{ kind: "ack", connection, cumulative: 0, ranges: [], windowOctets: 0, pollMs: 0 },
      ...{ consumed: {}, dead: dead.slice(at, at + deadPerFrame) },
    });
  }
  return frames;
}
