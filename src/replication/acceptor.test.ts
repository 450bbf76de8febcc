import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Ballot, RegisterState } from "../shared/operation.js";
import { accept, adopt, inherit, prepare } from "./acceptor.js";
import { compareBallots, untouched, zeroBallot } from "./ballot.js";

const ballot = (counter: number, proposer = "p"): Ballot => ({ counter, proposer });
const state = (promised: Ballot, accepted = zeroBallot, value: unknown = null): RegisterState => ({
  promised,
  accepted,
  value,
});

const anyBallot = fc.record({ counter: fc.nat(6), proposer: fc.constantFrom("a", "b", "c") });

describe("ballots", () => {
  test("are totally ordered: by counter, then by proposer", () => {
    fc.assert(
      fc.property(anyBallot, anyBallot, anyBallot, (a, b, c) => {
        expect(Math.sign(compareBallots(a, b))).toBe(-Math.sign(compareBallots(b, a)) + 0);
        expect(compareBallots(a, b) === 0).toBe(
          a.counter === b.counter && a.proposer === b.proposer,
        );
        if (compareBallots(a, b) <= 0 && compareBallots(b, c) <= 0) {
          expect(compareBallots(a, c)).toBeLessThanOrEqual(0);
        }
      }),
    );
    expect(compareBallots(ballot(2, "a"), ballot(1, "z"))).toBeGreaterThan(0);
  });
});

describe("an acceptor", () => {
  test.each([
    ["a first ballot", untouched, ballot(1), "promised"],
    ["a higher one", state(ballot(1)), ballot(2), "promised"],
    ["the same one again", state(ballot(1)), ballot(1), "conflict"],
    ["a lower one", state(ballot(2)), ballot(1, "z"), "conflict"],
  ] as const)("asked to promise %s", (_, before, asked, kind) => {
    expect(prepare(before, asked).kind).toBe(kind);
  });

  test.each([
    ["what it promised", state(ballot(2)), ballot(2), "accepted"],
    ["a higher ballot", state(ballot(2)), ballot(3), "accepted"],
    ["a lower one", state(ballot(2)), ballot(1, "z"), "conflict"],
  ] as const)("asked to accept %s", (_, before, asked, kind) => {
    expect(accept(before, asked, "v").kind).toBe(kind);
  });

  test("promises the next ballot with what it accepts, and none that is not higher", () => {
    expect(accept(state(ballot(2)), ballot(2), "v", ballot(5))).toEqual({
      kind: "accepted",
      state: state(ballot(5), ballot(2), "v"),
    });
    expect(accept(state(ballot(2)), ballot(2), "v", ballot(1))).toEqual({
      kind: "accepted",
      state: state(ballot(2), ballot(2), "v"),
    });
    expect(accept(state(ballot(6)), ballot(5), "v", ballot(7)).kind).toBe("conflict");
  });

  test("keeps what it accepted when it promises more", () => {
    const before = state(ballot(1), ballot(1), "v");
    const answer = prepare(before, ballot(5));
    expect(answer).toEqual({ kind: "promised", state: state(ballot(5), ballot(1), "v") });
  });

  test("adopts what was accepted with a higher ballot, unless it promised a higher one yet", () => {
    const other = state(ballot(3), ballot(3), "w");
    expect(adopt(state(ballot(2), ballot(2), "v"), other)).toEqual(other);
    expect(adopt(state(ballot(4), ballot(2), "v"), other)).toBeUndefined();
    expect(adopt(state(ballot(4), ballot(4), "v"), other)).toBeUndefined();
  });

  test("a successor inherits the promise, and says what a promise of its own blocks", () => {
    const former = state(ballot(9), ballot(3), "w");
    expect(inherit(untouched, former)).toEqual({ state: former, blocked: false });
    const own = state(ballot(5));
    expect(inherit(own, former)).toEqual({ state: state(ballot(9)), blocked: true });
    const newer = state(ballot(10), ballot(10), "x");
    expect(inherit(newer, former)).toEqual({ state: newer, blocked: false });
  });
});

