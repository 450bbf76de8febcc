/** How a member answers the others, from its state alone. Pure. */
import { unreachable } from "../shared/unreachable.js";
import { closestPreceding } from "./fingers.js";
import type { RingId } from "../shared/ids.js";
import { type MemberRef, protocolVersion, type RingParameters, showMember } from "./member.js";
import { type Found, idsWithin, type Reply, type Request, type RingHeader } from "./message.js";
import type { Input, RingState } from "./state.js";

interface Answer {
  readonly reply: Reply;
  /** What the request means for the own state, to be fed to `step`. */
  readonly input?: Input;
}

/** Members of the cache told with each view; every view tells others, so all go round. */
const knownPerView = 4;

export function headerOf(parameters: RingParameters): RingHeader {
  return { protocol: protocolVersion, bits: parameters.bits, replicas: parameters.replicas };
}

/** @param turn a number that counts up with every call: which part of the cache is told. */
export function answer(state: RingState, request: Request, turn: number): Answer {
  const { self } = state;
  const refusal = refuse(state, request);
  if (refusal !== undefined) return { reply: refusal };
  switch (request.kind) {
    case "hello":
      return {
        reply: { kind: "welcome", self, member: state.member },
        input: { kind: "learn", members: [request.from] },
      };
    case "ping":
      // A ping asks for a member of the ring; it is answered while a query is under way, too.
      return { reply: isIn(state) ? { kind: "pong", self } : { kind: "absent" } };
    case "state":
      return { reply: view(state, turn) };
    case "find":
      // Answered while a query is under way as well: a lookup only proposes whom a step then asks
      // for its state, so nothing is ever written on the strength of this answer.
      if (!state.member) return { reply: { kind: "absent" } };
      return { reply: { kind: "found", ...find(state, request.key) } };
    case "notify":
      if (!state.member) return { reply: { kind: "absent" } };
      return { reply: noted(state, request.from), input: { kind: "notified", by: request.from } };
    default:
      return unreachable(request);
  }
}

function refuse(state: RingState, request: Request): Reply | undefined {
  const { self, parameters } = state;
  const [ours, theirs] = [headerOf(parameters), request.ring];
  for (const name of ["protocol", "bits", "replicas"] as const) {
    if (ours[name] === theirs[name]) continue;
    const reason = `this ring has ${name}=${ours[name]}, the caller ${name}=${theirs[name]}`;
    return { kind: "refused", code: "wrong-ring", reason };
  }
  if (!idsWithin(request, parameters.bits)) {
    return { kind: "refused", code: "malformed", reason: `an id exceeds ${parameters.bits} bits` };
  }
  if (request.kind === "ping" || request.kind === "find") return undefined;
  return state.member && isDouble(self, request.from) ? duplicate(self) : undefined;
}

/** Another node under the same id, or a copy of the same data directory. */
export function isDouble(self: MemberRef, other: MemberRef): boolean {
  if (self.uuid === other.uuid) return self.addr !== other.addr;
  return self.id === other.id;
}

function duplicate(holder: MemberRef): Reply {
  const reason = `id ${showMember(holder)} is in the ring already`;
  return { kind: "refused", code: "duplicate-id", reason };
}

/** Zave's steps are atomic: while a query is out, state that is about to change is not told. */
function view(state: RingState, turn: number): Reply {
  const { self, predecessor, successors } = state;
  if (!isIn(state)) return { kind: "absent" };
  if (state.running?.waiting === true) return { kind: "pending", self };
  return { kind: "view", self, predecessor, successors, known: someKnown(state, turn) };
}

/**
 * A join is in force from the moment when the predecessor-to-be answers, which the joiner learns a
 * little later. To be told dead in between would take a member that comes back out of lists again.
 */
function isIn(state: RingState): boolean {
  return state.member || state.running?.waiting === true;
}

function someKnown(state: RingState, turn: number): readonly MemberRef[] {
  const all = [...state.known.values()];
  if (all.length <= knownPerView) return all;
  const first = (turn * knownPerView) % all.length;
  return all.slice(first, first + knownPerView);
}

/** Also the first step of an own lookup. */
export function find(state: RingState, key: RingId): Found {
  const { self, predecessor, successors } = state;
  return { self, predecessor, successors, preceding: closestPreceding(self, state.fingers, key) };
}

/** Says so when another member holds the notifier's id; `rectify` still finds out if it is dead. */
function noted(state: RingState, from: MemberRef): Reply {
  const { self, predecessor } = state;
  if (predecessor !== undefined && isDouble(predecessor, from)) return duplicate(predecessor);
  return { kind: "noted", self };
}
