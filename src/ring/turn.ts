import { unreachable } from "../shared/unreachable.js";
import * as cache from "./cache.js";
import { type MemberRef, sameMember } from "./member.js";
import type { Effect, Operation, RingState } from "./state.js";

/** A step in the making: the only thing here that is written to. */
export interface Turn {
  state: RingState;
  readonly effects: Effect[];
}

export function set(turn: Turn, change: Partial<RingState>): void {
  turn.state = { ...turn.state, ...change };
}

export function enqueue(turn: Turn, change: Partial<RingState["queue"]>): void {
  set(turn, { queue: { ...turn.state.queue, ...change } });
}

export function ask(turn: Turn, operation: Operation): void {
  set(turn, { running: { operation, waiting: true, busy: 0 } });
  query(turn, operation);
}

export function query(turn: Turn, operation: Operation): void {
  turn.effects.push({
    kind: "query",
    what: operation.kind === "rectify" ? "ping" : "state",
    to: targetOf(operation),
  });
}

/** Whom an operation asks. */
export function targetOf(operation: Operation): MemberRef {
  switch (operation.kind) {
    case "join":
      return operation.from;
    case "stabilizeFromSuccessor":
      return operation.successor;
    case "stabilizeFromPredecessor":
      return operation.candidate;
    case "rectify":
      return operation.predecessor;
    default:
      return unreachable(operation);
  }
}

/** Keeps the old array when nothing changed, so that callers see changes by identity. */
export function setSuccessors(turn: Turn, list: readonly MemberRef[]): void {
  const old = turn.state.successors;
  if (list.length === old.length && list.every((entry, i) => sameAt(old, i, entry))) return;
  set(turn, { successors: list });
  learn(turn, list);
}

function sameAt(list: readonly MemberRef[], index: number, entry: MemberRef): boolean {
  const other = list[index];
  return other !== undefined && sameMember(other, entry);
}

export function learn(turn: Turn, members: readonly MemberRef[]): void {
  const { state } = turn;
  const skip = (member: MemberRef): boolean =>
    member.uuid === state.self.uuid || state.forgotten.has(member.uuid);
  const known = cache.learn(state.known, members, skip);
  if (known !== state.known) set(turn, { known });
}
