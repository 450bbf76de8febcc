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
  | { readonly kind: "refused"; readonly why: string };

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
