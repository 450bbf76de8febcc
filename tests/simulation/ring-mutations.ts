/** Known ways to get Chord wrong, put around the real logic. */
import { encodeRingMessage } from "../../src/ring/message.js";
import type { Input, Operation, RingState } from "../../src/ring/state.js";
import { step, type StepFunction } from "../../src/ring/step.js";
import type { WorldOptions } from "./ring-world.js";

type Mutation = Pick<WorldOptions, "step" | "tamper">;

/** Changes what the logic is told of the outcome of one kind of operation. */
function withOutcome(
  kind: Operation["kind"],
  change: (state: RingState, operation: Operation, input: OutcomeInput) => OutcomeInput,
): Mutation {
  const broken: StepFunction = (state, input) => {
    const operation = state.running?.operation;
    if (input.kind !== "outcome" || operation?.kind !== kind) return step(state, input);
    return step(state, change(state, operation, input));
  };
  return { step: () => broken };
}

type OutcomeInput = Extract<Input, { kind: "outcome" }>;

export const mutations = {
  /** Original Chord: a joiner knows its successor and nobody else. */
  "joins with the successor alone": withOutcome("join", (_state, _operation, { outcome }) => {
    if (outcome.kind !== "state") return { kind: "outcome", outcome };
    const view = { ...outcome.view, successors: outcome.view.successors.slice(0, 1) };
    return { kind: "outcome", outcome: { ...outcome, view } };
  }),

  /** Original Chord: the successor's predecessor is adopted unseen. */
  "adopts a candidate that may be dead": withOutcome(
    "stabilizeFromPredecessor",
    (state, operation, input) => {
      if (input.outcome.kind !== "dead" || operation.kind !== "stabilizeFromPredecessor") {
        return input;
      }
      const { successors } = state;
      const view = { self: operation.candidate, predecessor: undefined, successors };
      return { kind: "outcome", outcome: { kind: "state", view, known: [] } };
    },
  ),

  "keeps a dead successor": withOutcome("stabilizeFromSuccessor", (state, operation, input) => {
    if (input.outcome.kind !== "dead" || operation.kind !== "stabilizeFromSuccessor") return input;
    const successors = state.successors.slice(1);
    const view = { self: operation.successor, predecessor: undefined, successors };
    return { kind: "outcome", outcome: { kind: "state", view, known: [] } };
  }),

  /** Original Chord: notify compares places and never asks whether the predecessor lives. */
  "keeps a dead predecessor": withOutcome("rectify", () => ({
    kind: "outcome",
    outcome: { kind: "alive" },
  })),

  "serves its state while a query is out": {
    tamper: (life, _request, reply) => {
      const { state } = life;
      const isPending =
        typeof reply === "object" && reply !== null && "kind" in reply && reply.kind === "pending";
      if (!isPending || state === undefined) return reply;
      const { self, predecessor, successors } = state;
      return encodeRingMessage({ kind: "view", self, predecessor, successors, known: [] });
    },
  } satisfies Mutation,
} as const;

export type MutationName = keyof typeof mutations;
