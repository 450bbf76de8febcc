/**
 * What one device has published, in order: a register of the ring. Pure.
 *
 * Before anything is delivered, the *intention* is agreed on: which messages, into which queues,
 * with which ids. Whoever handles the same packet again, at whichever node and time, delivers the
 * same copies with the same ids, which changes nothing. The next intention takes the place of
 * the last one only when that one is known to be delivered.
 */
import { createHash } from "node:crypto";
import type { DataFrame, Frame } from "../../ebm/index.js";
import type { MailboxName, MemberUuid, MessageId } from "../../shared/ids.js";
import { derivedId } from "./entry.js";
import { brokerLimits } from "./limits.js";

/** The next octet that is wanted of a stream: [sequence, offset]. */
export type Position = readonly [sequence: number, offset: number];
export type Positions = Readonly<Record<string, Position>>;

/** A queue that a message goes to. */
export interface Destination {
  readonly queue: string;
  readonly incarnation: string;
  readonly mailbox: MailboxName;
  readonly exclusive: boolean;
}

interface StreamState {
  readonly next: Position;
  /** Where the message goes that has begun: all its blocks go there, whatever is bound meanwhile. */
  readonly routes?: readonly Destination[];
}

/** Runs of frames, [first, how many], that make one mail; and to which of the destinations it goes. */
export interface PlannedBody {
  readonly runs: readonly (readonly [first: number, count: number])[];
  readonly to: readonly number[];
}

export interface Intention {
  readonly nonce: string;
  /** Of all that the packet carries. */
  readonly digest: string;
  readonly from: Positions;
  /** Frames of the packet that it covers, from `from` on. */
  readonly frames: number;
  readonly destinations: readonly Destination[];
  readonly bodies: readonly PlannedBody[];
  /** Copies of messages. */
  readonly routed: number;
  /** Time of the first id, by the ring's clock. */
  readonly idMs: number;
  /** By the wall clock of the node that took it, which is `coordinator`. */
  readonly takenAtMs: number;
  readonly coordinator: MemberUuid;
  /** The ring's key that seals, and what compresses: with another the octets might differ. */
  readonly kid: string;
  readonly codec: string;
}

export interface FlowState {
  readonly epoch: number;
  readonly streams: Readonly<Record<string, StreamState>>;
  readonly last?: Intention;
  /** Ids of later intentions are above it. */
  readonly lastIdMs: number;
}

export const emptyFlow = (epoch: number, lastIdMs = 0): FlowState => ({
  epoch,
  streams: {},
  lastIdMs,
});

const beginning: Position = [1, 0];

/** What a packet brings. */
export interface Brought {
  readonly epoch: number;
  readonly frames: readonly DataFrame[];
  /** Sequences that their sender has given up, so that the stream may pass over them. */
  readonly dead: ReadonlySet<string>;
  readonly digest: string;
}

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

export type Verdict =
  /** Not taken before: these frames come next. */
  | { readonly kind: "new"; readonly frames: readonly DataFrame[] }
  /** What was intended last, perhaps not delivered: once more. */
  | {
      readonly kind: "again";
      readonly intention: Intention;
      readonly frames: readonly DataFrame[];
    }
  /** The last intention is of another packet, and not known to be delivered. */
  | { readonly kind: "unsure"; readonly intention: Intention; readonly restarts: boolean }
  /** All of it was taken and delivered before. */
  | { readonly kind: "known"; readonly routed: number }
  | { readonly kind: "early"; readonly expected: Readonly<Record<string, number>> }
  /** Of an epoch of the device that is over. */
  | { readonly kind: "outdated" };

