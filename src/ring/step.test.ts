import { describe, expect, test } from "vitest";
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import { answer, headerOf } from "./answer.js";
import type { MemberRef } from "./member.js";
import { type Input, initialState, isLost, type RingState } from "./state.js";
import { type Step, step } from "./step.js";

const parameters = { bits: 8, replicas: 2 };
const ring = headerOf(parameters);

function at(id: number): MemberRef {
  return {
    id: BigInt(id) as RingId,
    addr: `n${id}:1` as Address,
    uuid: `u${id}` as MemberUuid,
  };
}

function fresh(id: number): RingState {
  return initialState({ self: at(id), parameters, listLength: 3, known: [] });
}

function run(state: RingState, ...inputs: readonly Input[]): Step {
  let last: Step = { state, effects: [] };
  for (const input of inputs) last = step(last.state, input);
  return last;
}

function view(id: number, successors: readonly number[], predecessor?: number): Input {
  return {
    kind: "outcome",
    outcome: {
      kind: "state",
      view: {
        self: at(id),
        predecessor: predecessor === undefined ? undefined : at(predecessor),
        successors: successors.map(at),
      },
      known: [],
    },
  };
}

const dead: Input = { kind: "outcome", outcome: { kind: "dead" } };
const pending: Input = { kind: "outcome", outcome: { kind: "pending" } };
const stabilize: Input = { kind: "stabilize" };

/** 10 has joined between 5 and 20 and finished the stabilization that follows. */
function joined(): RingState {
  const { state } = run(
    fresh(10),
    { kind: "join", from: at(5) },
    view(5, [20, 30, 40]),
    view(20, [30, 40, 5], 10),
  );
  expect(state.running).toBeUndefined();
  return state;
}

function ids(state: RingState): number[] {
  return state.successors.map((entry) => Number(entry.id));
}

describe("one query at a time", () => {
  test("ring state is not served while one is out, pings and lookups are", () => {
    const { state, effects } = run(joined(), stabilize);
    expect(effects).toContainEqual({ kind: "query", what: "state", to: at(20) });
    const asked = (kind: "state" | "hello") => answer(state, { kind, ring, from: at(5) }, 0);
    expect(asked("state").reply.kind).toBe("pending");
    expect(answer(state, { kind: "ping", ring }, 0).reply.kind).toBe("pong");
    expect(answer(state, { kind: "find", ring, key: 7n as RingId }, 0).reply.kind).toBe("found");
    const done = run(state, view(20, [30, 40, 5], 10)).state;
    expect(answer(done, { kind: "state", ring, from: at(5) }, 0).reply.kind).toBe("view");
  });

  test("a second operation waits for the first", () => {
    const first = run(joined(), stabilize).state;
    const second = run(first, { kind: "notified", by: at(7) });
    expect(second.effects.filter((effect) => effect.kind === "query")).toEqual([]);
    const done = run(second.state, view(20, [30, 40, 5], 10)).state;
    expect(done.predecessor).toEqual(at(7));
  });

  test("a busy member is asked again after a pause, in which state is served", () => {
    const paused = run(joined(), stabilize, pending);
    expect(paused.effects).toEqual([{ kind: "pause", busy: 1 }]);
    expect(answer(paused.state, { kind: "state", ring, from: at(5) }, 0).reply.kind).toBe("view");
    const again = run(paused.state, { kind: "retry" });
    expect(again.effects).toEqual([{ kind: "query", what: "state", to: at(20) }]);
  });

  test("a member that is busy for ever is given up until the next tick", () => {
    let { state } = run(joined(), stabilize);
    for (let i = 0; i < 10; i++) state = run(state, pending, { kind: "retry" }).state;
    state = run(state, pending).state;
    expect(state.running).toBeUndefined();
    expect(ids(state)).toEqual([20, 30, 40]);
  });
});

describe("stabilization", () => {
  test("dead successors are dropped and the list shifts until one answers", () => {
    const { state, effects } = run(joined(), stabilize, dead, dead, view(40, [5], 30));
    // 30 is dead, which 40 does not know yet; the candidate is asked before it is adopted.
    expect(ids(state)).toEqual([40, 5]);
    expect(effects).toContainEqual({ kind: "query", what: "state", to: at(30) });
    const done = run(state, dead);
    expect(ids(done.state)).toEqual([40, 5]);
    expect(done.effects).toContainEqual({ kind: "notify", to: at(40) });
  });

  test("a live candidate between is adopted with its list", () => {
    const { state } = run(joined(), stabilize, view(20, [30, 40], 15), view(15, [20, 30, 40], 10));
    expect(ids(state)).toEqual([15, 20, 30]);
  });

  test("a predecessor is replaced only by a closer one or when it is dead", () => {
    const asked = run(joined(), { kind: "notified", by: at(3) });
    expect(asked.effects).toContainEqual({ kind: "query", what: "ping", to: at(5) });
    const alive: Input = { kind: "outcome", outcome: { kind: "alive" } };
    expect(run(asked.state, alive).state.predecessor).toEqual(at(5));
    expect(run(asked.state, dead).state.predecessor).toEqual(at(3));
    expect(run(joined(), { kind: "notified", by: at(7) }).state.predecessor).toEqual(at(7));
  });
});

describe("never its own successor", () => {
  test("a member whose successors are all dead looks for the known ones", () => {
    const lost = run(joined(), stabilize, dead, dead, dead);
    expect(lost.state.successors).toEqual([]);
    expect(isLost(lost.state)).toBe(true);
    expect(lost.effects).toContainEqual({ kind: "recover" });
    expect(run(lost.state, stabilize).effects).toContainEqual({ kind: "recover" });
    const back = run(lost.state, { kind: "adopt", candidate: at(30) }, view(30, [40, 5], 5));
    expect(ids(back.state)).toEqual([30, 40, 5]);
  });

  test("it is alone once all others have left by agreement", () => {
    const lost = run(joined(), stabilize, dead, dead, dead).state;
    const left = [5, 20, 30, 40].map((id): Input => ({ kind: "forget", uuid: at(id).uuid }));
    const { state, effects } = run(lost, ...left);
    expect(isLost(state)).toBe(false);
    expect(effects).not.toContainEqual({ kind: "recover" });
  });
});

test("who left by agreement comes back when it or the roster says so, not by hearsay", () => {
  const gone = run(joined(), { kind: "forget", uuid: at(30).uuid }).state;
  const known = [at(30), at(50)];
  const told = run(gone, stabilize, {
    kind: "outcome",
    outcome: {
      kind: "state",
      view: { self: at(20), predecessor: at(10), successors: [at(30), at(40)] },
      known,
    },
  }).state;
  expect([...told.known.keys()]).not.toContain(at(30).uuid);
  expect([...told.known.keys()]).toContain(at(50).uuid);
  const spoken = run(gone, { kind: "notified", by: at(30) }).state;
  expect([...spoken.known.keys()]).toContain(at(30).uuid);
  const listed = run(gone, { kind: "learn", members: known }).state;
  expect([...listed.known.keys()]).toContain(at(30).uuid);
});

test("what is learned is kept on disk but not adopted", () => {
  const { state, effects } = run(joined(), { kind: "learn", members: [at(15)] });
  expect(ids(state)).toEqual([20, 30, 40]);
  const persisted = effects.find((effect) => effect.kind === "persist");
  expect(persisted?.known.map((entry) => Number(entry.id))).toContain(15);
});
