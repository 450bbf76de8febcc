import { describe, expect, test } from "vitest";
import { isWellFormed } from "../ebm/frame-checks.js";
import type { ConnectOptions, ConsumeOptions, SendOptions } from "./api.js";
import {
  checkConnecting,
  checkConsuming,
  checkDelay,
  checkListening,
  checkName,
  checkSending,
  checkTimeout,
  checkUserId,
} from "./checks.js";

const malformed = expect.objectContaining({ code: "malformed", retryable: false }) as unknown;

const headersOf = (count: number, octets: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`h${n}`, "x".repeat(octets)]));

/** Whether a receiver understands a message with these properties. */
const isUnderstood = ({ headers, priority, stream = "main" }: SendOptions): boolean =>
  isWellFormed.data({
    ...{ stream, sequence: 1, id: "i", offset: 0, size: 1 },
    properties: { sentAtMs: 1, ...(headers && { headers }), ...(priority && { priority }) },
  });

describe("options of send", () => {
  test.each([
    { headers: { a: {} } },
    { headers: { a: Number.NaN } },
    { headers: { a: "x".repeat(1_025) } },
    { headers: headersOf(65, 1) },
    { headers: { ["n".repeat(129)]: 1 } },
    { priority: 10 },
    { priority: 1.5 },
    { stream: "two words" },
  ])("what no receiver would understand is refused: %j", (options) => {
    const given = options as unknown as SendOptions;
    const asSent = JSON.parse(JSON.stringify(given)) as SendOptions;
    expect(isUnderstood(asSent)).toBe(false);
    expect(() => checkSending(given)).toThrow(malformed);
  });

  test.each([
    { ttlMs: 0 },
    { ttlMs: Number.NaN },
    { ttlMs: "60" },
    { ttlMs: 1e18 },
    { delayMs: -1 },
    { delayMs: Infinity },
    { headers: "x" },
    { headers: headersOf(64, 1_024) },
    { key: 5 },
    { key: "k".repeat(257) },
    { signal: {} },
    null,
    5,
  ])("what would never be sent as it was meant is refused: %j", (options) => {
    expect(() => checkSending(options as SendOptions)).toThrow(malformed);
  });

  test.each([
    {},
    { headers: { text: "x".repeat(1_024), number: -1.5, truth: false } },
    { headers: headersOf(64, 100), priority: 0 },
    { priority: 9, stream: "a".repeat(100) },
    { ttlMs: 0.5 + 1, delayMs: 0.25, key: "k".repeat(256) },
  ])("what receivers understand is taken: %#", (options) => {
    expect(isUnderstood(options)).toBe(true);
    expect(() => checkSending(options)).not.toThrow();
  });
});

test.each(["alice@ring.test", "a.b+c@x.org", "alice@[127.0.0.1]"])("%s is a user", (id) => {
  expect(checkUserId(id)).toBe(id);
});

test.each([
  ...["@ring.test", "bob@", "a b@ring.test", "bob\r\nRCPT TO:<x>@ring.test", "<a>@b"],
  ...["a@b@c", `${"b".repeat(120)}@ring.test`, "é@ring.test"],
])("%j is no user", (id) => {
  expect(() => checkUserId(id)).toThrow(malformed);
});

test.each(["", "A", "a b", "-a", "a".repeat(65), 5, undefined])("%j is no name", (name) => {
  expect(() => checkName(name, "a queue")).toThrow(malformed);
});

test.each([0, -1, Number.NaN, 2 ** 31, "5"])("a timer of %j would ring at once or never", (ms) => {
  expect(() => checkTimeout(ms, "timeoutMs")).toThrow(malformed);
  if (ms !== 0) expect(() => checkDelay(ms)).toThrow(malformed);
});

test.each([{ prefetch: 0 }, { prefetch: "5" }, { prefetch: Number.NaN }, { autoAck: 1 }, null])(
  "no consumer: %j",
  (options) => {
    expect(() => checkConsuming(options as unknown as ConsumeOptions)).toThrow(malformed);
  },
);

test.each([
  undefined,
  {},
  { servers: "127.0.0.1:5000" },
  { servers: [], account: {} },
  { servers: [], account: { user: "alice", password: "" } },
  { servers: [], poll: { minMs: 0 } },
  { servers: [], poll: 5 },
  { servers: [], tls: "yes" },
  { servers: [], tls: {} },
  { servers: [], windowOctets: 0 },
  { servers: [], blockOctets: "1" },
  { servers: [], lingerMs: 1e12 },
  { servers: [], signal: "x" },
  { servers: [], store: "" },
])("nothing to connect with: %j", (options) => {
  expect(() => checkConnecting(options as ConnectOptions)).toThrow(malformed);
});

test("listeners are functions, of events that there are", () => {
  expect(() => checkListening("status", () => undefined)).not.toThrow();
  expect(() => checkListening("toString", () => undefined)).toThrow(malformed);
  expect(() => checkListening("status", undefined)).toThrow(malformed);
});
