import type { Ballot, RegisterState } from "../shared/operation.js";

export const zeroBallot: Ballot = { counter: 0, proposer: "" };

/** An acceptor that has never heard of the register. */
export const untouched: RegisterState = {
  promised: zeroBallot,
  accepted: zeroBallot,
  value: null,
};

/** Negative when a < b, 0 when equal. */
export function compareBallots(a: Ballot, b: Ballot): number {
  if (a.counter !== b.counter) return a.counter - b.counter;
  return a.proposer < b.proposer ? -1 : a.proposer > b.proposer ? 1 : 0;
}

export const isZero = (ballot: Ballot): boolean => ballot.counter === 0;
