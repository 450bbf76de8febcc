/** What a packet brings of its device's streams, and what of that is wanted. Pure. */
import { createHash } from "node:crypto";
import type { DataFrame, Frame } from "../../ebm/index.js";

/** The next octet that is wanted of a stream: [sequence, offset]. */
export type Position = readonly [sequence: number, offset: number];
export type Positions = Readonly<Record<string, Position>>;

const beginning: Position = [1, 0];

/** What a packet brings. */
export interface Brought {
  readonly epoch: number;
  readonly frames: readonly DataFrame[];
  /** Sequences that their sender has given up, so that the stream may pass over them. */
  readonly dead: ReadonlySet<string>;
  readonly digest: string;
}

export const isDead = ({ dead }: Brought, stream: string, sequence: number): boolean =>
  dead.has(deadKey(stream, sequence));

const deadKey = (stream: string, sequence: number): string => `${sequence} ${stream}`;

export function broughtBy(frames: readonly Frame[], epoch: number): Brought {
  const data = frames.filter((frame) => frame.kind === "data");
  const dead = frames.flatMap((frame) => (frame.kind === "ack" ? (frame.dead ?? []) : []));
  const hash = createHash("sha256");
  for (const { octets, ...meta } of data) {
    const { stream, sequence, id, offset, size, digest, properties } = meta;
    const facts = [stream, sequence, id, offset, size, digest, properties, octets.length];
    hash.update(JSON.stringify(facts)).update("\0").update(octets);
  }
  const keys = dead.map(([stream, sequence]) => deadKey(stream, sequence)).sort();
  hash.update(JSON.stringify(keys));
  return { epoch, frames: data, dead: new Set(keys), digest: hash.digest("base64url") };
}

interface Remaining {
  readonly frames: readonly DataFrame[];
  /** Sequences that are wanted where something is missing. */
  readonly gaps: Readonly<Record<string, number>>;
}

/** What of a packet lies at or behind `from`, without gaps. Blocks may be cut otherwise than before. */
export function remaining(brought: Brought, from: Positions): Remaining {
  const to = new Map<string, Position>();
  const gaps = new Map<string, number>();
  const taken: DataFrame[] = [];
  for (const frame of brought.frames) {
    const { stream, sequence } = frame;
    let [wanted, offset] = to.get(stream) ?? ownOf(from, stream) ?? beginning;
    while (wanted < sequence && isDead(brought, stream, wanted)) [wanted, offset] = [wanted + 1, 0];
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
  return { frames: taken, gaps: Object.fromEntries(gaps) };
}

const ownOf = (positions: Positions, stream: string): Position | undefined =>
  Object.hasOwn(positions, stream) ? positions[stream] : undefined;

function cut(frame: DataFrame, offset: number): DataFrame {
  return { ...frame, offset, octets: frame.octets.subarray(offset - frame.offset) };
}
