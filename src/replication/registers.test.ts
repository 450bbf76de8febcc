import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MemberUuid } from "../shared/ids.js";
import type { Ballot, RegisterState } from "../shared/operation.js";
import { accept, prepare } from "./acceptor.js";
import { untouched } from "./ballot.js";
import { Groups } from "./group.js";
import type { Peers } from "./peers.js";
import { Registers } from "./registers.js";
import { memberOf, rosterOf } from "./testing.js";

/** Three acceptors behind a network that loses requests and answers, by a list of dice. */
class Network {
  readonly states = new Map<MemberUuid, RegisterState>();
  /** Methods that acceptors were asked, in order. */
  readonly asked: string[] = [];
  /** Acceptors of a version that promises nothing with what it accepts. */
  isOld = false;
  /** Of the roster. */
  epoch = 1;
  private rolled = 0;

  constructor(
    private readonly lost: readonly number[],
    readonly down: ReadonlySet<MemberUuid> = new Set(),
  ) {}

  with(states: ReadonlyMap<MemberUuid, RegisterState>): this {
    for (const [uuid, state] of states) this.states.set(uuid, state);
    return this;
  }

  private dice(): number {
    this.rolled += 1;
    return this.lost[this.rolled % Math.max(1, this.lost.length)] ?? 0;
  }

  registersOf(proposer: string): Registers {
    const members = [1, 2, 3].map((id) => memberOf(id));
    const epochOf = (): number => this.epoch;
    const peers = {
      call: async (to: { uuid: MemberUuid }, method: string, request: never) => {
        const fate = this.down.has(to.uuid) ? 1 : this.dice();
        for (let i = 0; i < fate + 1; i += 1) await Promise.resolve();
        if (fate === 1) throw new Error("the request was lost");
        const reply = this.answer(to.uuid, method, request);
        if (fate === 2) throw new Error("the answer was lost");
        return reply;
      },
    };
    const groups = new Groups(peers as unknown as Peers, {
      get roster() {
        return rosterOf(members, 2, epochOf());
      },
      learn: () => Promise.resolve(),
    });
    const clock = { wallMs: () => 0, monotonicMs: () => 0, sleep: () => Promise.resolve() };
    const random = { bytes: (n: number) => Buffer.alloc(n, this.dice() * 7 + proposer.length) };
    return new Registers(proposer as MemberUuid, groups, clock, random);
  }

  private answer(
    at: MemberUuid,
    method: string,
    request: { ballot: never; value?: unknown; next?: Ballot },
  ) {
    this.asked.push(method);
    const state = this.states.get(at) ?? untouched;
    if (method === "readRegister") return { kind: "register", ...state };
    const answer =
      method === "prepare"
        ? prepare(state, request.ballot)
        : accept(state, request.ballot, request.value, this.isOld ? undefined : request.next);
    if (answer.kind === "conflict") return answer;
    this.states.set(at, answer.state);
    const next = method === "accept" && request.next && !this.isOld ? { next: true } : {};
    return { ...answer.state, kind: answer.kind, ...next };
  }
}

const append = (text: string) => (value: unknown) => ({
  set: { value: [...((value as string[] | null) ?? []), text] },
  result: text,
});

describe("a member that goes on changing a register", () => {
  const again = { again: true };

  test("needs one round from the third change on", async () => {
    const network = new Network([]);
    const registers = network.registersOf("a");
    for (const text of ["1", "2"]) await registers.change("account:x", append(text), again);
    network.asked.length = 0;
    const answer = await registers.change("account:x", append("3"), again);
    expect(answer).toMatchObject({ kind: "changed", value: ["1", "2", "3"] });
    expect(new Set(network.asked)).toEqual(new Set(["accept"]));
  });

  test("sees what another one has changed in between", async () => {
    const network = new Network([]);
    const [one, two] = [network.registersOf("a"), network.registersOf("b")];
    for (const text of ["1", "2"]) await one.change("account:x", append(text), again);
    expect((await two.change("account:x", append("3"), again)).kind).toBe("changed");
    expect(await one.change("account:x", append("4"), again)).toMatchObject({
      kind: "changed",
      value: ["1", "2", "3", "4"],
    });
  });

  test("uses a promise once: of two changes at the same time, none is lost", async () => {
    for (let slow = 0; slow < 12; slow += 1) {
      // Answers of one acceptor or another get lost, so that rounds take their turns in different orders.
      const network = new Network(Array.from({ length: 12 }, (_, n) => (n === slow ? 2 : 0)));
      const registers = network.registersOf("a");
      for (const text of ["1", "2"]) await registers.change("account:x", append(text), again);
      const both = ["3", "4"].map((text) => registers.change("account:x", append(text), again));
      const kinds = (await Promise.all(both)).map(({ kind }) => kind);
      expect(kinds).toEqual(["changed", "changed"]);
      const read = await new Network([]).with(network.states).registersOf("z").read("account:x");
      const value = read.kind === "value" ? read.value : [];
      expect([...new Set(value as string[])].sort()).toEqual(["1", "2", "3", "4"]);
    }
  });

  test("does so in two rounds where acceptors promise nothing with what they accept", async () => {
    const network = new Network([]);
    network.isOld = true;
    const [one, two] = [network.registersOf("a"), network.registersOf("b")];
    for (const text of ["1", "2"]) await one.change("account:x", append(text), again);
    await two.change("account:x", append("3"), again);
    network.asked.length = 0;
    expect(await one.change("account:x", append("4"), again)).toMatchObject({
      value: ["1", "2", "3", "4"],
    });
    expect(network.asked[0]).toBe("prepare");
  });

  test("asks for promises anew when the members have changed", async () => {
    const network = new Network([]);
    const registers = network.registersOf("a");
    for (const text of ["1", "2"]) await registers.change("account:x", append(text), again);
    network.epoch = 2;
    network.asked.length = 0;
    expect(await registers.change("account:x", append("3"), again)).toMatchObject({
      value: ["1", "2", "3"],
    });
    expect(network.asked[0]).toBe("prepare");
  });
});

