/** Zave's steps: what is asked, and what is written when the answer is there. */
import assert from "node:assert/strict";
import { unreachable } from "../shared/unreachable.js";
import { dropFinger } from "./fingers.js";
import { type MemberRef, sameMember } from "./member.js";
import { adoptList, closerSuccessor, isCloserPredecessor, joinFrom } from "./rules.js";
import { isLost, type Outcome, type Running } from "./state.js";
import { ask, enqueue, learn, query, set, setSuccessors, type Turn } from "./turn.js";

/** Times that a busy member is asked again before the operation is given up until the next tick. */
const busyMax = 10;

export function onRetry(turn: Turn): void {
  const { running } = turn.state;
  if (running === undefined || running.waiting) return;
  set(turn, { running: { ...running, waiting: true } });
  query(turn, running.operation);
}

export function onOutcome(turn: Turn, outcome: Outcome): void {
  const { running } = turn.state;
  assert(running?.waiting === true, "an outcome without a query");
  if (outcome.kind === "pending") return onBusy(turn, running);
  set(turn, { running: undefined });
  if (outcome.kind === "state") learn(turn, outcome.known);
  const { operation } = running;
  switch (operation.kind) {
    case "join":
      return finishJoin(turn, outcome);
    case "stabilizeFromSuccessor":
      return fromSuccessor(turn, operation.successor, outcome);
    case "stabilizeFromPredecessor":
      return fromPredecessor(turn, operation.candidate, outcome);
    case "rectify":
      if (outcome.kind === "dead") setPredecessor(turn, operation.notifier);
      return;
    default:
      return unreachable(operation);
  }
}

/** "Pending" is a sign of life, so nothing is written; after some tries the next tick goes on. */
function onBusy(turn: Turn, running: Running): void {
  const busy = running.busy + 1;
  if (busy <= busyMax) {
    set(turn, { running: { ...running, waiting: false, busy } });
    turn.effects.push({ kind: "pause", busy });
    return;
  }
  set(turn, { running: undefined });
  if (running.operation.kind === "join") joinFailed(turn, undefined);
}

function joinFailed(turn: Turn, holder: MemberRef | undefined): void {
  turn.effects.push({ kind: "joinFailed", holder });
}

function finishJoin(turn: Turn, outcome: Outcome): void {
  if (outcome.kind !== "state") return joinFailed(turn, undefined);
  const { self, listLength } = turn.state;
  const verdict = joinFrom({ self, successors: [], listLength }, outcome.view);
  switch (verdict.kind) {
    case "elsewhere":
      return joinFailed(turn, undefined);
    case "held":
      return joinFailed(turn, verdict.holder);
    case "join":
      set(turn, { member: true, predecessor: outcome.view.self });
      setSuccessors(turn, verdict.successors);
      learn(turn, [outcome.view.self]);
      turn.effects.push({ kind: "joined" });
      return finish(turn, true);
    default:
      return unreachable(verdict);
  }
}

function fromSuccessor(turn: Turn, successor: MemberRef, outcome: Outcome): void {
  if (outcome.kind === "dead") return dropSuccessor(turn, successor);
  assert(outcome.kind === "state");
  setSuccessors(turn, adoptList(turn.state, outcome.view));
  const candidate = closerSuccessor(turn.state.self, outcome.view);
  // In the same turn, so that successors[0] does not change between the two steps.
  if (candidate !== undefined) ask(turn, { kind: "stabilizeFromPredecessor", candidate });
  else finish(turn, false);
}

/** The first entry is dead: shift, and go on with the next one. */
function dropSuccessor(turn: Turn, dead: MemberRef): void {
  const successors = turn.state.successors.filter((entry) => entry.uuid !== dead.uuid);
  set(turn, { successors, fingers: dropFinger(turn.state.fingers, dead) });
  const [successor] = successors;
  if (successor !== undefined) return ask(turn, { kind: "stabilizeFromSuccessor", successor });
  if (turn.state.predecessor?.uuid === dead.uuid) set(turn, { predecessor: undefined });
  // Never "I am my own successor": the others may only be out of reach.
  if (isLost(turn.state)) turn.effects.push({ kind: "recover" });
}

function fromPredecessor(turn: Turn, candidate: MemberRef, outcome: Outcome): void {
  if (outcome.kind !== "state") {
    set(turn, { fingers: dropFinger(turn.state.fingers, candidate) });
    return finish(turn, false);
  }
  setSuccessors(turn, adoptList(turn.state, outcome.view));
  // Another member may be in between as well.
  finish(turn, true);
}

function finish(turn: Turn, again: boolean): void {
  const [to] = turn.state.successors;
  if (to === undefined) return;
  turn.effects.push({ kind: "notify", to });
  if (again) enqueue(turn, { stabilize: true });
}

export function rectify(turn: Turn, notifier: MemberRef): void {
  const { self, predecessor, successors } = turn.state;
  if (isCloserPredecessor(self, predecessor, notifier)) setPredecessor(turn, notifier);
  else if (predecessor !== undefined && !sameMember(predecessor, notifier)) {
    ask(turn, { kind: "rectify", predecessor, notifier });
  }
  // The second member of a ring has come, or one has found a lost member.
  if (successors.length === 0) enqueue(turn, { stabilize: true });
}

function setPredecessor(turn: Turn, predecessor: MemberRef): void {
  set(turn, { predecessor });
}
