import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messageOf } from "../../replication/testing.js";
import type { MessageId } from "../../shared/ids.js";
import type { StoredMessage } from "../../shared/operation.js";
import { traceOf } from "./entry.js";
import { LeaseTable, type Now } from "./lease-table.js";

const rules = { leaseMs: 100, deliveriesMax: 3, isForDead: false };
const at = (ms: number): Now => ({ monotonicMs: ms, wallMs: 1_000_000 + ms });

interface Facts {
  readonly priority?: number;
  readonly deliverMs?: number;
  readonly expiresMs?: number;
}

function entry(n: number, { priority = 4, deliverMs, expiresMs }: Facts = {}): StoredMessage {
  const message = messageOf(n);
  const facts = {
    ...{ incarnation: "i", messages: 1, priority },
    ...(deliverMs !== undefined && { deliverAtMs: 1_000_000 + deliverMs }),
    ...(expiresMs !== undefined && { expiresAtMs: 1_000_000 + expiresMs }),
  };
  const trace = traceOf({
    ...{ domain: "ring.test", queue: "q", id: message.id, receivedAtMs: 0, facts },
  });
  return { ...message, trace };
}

const numbers = (taken: readonly { message: StoredMessage }[]): number[] =>
  taken.map(({ message }) => message.receivedAtMs);
const idOf = (n: number): MessageId => messageOf(n).id;

test("an entry that is being deleted is handed out to nobody; if that fails, it is", () => {
  const table = new LeaseTable(rules);
  table.reconcile([entry(1), entry(2)], at(0));
  table.hold(idOf(1));
  expect(numbers(table.take("s", 9, at(0)))).toEqual([2]);
  table.unhold(idOf(1), at(0));
  expect(numbers(table.take("s", 9, at(0)))).toEqual([1]);
});

test("what is gone from the mailbox is handed out no more", () => {
  const table = new LeaseTable(rules);
  table.reconcile([entry(1), entry(2)], at(0));
  table.reconcile([entry(2)], at(0));
  expect(numbers(table.take("s", 9, at(0)))).toEqual([2]);
});

describe("memory does not follow what has passed through", () => {
  const bound = 3 * 1_100;

  test("of a queue whose oldest are dropped while nobody consumes", () => {
    const table = new LeaseTable(rules);
    let most = 0;
    for (let n = 1; n <= 4_000; n += 1) {
      table.reconcile([entry(n, { expiresMs: 1e9 })], at(n));
      if (n % 2 === 0) table.dropOldest({ messages: 0, octets: 0 }, at(n));
      most = Math.max(most, table.waiting);
    }
    expect(most).toBeLessThan(bound);
    expect(numbers(table.take("s", 9, at(20_000)))).toEqual([]);
    table.reconcile([entry(10_001)], at(20_000));
    expect(numbers(table.take("s", 9, at(20_000)))).toEqual([10_001]);
  });

  test("of leases that are long, and extended", () => {
    const table = new LeaseTable({ ...rules, leaseMs: 1e9 });
    let [most, handedOut] = [0, 0];
    const held = [entry(20_001), entry(20_002)];
    table.reconcile(held, at(0));
    expect(table.take("t", 9, at(0))).toHaveLength(2);
    for (let n = 1; n <= 4_000; n += 1) {
      table.reconcile([entry(n), ...held], at(n));
      handedOut += table.take("s", 9, at(n)).length;
      table.extend(idOf(20_001), 1e8, at(n));
      most = Math.max(most, table.waiting);
    }
    expect(handedOut).toBe(4_000);
    expect(most).toBeLessThan(bound);
    table.reconcile(held, at(1e7));
    expect(numbers(table.take("u", 9, at(2e8)))).toEqual([20_001]);
    expect(numbers(table.take("u", 9, at(2e9)))).toEqual([20_001, 20_002]);
  });
});

