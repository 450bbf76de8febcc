import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import type { MemberRef } from "./member.js";
import { encodeRingMessage, idsWithin, type Message, parseRingMessage } from "./message.js";

const id = fc.bigInt({ min: 0n, max: (1n << 160n) - 1n }).map((n) => n as RingId);
const member: fc.Arbitrary<MemberRef> = fc.record({
  id,
  addr: fc.stringMatching(/^[a-z0-9.]{1,30}:[0-9]{1,5}$/).map((text) => text as Address),
  uuid: fc.uuid().map((text) => text as MemberUuid),
});
const members = fc.array(member, { maxLength: 8 });
const ring = fc.record({ protocol: fc.nat(), bits: fc.nat(160), replicas: fc.nat(9) });
const found = {
  self: member,
  predecessor: fc.option(member, { nil: undefined }),
  successors: members,
};

const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ kind: fc.constantFrom("hello", "state", "notify"), ring, from: member }),
  fc.record({ kind: fc.constant("ping"), ring }),
  fc.record({ kind: fc.constant("find"), ring, key: id }),
  fc.record({ kind: fc.constant("welcome"), self: member, member: fc.boolean() }),
  fc.record({ kind: fc.constantFrom("pending", "pong", "noted"), self: member }),
  fc.record({ kind: fc.constant("view"), ...found, known: members }),
  fc.record({ kind: fc.constant("found"), ...found, preceding: members }),
  fc.record({ kind: fc.constant("absent") }),
  fc.record({ kind: fc.constant("refused"), code: fc.constant("wrong-ring"), reason: fc.uuid() }),
) as fc.Arbitrary<Message>;

test("every message survives JSON", () => {
  fc.assert(
    fc.property(message, (sent) => {
      const parsed = parseRingMessage(JSON.parse(JSON.stringify(encodeRingMessage(sent))));
      expect(parsed).toEqual({ ok: true, message: sent });
    }),
  );
});

describe("parseRingMessage never throws", () => {
  test("whatever the value is", () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true }), (value) => {
        expect(typeof parseRingMessage(value).ok).toBe("boolean");
      }),
    );
  });

  test("with any field of a message replaced", () => {
    const damage = fc.tuple(message, fc.nat(), fc.nat(), fc.anything());
    fc.assert(
      fc.property(damage, ([sent, which, deeper, junk]) => {
        const wire: unknown = JSON.parse(JSON.stringify(encodeRingMessage(sent)));
        replace(wire, [which, deeper], junk);
        expect(typeof parseRingMessage(wire).ok).toBe("boolean");
      }),
      { numRuns: 500 },
    );
  });

  test("with a getter that does", () => {
    const hostile = Object.defineProperty({}, "kind", {
      get: () => {
        throw new Error("boo");
      },
    });
    expect(parseRingMessage(hostile)).toEqual({ ok: false, error: "unreadable message" });
  });
});

function replace(target: unknown, path: readonly number[], junk: unknown): void {
  if (typeof target !== "object" || target === null) return;
  const keys = Object.keys(target);
  const key = keys[(path[0] ?? 0) % Math.max(1, keys.length)];
  if (key === undefined) return;
  const fields = target as Record<string, unknown>;
  const inner = fields[key];
  if (path.length > 1 && typeof inner === "object") replace(inner, path.slice(1), junk);
  else fields[key] = junk;
}

const self = { id: "1", addr: "a:1", uuid: "u" };

test.each([
  ["too many members", { kind: "view", self, successors: Array(65).fill(self), known: [] }],
  ["an id with a sign", { kind: "pong", self: { ...self, id: "-1" } }],
  ["an id as a number", { kind: "pong", self: { ...self, id: 1 } }],
  ["a huge id", { kind: "pong", self: { ...self, id: "9".repeat(50) } }],
  ["an address with a line end", { kind: "pong", self: { ...self, addr: "a:1\r\n" } }],
  ["a long uuid", { kind: "pong", self: { ...self, uuid: "u".repeat(65) } }],
  ["a ring without bits", { kind: "ping", ring: { protocol: 1, replicas: 2 } }],
  ["an unknown kind", { kind: "constructor" }],
])("%s is refused", (_name, value) => {
  expect(parseRingMessage(value).ok).toBe(false);
});

test("idsWithin finds an id with too many bits wherever it is", () => {
  const small: MemberRef = {
    id: 255n as RingId,
    addr: "a:1" as Address,
    uuid: "u" as MemberUuid,
  };
  const large = { ...small, id: 256n as RingId };
  const view = { kind: "view", self: small, predecessor: small, successors: [small] } as const;
  expect(idsWithin({ ...view, known: [small] }, 8)).toBe(true);
  expect(idsWithin({ ...view, known: [large] }, 8)).toBe(false);
  expect(idsWithin({ ...view, known: [], predecessor: large }, 8)).toBe(false);
  expect(idsWithin({ ...view, known: [], successors: [large] }, 8)).toBe(false);
});
