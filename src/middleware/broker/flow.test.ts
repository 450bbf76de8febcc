import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DataFrame, Dead, Frame } from "../../ebm/index.js";
import type { MailboxName, MemberUuid } from "../../shared/ids.js";
import { broughtBy } from "./brought.js";
import {
  type Destination,
  emptyFlow,
  type FlowState,
  type Intention,
  judge,
  renewed,
  withoutLast,
} from "./flow.js";
import { entryId, plan } from "./planning.js";

const to = (queue: string, exclusive = false): Destination => ({
  ...{ queue, exclusive, incarnation: `i-${queue}` },
  mailbox: `${queue}@ring.test/queue` as MailboxName,
});
const work = to("work");
const mine = to("mine", true);
const yours = to("yours", true);

function block(stream: string, sequence: number, from = 0, size = 4, until = size): DataFrame {
  const octets = Buffer.from(`${stream}${sequence}....`.repeat(2)).subarray(from, until);
  return {
    ...{ kind: "data", stream, sequence, id: `${stream}${sequence}`, offset: from, size, octets },
    properties: { sentAtMs: 0 },
  };
}

let count = 0;
const facts = (codec = "z") => {
  count += 1;
  const coordinator = "u1" as MemberUuid;
  return {
    nonce: `n${count}`,
    flow: "80f10f10f1",
    idMs: 1_000 + count,
    takenAtMs: 7,
    coordinator,
    kid: "k",
    codec,
  };
};

function taken(
  state: FlowState,
  frames: readonly Frame[],
  routes: readonly Destination[] = [work],
): { state: FlowState; intention: Intention; frames: readonly DataFrame[] } {
  const brought = broughtBy(frames, state.epoch);
  const verdict = judge(state, brought, () => true);
  if (verdict.kind !== "new") throw new Error(verdict.kind);
  const options = { brought, frames: verdict.frames, routesOf: () => routes, facts: facts() };
  const planned = plan(state, options);
  if (planned.kind === "refused") throw new Error(planned.why);
  return { ...planned, frames: verdict.frames };
}

const nobody = (): boolean => false;
const kindOf = (state: FlowState, frames: readonly Frame[], isDone = nobody): string =>
  judge(state, broughtBy(frames, state.epoch), isDone).kind;

describe("the verdict", () => {
  const first = [block("a", 1), block("a", 2), block("b", 1)];

  test("on the same packet, not known to be delivered: again, with the same intention", () => {
    const { state, intention } = taken(emptyFlow(1), first);
    const verdict = judge(state, broughtBy(first, 1), nobody);
    expect(verdict).toEqual({ kind: "again", intention, frames: first });
  });

  test("on another packet while the last is in doubt: unsure, whatever it brings", () => {
    const { state } = taken(emptyFlow(1), first);
    expect(judge(state, broughtBy([block("a", 3)], 1), nobody)).toMatchObject({
      kind: "unsure",
      restarts: false,
    });
    // The same messages, one packet cut in two.
    expect(judge(state, broughtBy(first.slice(0, 2), 1), nobody)).toMatchObject({
      kind: "unsure",
      restarts: false,
    });
    const restart = [block("a", 1), block("b", 1)];
    expect(judge(state, broughtBy(restart, 1), nobody)).toMatchObject({
      kind: "unsure",
      restarts: true,
    });
  });

  test("whose sender has given up what the last began with: it begins anew behind that", () => {
    const { state } = taken(emptyFlow(1), first);
    const ack = { kind: "ack" as const, connection: "c", cumulative: 0, ranges: [] };
    const rest = { ...ack, windowOctets: 0, pollMs: 0, consumed: {} };
    const dead: Frame = { ...rest, dead: [["a", 1] as const, ["b", 1] as const] };
    const verdict = judge(state, broughtBy([dead, block("a", 2)], 1), nobody);
    expect(verdict).toMatchObject({ kind: "unsure", restarts: true });
    const again = withoutLast(state);
    expect(kindOf(again, [dead, block("a", 2)])).toBe("new");
    expect(kindOf(state, [dead, block("a", 3)])).toBe("unsure");
    // Only what was given up is passed over.
    expect(judge(again, broughtBy([dead, block("a", 3)], 1), nobody)).toEqual({
      kind: "early",
      expected: { a: 2 },
    });
  });

  test("once it is delivered: what is known is known, what is next is new", () => {
    const { state } = taken(emptyFlow(1), first);
    const done = (): boolean => true;
    expect(kindOf(state, first, done)).toBe("known");
    expect(kindOf(state, [block("a", 1)], done)).toBe("known");
    expect(kindOf(state, [block("a", 3)], done)).toBe("new");
    expect(judge(state, broughtBy([block("a", 5), block("b", 1)], 1), done)).toEqual({
      kind: "early",
      expected: { a: 3 },
    });
  });

  test("sequences that their sender gave up are passed over", () => {
    const { state } = taken(emptyFlow(1), first);
    const ack: Frame = {
      ...{ kind: "ack", connection: "c", cumulative: 0, ranges: [], windowOctets: 0 },
      ...{ pollMs: 0, consumed: {}, dead: [["a", 3]] },
    };
    expect(kindOf(state, [ack, block("a", 4)], () => true)).toBe("new");
    expect(kindOf(state, [ack, block("a", 5)], () => true)).toBe("early");
  });

  test("so are runs of them, however long and however they overlap", () => {
    const { state } = taken(emptyFlow(1), first);
    const dead: Dead[] = [
      ["a", 900_000, 1_000_000],
      ["a", 2, 3],
      ["a", 4, 950_000],
      ["b", 1],
    ];
    const ack: Frame = {
      ...{ kind: "ack", connection: "c", cumulative: 0, ranges: [], windowOctets: 0 },
      ...{ pollMs: 0, consumed: {}, dead },
    };
    const done = (): boolean => true;
    expect(kindOf(state, [ack, block("a", 1_000_001)], done)).toBe("new");
    expect(kindOf(state, [ack, block("a", 1_000_002)], done)).toBe("early");
    // What is there is taken, whatever is said of it.
    expect(judge(state, broughtBy([ack, block("a", 500_000)], 1), done)).toMatchObject({
      kind: "new",
      frames: [{ sequence: 500_000 }],
    });
  });
});