test("what is called back is handed out again in its place, but not more often than may be", () => {
  const table = new LeaseTable(rules);
  table.reconcile([entry(1), entry(2), entry(3)], at(0));
  expect(numbers(table.take("s", 2, at(0)))).toEqual([1, 2]);
  expect(table.recall()).toBe(2);
  expect(numbers(table.take("t", 9, at(1)))).toEqual([1, 2, 3]);
  // Shown and not looked at: that does not count.
  for (const n of [2, 3]) table.giveBack(idOf(n), "t", at(1));
  expect(table.recall()).toBe(1);
  expect(numbers(table.take("u", 9, at(2)))).toEqual([1, 2, 3]);
  // The first one has been handed out three times: it is left to who has it until its lease is over.
  expect(table.recall()).toBe(2);
  expect(numbers(table.take("v", 9, at(3)))).toEqual([2, 3]);
  expect(table.takeDoomed(at(101)).map(({ why }) => why)).toEqual([]);
  expect(table.takeDoomed(at(102)).map(({ message }) => message.id)).toEqual([idOf(1)]);
});

test("what a consumer is shown while it works on it is not noted as having come back", () => {
  const table = new LeaseTable({ ...rules, leaseMs: 10_000, deliveriesMax: 20 });
  table.reconcile([entry(1), entry(2)], at(0));
  table.take("first", 9, at(0));
  // It has them in hand, asks again and again, and looks at nothing twice.
  for (let poll = 1; poll <= 100; poll += 1) {
    table.recall();
    table.take(`poll ${poll}`, 9, at(poll));
    expect(table.deliveries()).toEqual([1, 2].map((n) => [idOf(n), 1]));
    for (const n of [1, 2]) table.giveBack(idOf(n), `poll ${poll}`, at(poll));
  }
  expect(table.returns).toBe(0);
  expect(table.take("it", 9, at(101)).map(({ redelivered }) => redelivered)).toEqual([1, 1]);
});

test("what a consumer that died had, and one after it, is noted as having come back", () => {
  const table = new LeaseTable({ ...rules, leaseMs: 10_000, deliveriesMax: 20 });
  table.reconcile([entry(1)], at(0));
  let noted = -1;
  for (let life = 0; life < 5; life += 1) {
    table.recall();
    if (life > 1) expect(table.returns).toBeGreaterThan(noted);
    noted = table.returns;
    expect(table.deliveries()).toEqual(life === 0 ? [] : [[idOf(1), life]]);
    table.take(`life ${life}`, 9, at(life));
  }
});

test("what was shown to many, and looked at by nobody, is not noted as having come back again", () => {
  const table = new LeaseTable(rules);
  table.reconcile([entry(1)], at(0));
  table.take("it dies", 9, at(0));
  expect(table.hasReady(at(100))).toBe(true);
  const { returns } = table;
  expect(returns).toBe(1);
  for (let poll = 0; poll < 10; poll += 1) {
    table.take(`poll ${poll}`, 9, at(101));
    table.giveBack(idOf(1), `poll ${poll}`, at(101));
  }
  expect(table.returns).toBe(returns);
  expect(table.deliveries()).toEqual([[idOf(1), 1]]);
});

test("of a queue of dead letters nothing expires or dies of deliveries", () => {
  const table = new LeaseTable({ ...rules, isForDead: true });
  table.reconcile([entry(1, { expiresMs: 10 })], at(0));
  for (let round = 0; round < 10; round += 1) {
    expect(numbers(table.take("s", 9, at(round * 200)))).toEqual([1]);
  }
  expect(table.takeDoomed(at(10_000))).toEqual([]);
});

test("a dead letter that could not be moved is not handed out, but tried again", () => {
  const table = new LeaseTable(rules);
  table.reconcile([entry(1)], at(0));
  table.take("s", 9, at(0));
  table.reject(idOf(1));
  const [doomed] = table.takeDoomed(at(0));
  expect(doomed?.why).toBe("rejected");
  expect(table.take("s", 9, at(1_000))).toEqual([]);
  expect(table.takeDoomed(at(1_000))).toEqual([]);
  if (doomed) table.doomAgain(doomed);
  expect(table.takeDoomed(at(1_000))).toEqual([doomed]);
});

