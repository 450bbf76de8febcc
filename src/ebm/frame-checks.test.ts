/** Frames that are signed by somebody, and are nonsense all the same. */
import { expect, test } from "vitest";
import type { Frame } from "./frame.js";
import { decodeFrames, encodeFrames } from "./frames.js";

const octets = Buffer.from("body");
const data = {
  ...{ kind: "data", stream: "main", sequence: 1, id: "0190", offset: 0, size: 4, octets },
  properties: { sentAtMs: 1 },
};
const ack = {
  ...{ kind: "ack", connection: "c", cumulative: 3, ranges: [[5, 7]], windowOctets: 100 },
  ...{ pollMs: 1_000, consumed: { main: 2 }, dead: [["main", 1]] },
};
const kinds = {
  ...{ data, ack, nack: { kind: "nack", connection: "c", packet: 4, why: "too large" } },
  window: { kind: "window", connection: "c", windowOctets: 5 },
  resume: { kind: "resume", connection: "c", epoch: 9 },
  configuration: { kind: "configuration", id: "q1", body: { operation: "resolve", ask: {} } },
} as const;
type Kind = keyof typeof kinds;

const there = (frame: object): Frame[] =>
  decodeFrames(encodeFrames([frame as Frame], { isChained: false }), { isChained: false });
const changed = (kind: Kind, change: object) => there({ ...kinds[kind], ...change });
const properties = (more: object): object => ({ properties: { sentAtMs: 1, ...more } });
const many = (count: number) => Array.from({ length: count }, (_, n) => `${n}`);

test.each(Object.keys(kinds) as Kind[])("%s comes back as it was", (kind) => {
  expect(there(kinds[kind])).toEqual([kinds[kind]]);
});

test.each<[Kind, object]>([
  ["data", { stream: "two words" }],
  ["data", { stream: "x".repeat(129) }],
  ["data", { sequence: 0 }],
  ["data", { sequence: 1.5 }],
  ["data", { sequence: "1" }],
  ["data", { offset: -1 }],
  ["data", { size: 2 ** 28 + 1 }],
  ["data", { size: 3 }],
  ["data", { offset: 2 }],
  ["data", { properties: undefined }],
  ["data", { properties: [] }],
  ["data", properties({ sentAtMs: "now" })],
  ["data", properties({ priority: 10 })],
  ["data", properties({ priority: -1 })],
  ["data", properties({ expiresAtMs: Number.MAX_VALUE })],
  ["data", properties({ routingKey: "x".repeat(257) })],
  ["data", properties({ headers: Object.fromEntries(many(65).map((n) => [n, 1])) })],
  ["data", properties({ headers: { x: {} } })],
  ["data", properties({ headers: { x: "x".repeat(1_025) } })],
  ["data", { origin: { user: "ann", device: "d" } }],
  ["data", { redelivered: -1 }],
  ["data", { entry: "" }],
  ["data", { void: "yes" }],
  ["ack", { cumulative: -1 }],
  ["ack", { ranges: [[7, 5]] }],
  ["ack", { ranges: Array.from({ length: 33 }, () => [1, 2]) }],
  ["ack", { ranges: {} }],
  ["ack", { consumed: [] }],
  ["ack", { consumed: { main: -1 } }],
  ["ack", { consumed: Object.fromEntries(many(257).map((n) => [n, 1])) }],
  ["ack", { dead: [["main"]] }],
  ["nack", { packet: null }],
  ["nack", { why: "x".repeat(257) }],
  ["nack", { expected: { main: "3" } }],
  ["window", { windowOctets: undefined }],
  ["resume", { connection: "" }],
  ["resume", { epoch: 0.5 }],
  ["configuration", { body: [] }],
  ["configuration", { id: 7 }],
])("%s with %j is refused", (kind, change) => {
  expect(() => changed(kind, change)).toThrow(/malformed|outside its message|no properties/);
});
