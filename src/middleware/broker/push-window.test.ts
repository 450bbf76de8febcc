import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messageOf } from "../../replication/testing.js";
import type { StoredMessage } from "../../shared/operation.js";
import { traceOf } from "./entry.js";
import { LeaseTable, type Now } from "./lease-table.js";
import { brokerLimits } from "./limits.js";
import { giveBack, hasToPush, takeToPush } from "./push-window.js";

const at = (ms: number): Now => ({ monotonicMs: ms, wallMs: 1_000_000 + ms });
const competing = { push: true, exclusive: false, leaseMs: 1_000 };
const exclusive = { ...competing, exclusive: true };
const { octetsMax, framesMax, leaseMsMax } = brokerLimits.push;

function entry(n: number, bodyOctets = 10, messages = 1): StoredMessage {
  const message = { ...messageOf(n), bodyOctets };
  const facts = { incarnation: "i", messages, priority: 4 };
  const of = { domain: "ring.test", queue: "q", id: message.id, receivedAtMs: 0, facts };
  return { ...message, trace: traceOf(of) };
}

function tableOf(...entries: readonly StoredMessage[]): LeaseTable {
  const table = new LeaseTable({ leaseMs: 1_000, deliveriesMax: 1_000, isForDead: false });
  table.reconcile(entries, at(0));
  return table;
}

const many = (count: number, octets?: number): StoredMessage[] =>
  Array.from({ length: count }, (_, n) => entry(n + 1, octets));
const numbers = (taken: readonly { message: StoredMessage }[]): number[] =>
  taken.map(({ message }) => message.receivedAtMs);
const upTo = (count: number, first = 1): number[] =>
  Array.from({ length: count }, (_, n) => first + n);

test("competing: 32 on their way, and as many more as are settled", () => {
  const table = tableOf(...many(100));
  expect(numbers(takeToPush(table, competing, at(0)))).toEqual(upTo(32));
  expect(hasToPush(table, competing, at(1))).toBe(false);
  expect(takeToPush(table, competing, at(1))).toEqual([]);
  for (const n of [3, 4]) table.remove(entry(n).id);
  expect(hasToPush(table, competing, at(1))).toBe(true);
  expect(numbers(takeToPush(table, competing, at(1)))).toEqual([33, 34]);
});

test("exclusive: the next mail when all of the one before is settled, in order", () => {
  const table = tableOf(...many(300));
  expect(numbers(takeToPush(table, exclusive, at(0)))).toEqual(upTo(256));
  for (const n of upTo(255)) table.remove(entry(n).id);
  expect(takeToPush(table, exclusive, at(1))).toEqual([]);
  table.remove(entry(256).id);
  expect(numbers(takeToPush(table, exclusive, at(1)))).toEqual(upTo(44, 257));
});

describe("what one mail holds", () => {
  test("octets; what does not fit is as if it had not been handed out", () => {
    const table = tableOf(...many(10, octetsMax / 4));
    expect(numbers(takeToPush(table, competing, at(0)))).toEqual([1, 2, 3, 4]);
    expect(table.counts(at(0))).toMatchObject({ ready: 6, leased: 4 });
    expect(hasToPush(table, competing, at(0))).toBe(false);
    for (const n of [1, 2, 3, 4]) table.remove(entry(n).id);
    const next = takeToPush(table, competing, at(0));
    expect(next.map(({ redelivered }) => redelivered)).toEqual([0, 0, 0, 0]);
  });

  test("an entry that is larger goes alone", () => {
    const table = tableOf(entry(1, 2 * octetsMax), entry(2));
    expect(numbers(takeToPush(table, exclusive, at(0)))).toEqual([1]);
  });

  test("messages, of an exclusive queue's entries", () => {
    const table = tableOf(...upTo(5).map((n) => entry(n, 10, framesMax / 2)));
    expect(numbers(takeToPush(table, exclusive, at(0)))).toEqual([1, 2]);
  });
});

test("each lease is twice as long as the one before, up to six hours", () => {
  const table = tableOf(entry(1));
  let ms = 0;
  for (let delivery = 0; delivery < 40; delivery += 1) {
    expect(takeToPush(table, competing, at(ms))).toMatchObject([{ redelivered: delivery }]);
    const leaseMs = Math.min(1_000 * 2 ** delivery, leaseMsMax);
    expect(hasToPush(table, competing, at(ms + leaseMs - 1))).toBe(false);
    ms += leaseMs;
    expect(hasToPush(table, competing, at(ms))).toBe(true);
  }
});

test("a lease that is longer by itself stays as long", () => {
  const table = tableOf(entry(1));
  const long = { ...competing, leaseMs: 2 * leaseMsMax };
  takeToPush(table, long, at(0));
  expect(hasToPush(table, long, at(2 * leaseMsMax - 1))).toBe(false);
  expect(hasToPush(table, long, at(2 * leaseMsMax))).toBe(true);
});

test("not sent after all: the same again, and it counts as not handed out", () => {
  const table = tableOf(...many(2));
  for (const { message } of takeToPush(table, competing, at(0))) giveBack(table, message.id, at(0));
  expect(takeToPush(table, competing, at(0))).toMatchObject([
    { redelivered: 0 },
    { redelivered: 0 },
  ]);
});

test("nothing of a queue without push", () => {
  expect(hasToPush(tableOf(entry(1)), { ...competing, push: false }, at(0))).toBe(false);
});

test("whatever is settled when: no more on its way than there may be, and nothing is forgotten", () => {
  const step = fc.record({ passMs: fc.nat({ max: 3_000 }), ack: fc.array(fc.nat({ max: 40 })) });
  const sizes = fc.array(fc.nat({ max: octetsMax }), { maxLength: 60 });
  const property = fc.property(sizes, fc.boolean(), fc.array(step), (octets, isOrdered, steps) => {
    const fields = isOrdered ? exclusive : competing;
    const left = new Map(octets.map((size, n) => [entry(n + 1).id, entry(n + 1, size)]));
    const table = tableOf(...left.values());
    let ms = 0;
    const look = (): void => {
      const before = table.leasesOf("push");
      const taken = takeToPush(table, fields, at(ms));
      if (isOrdered && before.length > 0) expect(taken).toEqual([]);
      const underWay = table.leasesOf("push");
      expect(underWay.length).toBeLessThanOrEqual(isOrdered ? 256 : 32);
      const sum = underWay.reduce((total, { message }) => total + message.bodyOctets, 0);
      // One may be more than there is room for, and then it is the last.
      const last = Math.max(0, ...underWay.map(({ message }) => message.bodyOctets));
      expect(sum - last).toBeLessThanOrEqual(octetsMax);
    };
    for (const { passMs, ack } of steps) {
      look();
      const underWay = table.leasesOf("push");
      for (const n of ack) {
        const id = underWay[n]?.message.id;
        if (id === undefined) continue;
        table.remove(id);
        left.delete(id);
      }
      ms += passMs;
    }
    for (let n = 0; n < octets.length + 1; n += 1) {
      ms += 10 * leaseMsMax;
      look();
      for (const { message } of table.leasesOf("push")) {
        table.remove(message.id);
        left.delete(message.id);
      }
    }
    expect(left.size).toBe(0);
  });
  fc.assert(property, { numRuns: 200 });
});
