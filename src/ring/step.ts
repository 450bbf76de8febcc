/** The ring's logic: `step(state, input)` gives the next state and what to do. Pure. */
import assert from "node:assert/strict";
import type { MemberUuid } from "../shared/ids.js";
import { unreachable } from "../shared/unreachable.js";
import * as cache from "./cache.js";
import { dropFinger, fillFromList, fingerStart, setFinger } from "./fingers.js";
import { between } from "./identifier.js";
import { type MemberRef, sameMember } from "./member.js";
import { onOutcome, onRetry, rectify } from "./operations.js";
import { type Effect, type Input, isLost, type RingState } from "./state.js";
import { ask, enqueue, learn, set, type Turn } from "./turn.js";

export interface Step {
  readonly state: RingState;
  readonly effects: readonly Effect[];
}

export type StepFunction = (state: RingState, input: Input) => Step;

/** Notifiers that wait for the running operation; those beyond notify again. */
const notifiersMax = 16;

export function step(state: RingState, input: Input): Step {
  const turn: Turn = { state, effects: [] };
  apply(turn, input);
  if (turn.state.running === undefined) startNext(turn);
  if (turn.state.known !== state.known) {
    turn.effects.push({ kind: "persist", known: [...turn.state.known.values()] });
  }
  return turn;
}

function apply(turn: Turn, input: Input): void {
  const { state } = turn;
  switch (input.kind) {
    case "first":
    case "resume":
      assert(!state.member);
      return set(turn, { member: true });
    case "join":
      return enqueue(turn, { join: input.from });
    case "stabilize":
      return enqueue(turn, { stabilize: true });
    case "adopt":
      return enqueue(turn, { candidate: input.candidate });
    case "notified":
      return onNotified(turn, input.by);
    case "outcome":
      return onOutcome(turn, input.outcome);
    case "retry":
      return onRetry(turn);
    case "refreshFinger":
      return refreshFinger(turn);
    case "finger":
      return onFinger(turn, input.index, input.member);
    case "silent":
      return onSilent(turn, input.member);
    case "learn":
      for (const { uuid } of input.members) recall(turn, uuid);
      return learn(turn, input.members);
    case "forget":
      return forget(turn, input.uuid);
    default:
      return unreachable(input);
  }
}

/** Starts the next operation in the queue: one query at a time. */
function startNext(turn: Turn): void {
  const { state } = turn;
  const { join, stabilize, candidate, notifiers } = state.queue;
  if (join !== undefined) {
    enqueue(turn, { join: undefined });
    assert(!state.member);
    return ask(turn, { kind: "join", from: join });
  }
  if (!state.member) return;
  const [notifier, ...others] = notifiers;
  if (notifier !== undefined) {
    enqueue(turn, { notifiers: others });
    rectify(turn, notifier);
    if (turn.state.running === undefined) startNext(turn);
    return;
  }
  const [successor] = state.successors;
  if (candidate !== undefined) {
    enqueue(turn, { candidate: undefined });
    if (successor === undefined || between(state.self.id, candidate.id, successor.id)) {
      ask(turn, { kind: "stabilizeFromPredecessor", candidate });
    } else startNext(turn);
    return;
  }
  if (!stabilize) return;
  enqueue(turn, { stabilize: false });
  if (successor !== undefined) ask(turn, { kind: "stabilizeFromSuccessor", successor });
  else if (isLost(state)) turn.effects.push({ kind: "recover" });
}

/** Whoever speaks is alive: it is learned, and forgotten no longer. */
function onNotified(turn: Turn, by: MemberRef): void {
  recall(turn, by.uuid);
  learn(turn, [by]);
  const { notifiers } = turn.state.queue;
  if (notifiers.length >= notifiersMax || notifiers.some((other) => sameMember(other, by))) return;
  enqueue(turn, { notifiers: [...notifiers, by] });
}

function refreshFinger(turn: Turn): void {
  const { state } = turn;
  if (!state.member) return;
  const { bits } = state.parameters;
  const owner = { self: state.self, bits };
  const local = fillFromList(owner, state.fingers, state.successors);
  set(turn, { fingers: local.table });
  const index = Math.max(state.nextFinger, local.next);
  if (index >= bits) {
    set(turn, { nextFinger: 0 });
    return;
  }
  const key = fingerStart(state.self.id, index, bits);
  set(turn, { nextFinger: index + 1 });
  turn.effects.push({ kind: "lookupFinger", index, key });
}

function onFinger(turn: Turn, index: number, member: MemberRef): void {
  const { self, parameters, fingers } = turn.state;
  const { table, next } = setFinger({ self, bits: parameters.bits }, fingers, index, member);
  set(turn, { fingers: table, nextFinger: next >= parameters.bits ? 0 : next });
}

function onSilent(turn: Turn, member: MemberRef): void {
  const { state } = turn;
  set(turn, { fingers: dropFinger(state.fingers, member) });
  if (state.successors.some((entry) => entry.uuid === member.uuid)) {
    enqueue(turn, { stabilize: true });
  }
}

/** The ring state follows by liveness as always: a member that left does not answer. */
function forget(turn: Turn, uuid: MemberUuid): void {
  const { state } = turn;
  set(turn, {
    known: cache.remove(state.known, uuid),
    forgotten: cache.remember(state.forgotten, uuid),
  });
  enqueue(turn, { stabilize: true });
}

/** It is back: it spoke itself, or the roster has it. */
function recall(turn: Turn, uuid: MemberUuid): void {
  if (!turn.state.forgotten.has(uuid)) return;
  const forgotten = new Set(turn.state.forgotten);
  forgotten.delete(uuid);
  set(turn, { forgotten });
}
