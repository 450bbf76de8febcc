/**
 * The acceptor of a CASPaxos register (Rystsov, "CASPaxos: Replicated State Machines without
 * logs", 2018), pure: it answers what the new state is, the caller makes it durable before it
 * lets anybody know.
 */
import type { Ballot, RegisterState } from "../shared/operation.js";
import { compareBallots } from "./ballot.js";

export type Prepared =
  | { readonly kind: "promised"; readonly state: RegisterState }
  /** A higher ballot was seen. */
  | { readonly kind: "conflict"; readonly promised: Ballot };

/** Phase 1: promise to accept nothing below `ballot`. */
export function prepare(state: RegisterState, ballot: Ballot): Prepared {
  if (compareBallots(ballot, state.promised) <= 0) {
    return { kind: "conflict", promised: state.promised };
  }
  return { kind: "promised", state: { ...state, promised: ballot } };
}

export type Accepted =
  | { readonly kind: "accepted"; readonly state: RegisterState }
  | { readonly kind: "conflict"; readonly promised: Ballot };

/**
 * Phase 2: accept `value`, unless a higher ballot was promised. `next`, higher than `ballot`, is promised with it: phase
 * 1 of the same proposer's next change ("one-round trip optimization", §2.2.1).
 */
export function accept(
  state: RegisterState,
  ballot: Ballot,
  value: unknown,
  next: Ballot = ballot,
): Accepted {
  if (compareBallots(ballot, state.promised) < 0) {
    return { kind: "conflict", promised: state.promised };
  }
  const promised = compareBallots(next, ballot) > 0 ? next : ballot;
  return { kind: "accepted", state: { promised, accepted: ballot, value } };
}

/**
 * What a new acceptor of a group takes over from a former one, as its successor: what that one
 * accepted, and what it promised. Without the promise, a ballot below one that a majority of the
 * former group has promised could still be chosen. `blocked`: something accepted could not be
 * taken over because of a promise; the register has to be decided anew first.
 */
export function inherit(
  state: RegisterState,
  other: RegisterState,
): { readonly state: RegisterState; readonly blocked: boolean } {
  const adopted = adopt(state, other) ?? state;
  const blocked = compareBallots(other.accepted, adopted.accepted) > 0;
  if (compareBallots(other.promised, adopted.promised) <= 0) return { state: adopted, blocked };
  return { state: { ...adopted, promised: other.promised }, blocked };
}

/**
 * What another acceptor accepted, learned by repair or transfer: the same as its proposer's late
 * phase 2 message. Undefined when there is nothing to take over.
 */
export function adopt(state: RegisterState, other: RegisterState): RegisterState | undefined {
  if (compareBallots(other.accepted, state.accepted) <= 0) return undefined;
  const answer = accept(state, other.accepted, other.value);
  return answer.kind === "accepted" ? answer.state : undefined;
}