test("messages for exclusive queues share a mail, equal mails are one; others are alone", () => {
  const frames = [block("a", 1), block("a", 2), block("a", 3)];
  const { intention } = taken(emptyFlow(1), frames, [mine, work, yours]);
  const names = (numbers: readonly number[]) =>
    numbers.map((number) => intention.destinations[number]?.queue).sort();
  const bodies = intention.bodies.map(({ runs, to: queues }) => [runs, names(queues)]);
  expect(bodies).toContainEqual([[[0, 3]], ["mine", "yours"]]);
  expect(bodies.filter(([, queues]) => String(queues) === "work")).toHaveLength(3);
  expect(bodies).toHaveLength(4);
  expect(intention.routed).toBe(9);
});

test("a message that is due later, or more urgent, has a mail of its own", () => {
  const late = { ...block("a", 2), properties: { sentAtMs: 0, deliverAtMs: 5 } };
  const frames = [block("a", 1), late, block("a", 3)];
  const { intention } = taken(emptyFlow(1), frames, [mine]);
  expect(intention.bodies.map(({ runs }) => runs)).toEqual([[[0, 1]], [[1, 1]], [[2, 1]]]);
});

test("many copies are taken in steps", () => {
  const queues = Array.from({ length: 900 }, (_, i) => to(`q${i}`));
  const frames = Array.from({ length: 5 }, (_, i) => block("a", i + 1));
  const one = taken(emptyFlow(1), frames, queues);
  expect(one.intention.frames).toBe(2);
  const brought = broughtBy(frames, 1);
  const verdict = judge(one.state, brought, () => true);
  expect(verdict).toMatchObject({ kind: "new" });
  expect(judge(one.state, brought, nobody)).toMatchObject({
    kind: "again",
    frames: frames.slice(0, 2),
  });
});

test("messages that share a mail are one copy: a large packet for many exclusive queues is one step", () => {
  const queues = Array.from({ length: 100 }, (_, i) => to(`q${i}`, true));
  const frames = Array.from({ length: 500 }, (_, i) => block("a", i + 1));
  const { intention } = taken(emptyFlow(1), frames, queues);
  expect(intention.frames).toBe(500);
  expect(intention.bodies.map(({ runs, to: all }) => [runs, all.length])).toEqual([
    [[[0, 500]], 100],
  ]);
  // What can't share one is counted.
  const due = frames.map((frame, i) => ({
    ...frame,
    properties: { sentAtMs: 0, deliverAtMs: i },
  }));
  expect(taken(emptyFlow(1), due, queues).intention.frames).toBe(20);
});

test("a queue that was made anew within a packet gets what is routed to it since", () => {
  const before = to("mine", true);
  const anew = { ...before, incarnation: "i-anew" };
  const frames = [block("a", 1, 0, 8, 4), block("a", 1, 4, 8, 8), block("a", 2)];
  const first = taken(emptyFlow(1), frames.slice(0, 1), [before]);
  const second = taken(first.state, frames.slice(1), [anew]);
  const got = second.intention.bodies.map(({ runs, to: all }) => [
    runs,
    all.map((n) => second.intention.destinations[n]?.incarnation),
  ]);
  expect(got).toEqual([
    [[[0, 1]], ["i-mine"]],
    [[[1, 1]], ["i-anew"]],
  ]);
});

