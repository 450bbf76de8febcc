/**
 * What a question must look like. Only fields that are named here are read, each by its own name: whatever else a
 * sender puts there (`__proto__`, the same key twice) is passed over.
 */
import { type Ask, ebmBounds, isSoundRecord, type OperationName } from "../../ebm/index.js";
import { isQueueName } from "../../mailbox/folders.js";

type Check = (value: unknown) => boolean;
type Shape = Readonly<Record<string, Check>>;

const unsafe = /[\p{Cc}\p{Cs}\u2028\u2029]/u;
const text =
  (max: number): Check =>
  (value) =>
    typeof value === "string" && value.length <= max && !unsafe.test(value);
const user: Check = (value) => text(254)(value) && value !== "";
const whole =
  (min: number, max: number): Check =>
  (value) =>
    Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max;
const boolean: Check = (value) => typeof value === "boolean";
const oneOf =
  (...values: readonly string[]): Check =>
  (value) =>
    typeof value === "string" && values.includes(value);
const listOf =
  (check: Check, max: number): Check =>
  (value) =>
    Array.isArray(value) && value.length <= max && value.every(check);
const record =
  (shape: Shape): Check =>
  (value) =>
    pick(shape, value) !== undefined;
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

/** What is said for a password is for the one who checks it; here it only has an end. */
const password: Check = (value) => typeof value === "string" && value.length <= 1_024;
const queue: Check = (value) => typeof value === "string" && isQueueName(value);
const entry: Check = (value) => typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
const permitted: Check = (value) => oneOf("owner", "everyone")(value) || listOf(user, 1_000)(value);
const scalar: Check = (value) =>
  boolean(value) || Number.isFinite(value) || (typeof value === "string" && value.length <= 1_024);
const headers: Check = (value) =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  Object.keys(value).length <= 64 &&
  Object.entries(value).every(
    ([key, each]) => key.length <= 128 && key !== "__proto__" && scalar(each),
  );

const dayMs = 86_400_000;
const entriesMax = 10_000;
const login: Shape = { password, record: isSoundRecord };
const binding: Shape = {
  ...{ exchange: queue, queue, key: optional(text(255)) },
  match: optional(oneOf("all", "any", "all-with-x", "any-with-x")),
  ...{ headers: optional(headers), early: optional(boolean) },
};
const settlement: Shape = {
  queue,
  ack: optional(listOf(entry, entriesMax)),
  nack: optional(listOf(record({ entry, delayMs: whole(0, 30 * dayMs) }), entriesMax)),
  reject: optional(listOf(entry, entriesMax)),
  extend: optional(listOf(record({ entry, ms: whole(0, dayMs) }), entriesMax)),
};
const settlements: Shape = { settlements: listOf(record(settlement), ebmBounds.settlementsMax) };

const shapes: Readonly<Record<OperationName, Shape>> = {
  register: { ...login, invitation: optional(text(128)) },
  login,
  refresh: {},
  logout: {},
  resolve: { user },
  announce: { record: isSoundRecord },
  servers: {},
  declareExchange: {
    ...{ name: queue, type: oneOf("direct", "fanout", "topic", "headers") },
    ...{ publishers: optional(permitted), subscribers: optional(permitted) },
  },
  removeExchange: { name: queue },
  declareQueue: {
    ...{ name: queue, exclusive: optional(boolean), push: optional(boolean) },
    ...{ consumers: optional(permitted), publishers: optional(permitted) },
    leaseMs: optional(whole(1, dayMs)),
    deliveriesMax: optional(whole(1, 1_000_000)),
    deadLetters: optional(queue),
    messagesMax: optional(whole(1, 1_000_000_000)),
    overflow: optional(oneOf("reject", "drop-oldest")),
    octetsMax: optional(whole(1, Number.MAX_SAFE_INTEGER)),
  },
  removeQueue: { name: queue },
  queueStatus: { name: queue },
  bind: binding,
  unbind: binding,
  settle: settlement,
  redrive: { queue, max: optional(whole(1, 1_000_000)) },
  listContacts: {},
  addContact: { user, name: optional(text(64)) },
  removeContact: { user },
  markRead: { ids: listOf(entry, entriesMax) },
  listRead: {},
  quota: {},
};

export const isOperation = (name: string): name is OperationName => Object.hasOwn(shapes, name);

/** The question, with the fields that it has; undefined when it is malformed. */
export function parseAsk<N extends OperationName>(operation: N, ask: unknown): Ask<N> | undefined {
  return pick(shapeOf(operation, ask), ask) as Ask<N> | undefined;
}

/** Of `settle` there are two forms; with a queue, it is the one that all members know. */
function shapeOf(operation: OperationName, ask: unknown): Shape {
  const isObject = typeof ask === "object" && ask !== null;
  const isOfSeveral = isObject && Object.hasOwn(ask, "settlements") && !Object.hasOwn(ask, "queue");
  return operation === "settle" && isOfSeveral ? settlements : shapes[operation];
}

/** What is wrong with a question that is malformed, in a line for who asked it. */
export function faultOf(operation: OperationName, ask: unknown): string {
  const given = typeof ask === "object" && ask !== null ? (ask as Record<string, unknown>) : {};
  for (const [key, isGood] of Object.entries(shapeOf(operation, ask))) {
    if (isGood(Object.hasOwn(given, key) ? given[key] : undefined)) continue;
    const isName = isGood === queue;
    const may = isName ? ": 1 to 64 of a-z 0-9 . _ -, the first a letter or digit" : "";
    return `${operation}: ${key} is not what it may be${may}`;
  }
  return `${operation} can't be asked so`;
}

function pick(shape: Shape, value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const picked: Record<string, unknown> = {};
  for (const [key, isGood] of Object.entries(shape)) {
    const field = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
    if (!isGood(field)) return undefined;
    if (field !== undefined) picked[key] = field;
  }
  return picked;
}