describe("against a table without any structure", () => {
  interface Line extends Facts {
    readonly n: number;
    deliveries: number;
    untilMs: number;
    leased: boolean;
    dead: boolean;
  }

  class Model {
    lines: Line[] = [];
    nowMs = 0;

    private settle(): void {
      for (const line of this.lines) {
        if (line.leased && line.untilMs <= this.nowMs) {
          line.leased = false;
          if (line.deliveries >= rules.deliveriesMax) line.dead = true;
        }
        const isOver = (line.expiresMs ?? Infinity) <= this.nowMs;
        if (!line.leased && isOver) line.dead = true;
      }
    }

    take(max: number): number[] {
      this.settle();
      const ready = this.lines
        .filter(({ leased, dead, untilMs }) => !leased && !dead && untilMs <= this.nowMs)
        .sort((a, b) => (b.priority ?? 4) - (a.priority ?? 4) || a.n - b.n)
        .slice(0, max);
      for (const line of ready) {
        line.leased = true;
        line.deliveries += 1;
        line.untilMs = this.nowMs + rules.leaseMs;
      }
      return ready.map(({ n }) => n);
    }

    dead(): number[] {
      this.settle();
      return this.lines.filter(({ dead }) => dead).map(({ n }) => n);
    }

    of(n: number): Line | undefined {
      this.settle();
      return this.lines.find((line) => line.n === n && line.leased);
    }
  }

  const time = fc.integer({ min: 1, max: 400 });
  const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
  const act = fc.oneof(
    fc.record({
      kind: fc.constant("add" as const),
      priority: fc.constantFrom(0, 4, 9),
      deliverMs: optional(time),
      expiresMs: optional(time),
    }),
    fc.record({ kind: fc.constant("take" as const), max: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 120 }) }),
    fc.record({
      kind: fc.constantFrom("ack" as const, "nack" as const, "extend" as const, "back" as const),
      n: fc.integer({ min: 1, max: 12 }),
      ms: fc.integer({ min: 0, max: 150 }),
    }),
  );

  test("the same is handed out, in the same order, and the same dies", () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const table = new LeaseTable(rules);
        const model = new Model();
        const dead = new Set<number>();
        let there: StoredMessage[] = [];
        for (const each of acts) {
          const now = at(model.nowMs);
          // Both look at the clock before anything is done.
          for (const { message } of table.takeDoomed(now)) dead.add(message.receivedAtMs);
          expect([...dead].sort((a, b) => a - b)).toEqual(model.dead());
          switch (each.kind) {
            case "add": {
              const n = there.length + 1;
              const { priority, deliverMs, expiresMs } = each;
              const facts = {
                priority,
                ...(deliverMs !== undefined && { deliverMs }),
                ...(expiresMs !== undefined && { expiresMs }),
              };
              there = [...there, entry(n, facts)];
              const gone = there.filter(({ id }) => id in removed(model, there));
              table.reconcile(
                there.filter((one) => !gone.includes(one)),
                now,
              );
              const state = { deliveries: 0, leased: false, dead: false };
              model.lines.push({ n, ...facts, ...state, untilMs: deliverMs ?? 0 });
              break;
            }
            case "take":
              expect(numbers(table.take("s", each.max, now))).toEqual(model.take(each.max));
              break;
            case "pass":
              model.nowMs += each.ms;
              break;
            case "ack":
              if (model.of(each.n)) {
                table.hold(idOf(each.n));
                table.remove(idOf(each.n));
                model.lines = model.lines.filter(({ n }) => n !== each.n);
              }
              break;
            case "nack": {
              const line = model.of(each.n);
              table.nack(idOf(each.n), each.ms, now);
              if (!line) break;
              line.leased = false;
              line.untilMs = model.nowMs + each.ms;
              if (line.deliveries >= rules.deliveriesMax) line.dead = true;
              break;
            }
            case "extend": {
              const line = model.of(each.n);
              table.extend(idOf(each.n), each.ms, now);
              if (line) line.untilMs = model.nowMs + each.ms;
              break;
            }
            case "back": {
              const line = model.of(each.n);
              table.giveBack(idOf(each.n), "s", now);
              if (!line) break;
              line.leased = false;
              line.deliveries -= 1;
              line.untilMs = model.nowMs;
              break;
            }
          }
        }
      }),
      { numRuns: 1_500 },
    );
  });

  /** Ids that were acknowledged. */
  function removed(model: Model, there: readonly StoredMessage[]): Record<string, true> {
    const left = new Set(model.lines.map(({ n }) => n));
    const gone = there.slice(0, -1).filter(({ receivedAtMs }) => !left.has(receivedAtMs));
    return Object.fromEntries(gone.map(({ id }) => [id, true as const]));
  }
});