test("more streams than there may be are refused", () => {
  const frames = Array.from({ length: 257 }, (_, i) => block(`s${i}`, 1));
  const brought = broughtBy(frames, 1);
  const planned = plan(emptyFlow(1), { brought, frames, routesOf: () => [work], facts: facts() });
  expect(planned.kind).toBe("refused");
});

test("ids rise within an intention, and are one of a kind", () => {
  const frames = Array.from({ length: 600 }, (_, i) => block("a", i + 1));
  const { intention } = taken(emptyFlow(1), frames, [work]);
  const ids = intention.bodies.map((body) => entryId(intention, body, work));
  expect([...ids].sort()).toEqual(ids);
  const again = intention.bodies.map((body) => entryId(intention, body, work));
  expect(again).toEqual(ids);
  const elsewhere = intention.bodies.map((body) => entryId(intention, body, to("other")));
  expect(new Set([...ids, ...elsewhere]).size).toBe(1_200);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{12}8[0-9a-f]{3}80f10f10f1[0-9a-f]{6}$/);
});

/** However a stream is cut and repeated, what is taken is the stream. */
test("every octet is taken once, in order, however packets are cut, repeated or made void", () => {
  const cutting = fc.record({
    from: fc.integer({ min: 0, max: 30 }),
    octets: fc.integer({ min: 1, max: 12 }),
    blockOctets: fc.integer({ min: 1, max: 5 }),
    fate: fc.constantFrom("delivered", "lost", "void" as const),
  });
  fc.assert(
    fc.property(fc.array(cutting, { maxLength: 40 }), (cuts) => {
      const size = 4;
      const octetOf = (at: number): string => `${Math.floor(at / size)}.${at % size}`;
      let state = emptyFlow(1);
      let received: string[] = [];
      let beforeLast: string[] = [];
      let lastIsDone = true;
      for (const { from, octets, blockOctets, fate } of cuts) {
        const frames = framesOf(from, from + octets, blockOctets);
        const brought = broughtBy(frames, 1);
        const verdict = judge(state, brought, () => lastIsDone);
        if (verdict.kind === "unsure" && verdict.restarts) {
          state = withoutLast(state);
          received = beforeLast;
          lastIsDone = true;
          continue;
        }
        if (verdict.kind === "again") {
          lastIsDone = fate === "delivered";
          continue;
        }
        if (verdict.kind !== "new") continue;
        const options = { brought, frames: verdict.frames, facts: facts() };
        const planned = plan(state, { ...options, routesOf: () => [mine] });
        if (planned.kind === "refused") throw new Error(planned.why);
        beforeLast = received;
        received = [...received, ...verdict.frames.flatMap(octetsOf)];
        state = planned.state;
        lastIsDone = fate === "delivered";
      }
      expect(received).toEqual(received.map((_, at) => octetOf(at)));

      function framesOf(start: number, end: number, step: number): DataFrame[] {
        const made: DataFrame[] = [];
        for (let at = start; at < end; ) {
          const offset = at % size;
          const length = Math.min(step, size - offset, end - at);
          const sequence = Math.floor(at / size) + 1;
          made.push(block("a", sequence, offset, size, offset + length));
          at += length;
        }
        return made;
      }
      function octetsOf({ sequence, offset, octets: some }: DataFrame): string[] {
        return Array.from(some, (_, i) => octetOf((sequence - 1) * size + offset + i));
      }
    }),
    { numRuns: 2_000 },
  );
});

test("an intention begun anew has what was lacking, under later ids, and is the same packet's", () => {
  const frames = [block("a", 1), block("a", 2), block("a", 3)];
  const { state, intention } = taken(emptyFlow(1), frames, [work, to("other")]);
  const by = {
    nonce: "anew",
    idMs: state.lastIdMs + 5,
    isLacking: ({ runs }: { runs: Intention["bodies"][number]["runs"] }, destination: number) =>
      runs[0]?.[0] === 1 && intention.destinations[destination]?.queue === "other",
  };
  const after = renewed(state, intention, by);
  expect(after.lastIdMs).toBeGreaterThan(state.lastIdMs);
  const verdict = judge(after, broughtBy(frames, 1), nobody);
  if (verdict.kind !== "again") throw new Error(verdict.kind);
  expect(verdict.frames).toEqual(frames);
  const { bodies, destinations } = verdict.intention;
  expect(bodies).toHaveLength(1);
  expect(bodies[0]?.to.map((number) => destinations[number]?.queue)).toEqual(["other"]);
  const idIn = (of: Intention, body = of.bodies[0]): string =>
    body ? entryId(of, body, to("other")) : "";
  expect(idIn(verdict.intention) > idIn(intention, intention.bodies[1])).toBe(true);
  // The next one comes behind it.
  expect(judge(after, broughtBy([block("a", 4)], 1), () => true).kind).toBe("new");
});
