import type { MemberUuid, RingId } from "../shared/ids.js";
import { learn, type MemberCache } from "./cache.js";
import type { FingerTable } from "./fingers.js";
import type { MemberRef, RingParameters } from "./member.js";
import type { RingView } from "./rules.js";

/** One of Zave's steps: it queries one other member and writes only this member's state. */
export type Operation =
  | { readonly kind: "join"; readonly from: MemberRef }
  | { readonly kind: "stabilizeFromSuccessor"; readonly successor: MemberRef }
  | { readonly kind: "stabilizeFromPredecessor"; readonly candidate: MemberRef }
  | { readonly kind: "rectify"; readonly predecessor: MemberRef; readonly notifier: MemberRef };

/** The one operation under way. */
export interface Running {
  readonly operation: Operation;
  /** A query is out: ring state must not be served. False while it is put off after "pending". */
  readonly waiting: boolean;
  /** Times that the other member was busy. */
  readonly busy: number;
}

/** Operations that wait for the running one. */
interface Queue {
  readonly join: MemberRef | undefined;
  readonly stabilize: boolean;
  /** Closer successor found through the member cache. */
  readonly candidate: MemberRef | undefined;
  readonly notifiers: readonly MemberRef[];
}

/** Everything that the ring's logic knows. Replaced as a whole, never written to. */
export interface RingState {
  readonly self: MemberRef;
  readonly parameters: RingParameters;
  /** L, the length of successor lists. */
  readonly listLength: number;
  readonly member: boolean;
  readonly predecessor: MemberRef | undefined;
  /** Clockwise from `self`, without it. Empty: alone, or cut off and looking for the others. */
  readonly successors: readonly MemberRef[];
  readonly fingers: FingerTable;
  readonly nextFinger: number;
  readonly known: MemberCache;
  readonly forgotten: ReadonlySet<MemberUuid>;
  readonly running: Running | undefined;
  readonly queue: Queue;
}

/** How a query ended. `dead`: no answer in time, unreachable, or not that member any more. */
export type Outcome =
  | { readonly kind: "state"; readonly view: RingView; readonly known: readonly MemberRef[] }
  | { readonly kind: "alive" }
  | { readonly kind: "pending" }
  | { readonly kind: "dead" };

export type Input =
  /** Explicit first start: the only way to be a ring of one. */
  | { readonly kind: "first" }
  /** Restart, and none of the cache is in a ring: a member that looks for the others. */
  | { readonly kind: "resume" }
  /** `from` is the predecessor-to-be according to a lookup. */
  | { readonly kind: "join"; readonly from: MemberRef }
  | { readonly kind: "stabilize" }
  /** The owner of our id + 1 as a member of the cache sees it: adopted if closer, or if none is. */
  | { readonly kind: "adopt"; readonly candidate: MemberRef }
  | { readonly kind: "notified"; readonly by: MemberRef }
  | { readonly kind: "outcome"; readonly outcome: Outcome }
  /** The pause after "pending" is over. */
  | { readonly kind: "retry" }
  | { readonly kind: "refreshFinger" }
  | { readonly kind: "finger"; readonly index: number; readonly member: MemberRef }
  /** A lookup or a ping met a member that does not answer. */
  | { readonly kind: "silent"; readonly member: MemberRef }
  /** From themselves or from the roster, not by hearsay. */
  | { readonly kind: "learn"; readonly members: readonly MemberRef[] }
  /** Left or evicted by agreement: no candidate any more. */
  | { readonly kind: "forget"; readonly uuid: MemberUuid };

export type Effect =
  /** Ask and feed back one `outcome`. `state` may be answered "pending", `ping` may not. */
  | { readonly kind: "query"; readonly what: "state" | "ping"; readonly to: MemberRef }
  /** Feed back `retry` after a short random pause. */
  | { readonly kind: "pause"; readonly busy: number }
  | { readonly kind: "notify"; readonly to: MemberRef }
  /** No successor is left: find the live member after us through the cache, feed back `adopt`. */
  | { readonly kind: "recover" }
  /** Find the owner of `key`, feed back `finger`. */
  | { readonly kind: "lookupFinger"; readonly index: number; readonly key: RingId }
  | { readonly kind: "persist"; readonly known: readonly MemberRef[] }
  | { readonly kind: "joined" }
  | {
      readonly kind: "joinFailed";
      /** Whoever has our id in the ring; it must be found dead before a join can succeed. */
      readonly holder: MemberRef | undefined;
    };

const emptyQueue: Queue = {
  join: undefined,
  stabilize: false,
  candidate: undefined,
  notifiers: [],
};

export function initialState(options: {
  readonly self: MemberRef;
  readonly parameters: RingParameters;
  readonly listLength: number;
  readonly known: readonly MemberRef[];
}): RingState {
  const { self, parameters, listLength, known } = options;
  return {
    self,
    parameters,
    listLength,
    member: false,
    predecessor: undefined,
    successors: [],
    fingers: new Array<MemberRef | undefined>(parameters.bits).fill(undefined),
    nextFinger: 0,
    known: learn(new Map(), known, (member) => member.uuid === self.uuid),
    forgotten: new Set(),
    running: undefined,
    queue: emptyQueue,
  };
}

/** Cut off from all the members it knows, as opposed to alone by a first start or by agreement. */
export function isLost(state: RingState): boolean {
  return state.member && state.successors.length === 0 && state.known.size > 0;
}
