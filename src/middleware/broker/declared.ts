/** Exchanges, queues and bindings as they are asked for: checked, made whole, and compared. */
import type { Binding, ExchangeOptions, QueueOptions } from "../../ebm/index.js";
import { isQueueName } from "../../mailbox/folders.js";
import type { MailboxName } from "../../shared/ids.js";
import type { BoundQueue, ExchangeFields, QueueFields } from "./definitions.js";
import { brokerLimits } from "./limits.js";
import { canonicalPermitted } from "./permissions.js";

export function exchangeFields(
  { type, publishers, subscribers }: ExchangeOptions,
  owner: MailboxName,
  domain: string,
): ExchangeFields | undefined {
  const mayPublish = canonicalPermitted(publishers, domain);
  const maySubscribe = canonicalPermitted(subscribers, domain);
  if (mayPublish === undefined || maySubscribe === undefined) return undefined;
  return { owner, type, publishers: mayPublish, subscribers: maySubscribe, bindings: [] };
}

const within = (value: number, { min, max }: { min: number; max: number }): boolean =>
  Number.isSafeInteger(value) && value >= min && value <= max;

/** The queue, or what is wrong with it. */
export function queueFields(
  ask: QueueOptions,
  owner: MailboxName,
  domain: string,
): Omit<QueueFields, "incarnation" | "boundTo"> | string {
  const consumers = canonicalPermitted(ask.consumers, domain);
  const publishers = canonicalPermitted(ask.publishers, domain);
  if (consumers === undefined || publishers === undefined) return "not a list of users";
  const { deadLetters, exclusive = false, push = false, overflow = "reject" } = ask;
  const { leaseMs: lease, deliveriesOfEntry, messages, octets } = brokerLimits;
  const { leaseMs = lease.standard, deliveriesMax = deliveriesOfEntry.standard } = ask;
  const { messagesMax = messages.standard, octetsMax = octets.standard } = ask;
  if (!within(leaseMs, lease)) return `leaseMs is ${lease.min} to ${lease.max}`;
  if (!within(deliveriesMax, deliveriesOfEntry)) {
    return `deliveriesMax is ${deliveriesOfEntry.min} to ${deliveriesOfEntry.max}`;
  }
  if (!within(messagesMax, messages)) return `messagesMax is ${messages.min} to ${messages.max}`;
  if (!within(octetsMax, octets)) return `octetsMax is ${octets.min} to ${octets.max}`;
  if (deadLetters !== undefined && !isQueueName(deadLetters)) return "deadLetters is no queue";
  return {
    ...{ owner, exclusive, push, consumers, publishers },
    ...{ leaseMs, deliveriesMax, messagesMax, octetsMax },
    ...(deadLetters !== undefined && { deadLetters }),
    ...(overflow === "drop-oldest" && { overflow }),
  };
}

export const isSameExchange = (a: ExchangeFields, b: ExchangeFields): boolean =>
  a.type === b.type && isSame(a.publishers, b.publishers) && isSame(a.subscribers, b.subscribers);

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Whether it is pushed is no property of the queue, but of where its owner's account is. */
export function isSameQueue(
  a: QueueFields,
  b: Omit<QueueFields, "incarnation" | "boundTo">,
): boolean {
  const { incarnation: _i, boundTo: _b, owner: _o, push: _p, ...options } = a;
  const { owner: _, push: _w, ...wanted } = b;
  const keys = new Set([...Object.keys(options), ...Object.keys(wanted)]);
  return [...keys].every((key) =>
    isSame((options as Record<string, unknown>)[key], (wanted as Record<string, unknown>)[key]),
  );
}

export function bindingOf(
  { queue, key = "", headers = {}, match = "all" }: Binding,
  incarnation: string,
): BoundQueue {
  // In one order, so that equal ones look equal.
  const sorted = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  return { queue, incarnation, key, headers: Object.fromEntries(sorted), match };
}

export const isSameBinding = (a: BoundQueue, b: BoundQueue): boolean =>
  a.queue === b.queue &&
  a.incarnation === b.incarnation &&
  a.key === b.key &&
  a.match === b.match &&
  isSame(a.headers, b.headers);

/** Of a queue that had the name before. */
export const isFormer = (one: BoundQueue, { queue, incarnation }: BoundQueue): boolean =>
  one.queue === queue && one.incarnation !== incarnation;
