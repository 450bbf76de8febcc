/** From frames and where they go to an intention: which mails, with which ids. Pure; see `flow.ts`. */
import type { DataFrame } from "../../ebm/index.js";
import type { MessageId } from "../../shared/ids.js";
import type { Brought, Position } from "./brought.js";
import { idOfFlow } from "./entry.js";
import {
  type Destination,
  emptyFlow,
  type FlowState,
  type Intention,
  lastIdMsOf,
  type PlannedBody,
} from "./flow.js";
import { brokerLimits } from "./limits.js";

export type Planned =
  | { readonly kind: "planned"; readonly state: FlowState; readonly intention: Intention }
  | { readonly kind: "refused"; readonly code: "full" | "tooLarge"; readonly why: string };

export interface PlanOptions {
  readonly brought: Brought;
  /** What is new of it. */
  readonly frames: readonly DataFrame[];
  /** By frame, where it goes by what is bound now. */
  readonly routesOf: (frame: DataFrame) => readonly Destination[];
  readonly facts: Pick<
    Intention,
    "nonce" | "flow" | "idMs" | "takenAtMs" | "coordinator" | "kid" | "codec"
  >;
}

/** What is to be taken of the new frames, and the flow after it. */
export function plan(before: FlowState, options: PlanOptions): Planned {
  const { brought, facts } = options;
  const state = brought.epoch > before.epoch ? emptyFlow(brought.epoch, before.lastIdMs) : before;
  const { frames, routes } = firstStep(state, options);
  const large = tooLarge(frames, (_, index) => routes[index] ?? []);
  if (large !== undefined) return { kind: "refused", code: "tooLarge", why: large };
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
    const why = `more than ${brokerLimits.streamsMax} streams of one device`;
    return { kind: "refused", code: "full", why };
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
  const lastIdMs = lastIdMsOf(intention);
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
  const batches = new Batches();
  for (const frame of frames) {
    const { stream, offset } = frame;
    const before = begun.has(stream)
      ? begun.get(stream)
      : Object.hasOwn(state.streams, stream)
        ? state.streams[stream]?.routes
        : undefined;
    const to = offset > 0 && before ? before : routesOf(frame);
    for (const destination of to) if (batches.begins(destination, frame)) copies += 1;
    if (routes.length > 0 && copies > brokerLimits.copiesPerStepMax) break;
    begun.set(stream, to);
    routes.push(to);
  }
  return { frames: frames.slice(0, routes.length), routes };
}

/** Which messages of an exclusive queue share a mail: as many as come together with the same priority and time. */
class Batches {
  /** By queue and incarnation. */
  private readonly open = new Map<string, { sort: string; octets: number }>();

  /** Whether the copy for this queue is a mail of its own, or goes into the one before. */
  begins(to: Destination, { properties, octets }: DataFrame): boolean {
    if (!to.exclusive) return true;
    const key = keyOf(to);
    const sort = `${properties?.priority ?? ""} ${properties?.deliverAtMs ?? ""}`;
    const batch = this.open.get(key);
    const together = (batch?.octets ?? 0) + octets.length;
    if (batch?.sort === sort && together <= brokerLimits.batchOctetsMax) {
      batch.octets = together;
      return false;
    }
    this.open.set(key, { sort, octets: octets.length });
    return true;
  }
}

/** Which message can't be taken, since consumers compete for entries that each are one; undefined: none. */
export function tooLarge(
  frames: readonly DataFrame[],
  routesOf: (frame: DataFrame, index: number) => readonly Destination[],
): string | undefined {
  const culprit = frames.find(
    (frame, index) =>
      frame.octets.length < frame.size &&
      routesOf(frame, index).some(({ exclusive }) => !exclusive),
  );
  if (!culprit) return undefined;
  const { stream, sequence, size } = culprit;
  const why = "a message for a queue with competing consumers has to fit one packet";
  return `${stream}:${sequence} ${why}, and this one has ${size} octets`;
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

/** Messages for an exclusive queue share mails; equal mails are one, for all queues that get them. */
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
  const batches = new Batches();
  const open = new Map<number, number[]>();
  frames.forEach((frame, index) => {
    for (const destination of routes[index] ?? []) {
      const to = numbers.get(keyOf(destination)) ?? 0;
      const batch = open.get(to);
      if (!batches.begins(destination, frame)) batch?.push(index);
      else if (!destination.exclusive) add([index], to);
      else {
        if (batch) add(batch, to);
        open.set(to, [index]);
      }
    }
  });
  for (const [to, of] of open) add(of, to);
  return [...bodies.values()];
}

/**
 * In order of the first frame in it; one of a kind by the intention. Ids of one intention lie less than
 * `intentionSpanMs` apart.
 */
export function entryId(
  { nonce, flow, idMs }: Pick<Intention, "nonce" | "flow" | "idMs">,
  { runs }: PlannedBody,
  { queue, incarnation }: Destination,
): MessageId {
  const first = runs[0]?.[0] ?? 0;
  const time = (idMs + (first >> 12)).toString(16).padStart(12, "0");
  const counter = (first & 0xfff).toString(16).padStart(3, "0");
  return idOfFlow(`${time}8${counter}`, flow, [nonce, runs, queue, incarnation]);
}
