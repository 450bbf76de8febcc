/**
 * What one device has published, in order: a register of the ring. Pure.
 *
 * Before anything is delivered, the *intention* is agreed on: which messages, into which queues,
 * with which ids. Whoever handles the same packet again, at whichever node and time, delivers the
 * same copies with the same ids, which changes nothing. The next intention takes the place of
 * the last one only when that one is known to be delivered.
 */
import type { DataFrame } from "../../ebm/index.js";
import type { MailboxName, MemberUuid } from "../../shared/ids.js";
import { type Brought, isDead, type Position, type Positions, remaining } from "./brought.js";

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
  /** The flow's name in ids. */
  readonly flow: string;
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
  /** What had been delivered when the rest was begun anew, under the ids of then. */
  readonly former?: readonly Pick<Intention, "nonce" | "idMs" | "bodies">[];
  /** Its copies are being deleted: it is never delivered, whatever is found of them. */
  readonly isVoid?: true;
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
  if (last?.isVoid === true) return { kind: "unsure", intention: last, restarts: true };
  if (last && !isDone(last.nonce)) {
    const again = remaining(brought, { ...positions, ...last.from });
    if (last.digest === brought.digest) {
      return { kind: "again", intention: last, frames: again.frames.slice(0, last.frames) };
    }
    // Without a gap from where it began: there, or behind messages that their sender has given up.
    const begun = new Set(again.frames.map(({ stream }) => stream));
    const restarts = Object.entries(last.from).every(
      ([stream, [sequence]]) => begun.has(stream) || isDead(brought, stream, sequence),
    );
    return { kind: "unsure", intention: last, restarts };
  }
  const { frames, gaps } = remaining(brought, positions);
  if (Object.keys(gaps).length > 0) return { kind: "early", expected: gaps };
  if (frames.length > 0) return { kind: "new", frames };
  return { kind: "known", routed: last?.digest === brought.digest ? last.routed : 0 };
}

/**
 * The flow with its last intention begun anew, for those copies that could not be delivered any more and never
 * were: with other ids, since members don't count those. `isLacking`: of a body, and the number of a destination.
 */
export function renewed(
  state: FlowState,
  intention: Intention,
  by: {
    readonly nonce: string;
    readonly idMs: number;
    readonly isLacking: (body: PlannedBody, destination: number) => boolean;
  },
): FlowState {
  const { nonce, idMs, isLacking } = by;
  const bodiesFor = (isOne: typeof isLacking): readonly PlannedBody[] =>
    intention.bodies
      .map((body) => ({ ...body, to: body.to.filter((number) => isOne(body, number)) }))
      .filter(({ to }) => to.length > 0);
  const delivered = bodiesFor((body, number) => !isLacking(body, number));
  const before = { nonce: intention.nonce, idMs: intention.idMs, bodies: delivered };
  const former = [...(intention.former ?? []), ...(delivered.length > 0 ? [before] : [])];
  const last: Intention = {
    ...{ ...intention, nonce, idMs, bodies: bodiesFor(isLacking) },
    ...(former.length > 0 && { former }),
  };
  return { ...state, last, lastIdMs: lastIdMsOf(last) };
}

/** The time of the last id that an intention may have. */
export const lastIdMsOf = ({ idMs, frames }: Pick<Intention, "idMs" | "frames">): number =>
  idMs + (frames >> 12);

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