describe("a register", () => {
  test("is absent, then has its value, for whoever asks", async () => {
    const network = new Network([]);
    const [one, two] = [network.registersOf("a"), network.registersOf("b")];
    expect(await one.read("account:x")).toEqual({ kind: "absent" });
    expect(await one.change("account:x", append("v"))).toMatchObject({ kind: "changed" });
    expect(await two.read("account:x")).toMatchObject({ kind: "value", value: ["v"] });
  });

  test("answers a refusal with the agreed value, and is not changed by it", async () => {
    const network = new Network([]);
    const registers = network.registersOf("a");
    await registers.change("account:x", append("v"));
    const answer = await registers.change("account:x", () => ({ result: "no" }));
    expect(answer).toEqual({ kind: "refused", value: ["v"], result: "no" });
    expect(await registers.read("account:x")).toMatchObject({ value: ["v"] });
  });

  test.each([
    [1, "changed"],
    [2, "undecided"],
  ])("with %i of three silent: %s", async (silent, kind) => {
    const down = new Set([memberOf(1).uuid, memberOf(2).uuid].slice(0, silent));
    const registers = new Network([], down).registersOf("a");
    expect((await registers.change("account:x", append("v"))).kind).toBe(kind);
    expect((await registers.read("account:x")).kind).toBe(silent === 1 ? "value" : "undecided");
  });

  test("decides what only one has accepted before it tells of it", async () => {
    const network = new Network([]);
    const counted = { counter: 3, proposer: "z" };
    const half = { promised: counted, accepted: counted, value: ["half"] };
    network.states.set(memberOf(1).uuid, half);
    const answer = await network.registersOf("a").read("account:x");
    if (answer.kind === "value" && answer.value !== null) {
      const votes = [...network.states.values()].filter(({ value }) => value !== null);
      expect(votes.length).toBeGreaterThan(1);
    }
    expect(await network.registersOf("b").read("account:x")).toMatchObject(
      answer.kind === "value" ? { value: answer.value } : {},
    );
  });
});

test.each([
  [false, "each in two rounds"],
  [true, "whoever goes on in one"],
])("no acknowledged change is lost, whatever gets lost on the way (%s: %s)", async (again) => {
  let acknowledged = 0;
  const anyFate = fc.array(fc.constantFrom(0, 0, 0, 0, 1, 2), { minLength: 5, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(anyFate, fc.integer({ min: 1, max: 4 }), async (lost, changes) => {
      const network = new Network(lost);
      const done: string[] = [];
      const work = ["a", "bb", "ccc"].map(async (name) => {
        const registers = network.registersOf(name);
        for (let i = 0; i < changes; i += 1) {
          const text = `${name}${i}`;
          const answer = await registers.change("account:x", append(text), { again });
          if (answer.kind === "changed") done.push(text);
        }
      });
      await Promise.all(work);
      acknowledged += done.length;
      const healthy = new Network([]).with(network.states);
      const final = await healthy.registersOf("z").change("account:x", append("end"));
      expect(final.kind).toBe("changed");
      const value = final.kind === "changed" ? (final.value as string[]) : [];
      for (const text of done) expect(value).toContain(text);
    }),
    { numRuns: 300 },
  );
  expect(acknowledged).toBeGreaterThan(100);
});
