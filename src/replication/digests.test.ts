import fc from "fast-check";
import { expect, test } from "vitest";
import { limits } from "../shared/limits.js";
import type { RegisterState } from "../shared/operation.js";
import { zeroBallot } from "./ballot.js";
import { bucketCount, bucketDigests, Buckets, differingLines, linesOf } from "./digests.js";
import { mailboxOf } from "./testing.js";

const entry = (name: string, digest: number) => ({
  mailbox: mailboxOf(name),
  digest: digest.toString(16).padStart(32, "0"),
  messages: 1,
  tombstones: 0,
  octets: 1,
  pending: false,
});
const accepted = (counter: number): RegisterState => ({
  promised: { counter: 99, proposer: "x" },
  accepted: { counter, proposer: "a" },
  value: counter,
});
const buckets = new Buckets();

const anySide = fc.array(fc.tuple(fc.nat(40), fc.nat(3)), { maxLength: 30 }).map((pairs) => {
  // Ids are unique, so no two mailboxes have the same digest.
  const byName = new Map(pairs.map(([name, value]) => [`m${name}`, name * 10 + value]));
  return {
    mailboxes: [...byName].map(([name, value]) => entry(name, value + 1)),
    registers: [...byName].map(
      ([name, value]) => [`account:${name}`, accepted(value + 1)] as const,
    ),
  };
});

test("what differs is among the lines, and equal sides have none", () => {
  fc.assert(
    fc.property(anySide, anySide, fc.nat(bucketCount - 1), (ours, theirs, first) => {
      const page = differingLines(buckets, () => ours, bucketDigests(buckets, theirs), first);
      const told = new Map(page.mailboxes.map(({ mailbox, digest }) => [mailbox, digest]));
      for (const { mailbox, digest } of ours.mailboxes) {
        const other = theirs.mailboxes.find((line) => line.mailbox === mailbox);
        if (other?.digest !== digest) expect(told.get(mailbox)).toBe(digest);
      }
      const same = differingLines(buckets, () => ours, bucketDigests(buckets, ours), first);
      expect([...same.mailboxes, ...same.registers]).toEqual([]);
    }),
  );
});

test("promises do not make a difference, nor what was never accepted", () => {
  const one = { mailboxes: [], registers: [["account:a", accepted(1)] as const] };
  const promised = { counter: 5, proposer: "z" };
  const two = {
    mailboxes: [],
    registers: [
      ["account:a", { ...accepted(1), promised }] as const,
      ["account:b", { promised, accepted: zeroBallot, value: null }] as const,
    ],
  };
  expect(bucketDigests(buckets, one)).toEqual(bucketDigests(buckets, two));
});

test("pages are full buckets, and all come round from different beginnings", () => {
  const many = Array.from({ length: limits.pageEntriesMax * 2 }, (_, i) => entry(`n${i}`, i + 1));
  const side = { mailboxes: many, registers: [] };
  const nothing = bucketDigests(buckets, { mailboxes: [], registers: [] });
  const seen = new Set<string>();
  for (let first = 0; first < bucketCount; first += 32) {
    const page = differingLines(buckets, () => side, nothing, first);
    expect(page.more).toBe(true);
    expect(page.mailboxes.length).toBeLessThan(limits.pageEntriesMax * 1.1);
    for (const { mailbox } of page.mailboxes) seen.add(mailbox);
  }
  expect(seen.size).toBe(many.length);
});

test("lines: whole buckets that differ, from a bucket on, and nothing of equal sides", () => {
  const buckets = new Buckets();
  const side = (...mailboxes: ReturnType<typeof entry>[]) => ({ mailboxes, registers: [] });
  const ours = side(entry("ann", 10), entry("bob", 11), entry("cyd", 12));
  const theirs = bucketDigests(buckets, side(entry("ann", 10), entry("bob", 15)));
  const { differing, lines, next } = linesOf(buckets, () => ours, theirs, 0);
  const of = (name: string): number => buckets.of(mailboxOf(name));
  expect([...differing].sort()).toEqual([of("bob"), of("cyd")].sort());
  expect(lines.map(({ name }) => name).sort()).toEqual(["m bob@ring.test", "m cyd@ring.test"]);
  expect(next).toBeUndefined();
  expect(linesOf(buckets, () => ours, bucketDigests(buckets, ours), 0).lines).toEqual([]);
});