/**
 * Proposers and acceptors, message by message: lost, late, in any order, with crashes that lose
 * nothing durable. Each acceptor's steps are durable before it answers, as the service's are.
 */
class Paxos {
  readonly acceptors: RegisterState[];
  readonly chosen = new Map<string, unknown>();
  private readonly votes = new Map<string, Set<number>>();
  private readonly rounds: {
    ballot: Ballot;
    value: unknown;
    promises: Map<number, RegisterState>;
    isAccepting: boolean;
  }[] = [];

  constructor(private readonly size: number) {
    this.acceptors = Array.from({ length: size }, () => untouched);
  }

  begin(proposer: string): void {
    const counter = this.rounds.length + 1;
    const round = { ballot: ballot(counter, proposer), value: `v${counter}`, isAccepting: false };
    this.rounds.push({ ...round, promises: new Map() });
  }

  /** One message of a round reaches an acceptor; its answer may be lost. */
  deliver(round: number, acceptor: number, answerLost: boolean): void {
    const current = this.rounds[round % Math.max(1, this.rounds.length)];
    const index = acceptor % this.size;
    const before = this.acceptors[index];
    if (!current || !before) return;
    if (current.isAccepting) return this.acceptAt(current, index, before);
    const answer = prepare(before, current.ballot);
    if (answer.kind === "conflict") return;
    this.acceptors[index] = answer.state;
    if (answerLost) return;
    current.promises.set(index, answer.state);
    if (current.promises.size <= this.size / 2) return;
    const newest = [...current.promises.values()].reduce((a, b) =>
      compareBallots(a.accepted, b.accepted) >= 0 ? a : b,
    );
    // CASPaxos: what follows is a function of what was; here, the first value stays.
    if (newest.value !== null) current.value = newest.value;
    current.isAccepting = true;
  }

  private acceptAt(
    round: { ballot: Ballot; value: unknown },
    index: number,
    before: RegisterState,
  ): void {
    const answer = accept(before, round.ballot, round.value);
    if (answer.kind === "conflict") return;
    this.acceptors[index] = answer.state;
    this.vote(index, answer.state);
  }

  private vote(index: number, { accepted, value }: RegisterState): void {
    const key = `${accepted.counter} ${accepted.proposer}`;
    const votes = this.votes.get(key) ?? new Set();
    votes.add(index);
    this.votes.set(key, votes);
    if (votes.size > this.size / 2) this.chosen.set(key, value);
  }

  /** Repair carries a vote from one acceptor to another. */
  spread(from: number, to: number): void {
    const source = this.acceptors[from % this.size];
    const target = this.acceptors[to % this.size];
    if (!source || !target) return;
    const adopted = adopt(target, source);
    if (!adopted) return;
    this.acceptors[to % this.size] = adopted;
    this.vote(to % this.size, adopted);
  }
}

test("once a majority has accepted a value, no other is ever chosen", () => {
  const step = fc.oneof(
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("begin" as const),
        who: fc.constantFrom("a", "b", "c"),
      }),
    },
    {
      weight: 12,
      arbitrary: fc.record({
        kind: fc.constant("deliver" as const),
        round: fc.nat(3),
        acceptor: fc.nat(4),
        answerLost: fc.constantFrom(true, false, false, false),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("spread" as const),
        from: fc.nat(4),
        to: fc.nat(4),
      }),
    },
  );
  let decided = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(3, 5),
      fc.array(step, { minLength: 40, maxLength: 80 }),
      (size, steps) => {
        const paxos = new Paxos(size);
        paxos.begin("a");
        for (const one of steps) {
          if (one.kind === "begin") paxos.begin(one.who);
          else if (one.kind === "spread") paxos.spread(one.from, one.to);
          else paxos.deliver(one.round, one.acceptor, one.answerLost);
        }
        if (paxos.chosen.size > 0) decided += 1;
        expect(new Set(paxos.chosen.values()).size).toBeLessThanOrEqual(1);
      },
    ),
    { numRuns: 2_000 },
  );
  expect(decided).toBeGreaterThan(100);
});
