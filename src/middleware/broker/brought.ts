/** What a packet brings of its device's streams, and what of that is wanted. Pure. */
import { createHash } from "node:crypto";
import type { DataFrame, Frame, Range } from "../../ebm/index.js";

/** The next octet that is wanted of a stream: [sequence, offset]. */
export type Position = readonly [sequence: number, offset: number];
export type Positions = Readonly<Record<string, Position>>;

const beginning: Position = [1, 0];

/** What a packet brings. */
export interface Brought {
  readonly epoch: number;
  readonly frames: readonly DataFrame[];
  /** By stream: sequences that nobody sends any more, so that the stream may pass over them. */
  readonly dead: ReadonlyMap<string, readonly Range[]>;
  readonly digest: string;
}

export const isDead = (brought: Brought, stream: string, sequence: number): boolean =>
  runAt(brought, stream, sequence) !== undefined;

function runAt({ dead }: Brought, stream: string, sequence: number): Range | undefined {
  const runs = dead.get(stream) ?? [];
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((runs[middle]?.[1] ?? 0) < sequence) low = middle + 1;
    else high = middle;
  }
  const run = runs[low];
  return run && run[0] <= sequence ? run : undefined;
}

/** Runs by stream, ascending and apart. */
function runsIn(frames: readonly Frame[]): ReadonlyMap<string, readonly Range[]> {
  const runs = new Map<string, Range[]>();
  const named = frames.flatMap((frame) => (frame.kind === "ack" ? (frame.dead ?? []) : []));
  const sorted = [...named].sort(([a, from], [b, other]) =>
    a === b ? from - other : a < b ? -1 : 1,
  );
  for (const [stream, from, to = from] of sorted) {
    const own = runs.get(stream) ?? [];
    runs.set(stream, own);
    const last = own.at(-1);
    if (last && from <= last[1] + 1) own[own.length - 1] = [last[0], Math.max(last[1], to)];
    else own.push([from, to]);
  }
  return runs;
}

export function broughtBy(frames: readonly Frame[], epoch: number): Brought {
  const data = frames.filter((frame) => frame.kind === "data");
  const dead = runsIn(frames);
  const hash = createHash("sha256");
  for (const { octets, ...meta } of data) {
    const { stream, sequence, id, offset, size, digest, properties } = meta;
    const facts = [stream, sequence, id, offset, size, digest, properties, octets.length];
    hash.update(JSON.stringify(facts)).update("\0").update(octets);
  }
  hash.update(JSON.stringify([...dead]));
  return { epoch, frames: data, dead, digest: hash.digest("base64url") };
}

interface Remaining {
  readonly frames: readonly DataFrame[];
  /** Sequences that are wanted where something is missing. */
  readonly gaps: Readonly<Record<string, number>>;
}

/** What of a packet lies at or behind `from`, without gaps. Blocks may be cut otherwise than before. */
export function remaining(brought: Brought, from: Positions): Remaining {
  const to = new Map<string, Position>();
  const positionOf = (stream: string): Position =>
    to.get(stream) ?? ownOf(from, stream) ?? beginning;
  const gaps = new Map<string, number>();
  const taken: DataFrame[] = [];
  for (const frame of brought.frames) {
    const { stream, sequence } = frame;
    let [wanted, offset] = positionOf(stream);
    if (offset > 0 && wanted < sequence && isDead(brought, stream, wanted)) {
      taken.push(voidOf(stream, [wanted, offset]));
    }
    for (let run = runAt(brought, stream, wanted); run && wanted < sequence; ) {
      [wanted, offset] = [Math.min(run[1] + 1, sequence), 0];
      run = runAt(brought, stream, wanted);
    }
    to.set(stream, [wanted, offset]);
    if (sequence < wanted || gaps.has(stream)) continue;
    if (sequence > wanted || frame.offset > offset) {
      gaps.set(stream, wanted);
      continue;
    }
    const end = frame.offset + frame.octets.length;
    const isLast = end === frame.size;
    if (end <= offset && !isLast) continue;
    taken.push(frame.offset === offset ? frame : cut(frame, offset));
    to.set(stream, isLast ? [wanted + 1, 0] : [wanted, end]);
  }
  for (const stream of brought.dead.keys()) {
    const [wanted, offset] = positionOf(stream);
    const isOver = offset > 0 && isDead(brought, stream, wanted);
    if (isOver && !to.has(stream)) taken.push(voidOf(stream, [wanted, offset]));
  }
  return { frames: taken, gaps: Object.fromEntries(gaps) };
}

/** In place of the rest of a message that was given up: whoever has its blocks need not wait. */
function voidOf(stream: string, [sequence, offset]: Position): DataFrame {
  return {
    ...{ kind: "data", stream, sequence, id: "void", offset, size: offset, void: true },
    ...{ properties: { sentAtMs: 0 }, octets: Buffer.alloc(0) },
  };
}

const ownOf = (positions: Positions, stream: string): Position | undefined =>
  Object.hasOwn(positions, stream) ? positions[stream] : undefined;

function cut(frame: DataFrame, offset: number): DataFrame {
  return { ...frame, offset, octets: frame.octets.subarray(offset - frame.offset) };
}