/** `isDone`: is the intention known to be delivered? */
export function judge(
  state: FlowState,
  brought: Brought,
  isDone: (nonce: string) => boolean,
): Verdict {
  if (brought.epoch < state.epoch) return { kind: "outdated" };
  const { last, streams } = brought.epoch > state.epoch ? emptyFlow(brought.epoch) : state;
  const positions = Object.fromEntries(
    Object.entries(streams).map(([stream, { next }]) => [stream, next] as const),
  );
  if (last && !isDone(last.nonce)) {
    const again = remaining(brought, { ...positions, ...last.from });
    if (last.digest === brought.digest) {
      return { kind: "again", intention: last, frames: again.frames.slice(0, last.frames) };
    }
    const begun = new Map(again.frames.toReversed().map((frame) => [frame.stream, frame]));
    const restarts = Object.entries(last.from).every(([stream, [sequence, offset]]) => {
      const first = begun.get(stream);
      return first?.sequence === sequence && first.offset === offset;
    });
    return { kind: "unsure", intention: last, restarts };
  }
  const { frames, gaps } = remaining(brought, positions);
  if (Object.keys(gaps).length > 0) return { kind: "early", expected: gaps };
  if (frames.length > 0) return { kind: "new", frames };
  return { kind: "known", routed: last?.digest === brought.digest ? last.routed : 0 };
}

interface Remaining {
  readonly frames: readonly DataFrame[];
  /** Sequences that are wanted where something is missing. */
  readonly gaps: Readonly<Record<string, number>>;
}

/** What of a packet lies at or behind `from`, without gaps. Blocks may be cut otherwise than before. */
export function remaining({ frames, dead }: Brought, from: Positions): Remaining {
  const to = new Map<string, Position>();
  const gaps = new Map<string, number>();
  const taken: DataFrame[] = [];
  for (const frame of frames) {
    const { stream, sequence } = frame;
    let [wanted, offset] = to.get(stream) ?? ownOf(from, stream) ?? beginning;
    while (wanted < sequence && dead.has(deadKey(stream, wanted)))
      [wanted, offset] = [wanted + 1, 0];
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

export type Planned =
  | { readonly kind: "planned"; readonly state: FlowState; readonly intention: Intention }
  | { readonly kind: "refused"; readonly why: string };

export interface PlanOptions {
  readonly brought: Brought;
  /** What is new of it. */
  readonly frames: readonly DataFrame[];
  /** By frame, where it goes by what is bound now. */
  readonly routesOf: (frame: DataFrame) => readonly Destination[];
  readonly facts: Pick<Intention, "nonce" | "idMs" | "takenAtMs" | "coordinator" | "kid" | "codec">;
}

/** What is to be taken of the new frames, and the flow after it. */
export function plan(before: FlowState, options: PlanOptions): Planned {
  const { brought, facts } = options;
  const state = brought.epoch > before.epoch ? emptyFlow(brought.epoch, before.lastIdMs) : before;
  const { frames, routes } = firstStep(state, options);
  if (isTooLarge(frames, routes)) {
    return {
      kind: "refused",
      why: "a message for a queue with competing consumers has to fit one packet",
    };
  }
  // Maps: a stream may be called "toString".
  const from = new Map<string, Position>();
  const streams = new Map(Object.entries(state.streams));
  frames.forEach((frame, index) => {
    const { stream, sequence, offset, octets, size } = frame;
    if (!from.has(stream)) from.set(stream, [sequence, offset]);
    const end = offset + octets.length;
    const next: Position = end === size ? [sequence + 1, 0] : [sequence, end];
    streams.set(stream, end === size ? { next } : { next, routes: routes[index] ?? [] });
  });
  if (streams.size > brokerLimits.streamsMax) {
    return { kind: "refused", why: `more than ${brokerLimits.streamsMax} streams of one device` };
  }
  const destinations = [...new Map(routes.flat().map((to) => [keyOf(to), to])).values()];
  const intention: Intention = {
    ...facts,
    digest: brought.digest,
    from: Object.fromEntries(from),
    frames: frames.length,
    destinations,
    bodies: bodiesOf(frames, routes, destinations),
    routed: routes.reduce((sum, to) => sum + to.length, 0),
  };
  const lastIdMs = facts.idMs + (frames.length >> 12);
  return {
    kind: "planned",
    intention,
    state: {
      epoch: brought.epoch,
      streams: Object.fromEntries(streams),
      last: intention,
      lastIdMs,
    },
  };
}

const keyOf = ({ queue, incarnation }: Destination): string => `${queue} ${incarnation}`;

/** As many frames as make a bounded number of copies: at least one. */
function firstStep(
  state: FlowState,
  { frames, routesOf }: PlanOptions,
): { frames: readonly DataFrame[]; routes: readonly (readonly Destination[])[] } {
  const routes: (readonly Destination[])[] = [];
  const begun = new Map<string, readonly Destination[] | undefined>();
  let copies = 0;
  for (const frame of frames) {
    const { stream, offset } = frame;
    const before = begun.has(stream)
      ? begun.get(stream)
      : Object.hasOwn(state.streams, stream)
        ? state.streams[stream]?.routes
        : undefined;
    const to = offset > 0 && before ? before : routesOf(frame);
    copies += to.length;
    if (routes.length > 0 && copies > brokerLimits.copiesPerStepMax) break;
    begun.set(stream, to);
    routes.push(to);
  }
  return { frames: frames.slice(0, routes.length), routes };
}

function isTooLarge(
  frames: readonly DataFrame[],
  routes: readonly (readonly Destination[])[],
): boolean {
  return frames.some(
    (frame, index) =>
      frame.octets.length < frame.size && routes[index]?.some(({ exclusive }) => !exclusive),
  );
}

/** Consecutive numbers as runs. */
function runsOf(numbers: readonly number[]): [number, number][] {
  const runs: [number, number][] = [];
  for (const each of numbers) {
    const run = runs.at(-1);
    if (run && run[0] + run[1] === each) run[1] += 1;
    else runs.push([each, 1]);
  }
  return runs;
}

/**
 * Messages for an exclusive queue share mails, as many as come together with the same priority and
 * time; for other queues each has one of its own. Equal mails are one, for all queues that get them.
 */
function bodiesOf(
  frames: readonly DataFrame[],
  routes: readonly (readonly Destination[])[],
  destinations: readonly Destination[],
): readonly PlannedBody[] {
  const numbers = new Map(destinations.map((to, index) => [keyOf(to), index]));
  const bodies = new Map<string, { runs: [number, number][]; to: number[] }>();
  const add = (of: readonly number[], to: number): void => {
    const runs = runsOf(of);
    const key = JSON.stringify(runs);
    const body = bodies.get(key) ?? { runs, to: [] };
    body.to.push(to);
    bodies.set(key, body);
  };
  const open = new Map<number, { of: number[]; sort: string; octets: number }>();
  frames.forEach((frame, index) => {
    const { priority, deliverAtMs } = frame.properties ?? {};
    const sort = `${priority ?? ""} ${deliverAtMs ?? ""}`;
    for (const destination of routes[index] ?? []) {
      const to = numbers.get(keyOf(destination)) ?? 0;
      if (!destination.exclusive) {
        add([index], to);
        continue;
      }
      const batch = open.get(to);
      const octets = (batch?.octets ?? 0) + frame.octets.length;
      if (batch?.sort === sort && octets <= brokerLimits.batchOctetsMax) {
        batch.of.push(index);
        batch.octets = octets;
        continue;
      }
      if (batch) add(batch.of, to);
      open.set(to, { of: [index], sort, octets: frame.octets.length });
    }
  });
  for (const [to, { of }] of open) add(of, to);
  return [...bodies.values()];
}

/** In order of the first frame in it; one of a kind by the intention. */
export function entryId(
  { nonce, idMs }: Pick<Intention, "nonce" | "idMs">,
  { runs }: PlannedBody,
  { queue, incarnation }: Destination,
): MessageId {
  const first = runs[0]?.[0] ?? 0;
  const time = (idMs + (first >> 12)).toString(16).padStart(12, "0");
  const counter = (first & 0xfff).toString(16).padStart(3, "0");
  return derivedId(`${time}7${counter}`, [nonce, runs, queue, incarnation]);
}

/** The flow without its last intention: what it took is wanted again. */
export function withoutLast(state: FlowState): FlowState {
  const { last, ...rest } = state;
  if (!last) return state;
  const streams = new Map(Object.entries(state.streams));
  for (const [stream, next] of Object.entries(last.from)) {
    const routes = next[1] > 0 ? streams.get(stream)?.routes : undefined;
    streams.set(stream, { next, ...(routes && { routes }) });
  }
  return { ...rest, streams: Object.fromEntries(streams) };
}
