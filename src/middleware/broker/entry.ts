/**
 * An entry of a queue is a mail; what its queue's leader has to know of it stands in header lines in
 * front, so that nobody has to read bodies. Everything here is derived, never made up, so that an
 * entry that is stored twice, by whichever nodes, is the same entry.
 */
import { createHash } from "node:crypto";
import type { MailboxName, MessageId } from "../../shared/ids.js";
import type { StoredMessage } from "../../shared/operation.js";

export interface EntryFacts {
  /** Of the queue's making: entries of a former queue of the name are nobody's. */
  readonly incarnation: string;
  /** Messages, or blocks of one, in it. */
  readonly messages: number;
  /** 0 to 9, higher first. */
  readonly priority: number;
  /** Milliseconds since 1970. */
  readonly deliverAtMs?: number;
  readonly expiresAtMs?: number;
  /** Of a dead letter: whence, and why. */
  readonly dead?: DeadFacts;
}

export type DeathReason = "expired" | "rejected" | "deliveries" | "overflow";

export interface DeadFacts {
  readonly queue: string;
  readonly incarnation: string;
  readonly why: DeathReason;
}

interface TraceOptions {
  readonly domain: string;
  readonly queue: string;
  readonly id: MessageId;
  readonly receivedAtMs: number;
  readonly facts: EntryFacts;
}

export const standardPriority = 4;

/** Lines in front of an entry's mail. Names of queues have nothing in them that is structure. */
export function traceOf({ domain, queue, id, receivedAtMs, facts }: TraceOptions): string {
  const { incarnation, messages, priority, deliverAtMs, expiresAtMs, dead } = facts;
  const fields = [
    `queue=${incarnation}`,
    `n=${messages}`,
    `priority=${priority}`,
    ...(deliverAtMs === undefined ? [] : [`deliver=${deliverAtMs}`]),
    ...(expiresAtMs === undefined ? [] : [`expires=${expiresAtMs}`]),
  ];
  const date = new Date(receivedAtMs).toUTCString().replace("GMT", "+0000");
  const lines = [
    "Return-Path: <>",
    `Received: by ${domain} with EBM id ${id}\r\n\tfor <${queue}>; ${date}`,
    `Ringpost-Entry: ${fields.join("; ")}`,
    ...(dead
      ? [`Ringpost-Dead: queue=${dead.queue}; of=${dead.incarnation}; why=${dead.why}`]
      : []),
  ];
  return `${lines.join("\r\n")}\r\n`;
}

/** Undefined for a mail that is no entry. */
export function factsIn({ trace }: Pick<StoredMessage, "trace">): EntryFacts | undefined {
  const fields = fieldsOf(trace, "Ringpost-Entry");
  const incarnation = fields?.get("queue");
  if (!fields || incarnation === undefined) return undefined;
  const numberOf = (name: string): number | undefined => {
    const text = fields.get(name);
    return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  };
  const deliverAtMs = numberOf("deliver");
  const expiresAtMs = numberOf("expires");
  const dead = deadIn(trace);
  return {
    incarnation,
    messages: numberOf("n") ?? 1,
    priority: Math.min(9, numberOf("priority") ?? standardPriority),
    ...(deliverAtMs !== undefined && { deliverAtMs }),
    ...(expiresAtMs !== undefined && { expiresAtMs }),
    ...(dead && { dead }),
  };
}

function deadIn(trace: string): DeadFacts | undefined {
  const fields = fieldsOf(trace, "Ringpost-Dead");
  const [queue, incarnation, why] = ["queue", "of", "why"].map((name) => fields?.get(name));
  if (queue === undefined || incarnation === undefined || why === undefined) return undefined;
  return { queue, incarnation, why: why as DeathReason };
}

function fieldsOf(trace: string, name: string): ReadonlyMap<string, string> | undefined {
  const line = trace.split("\r\n").find((each) => each.startsWith(`${name}: `));
  if (line === undefined) return undefined;
  const pairs = line.slice(name.length + 2).split("; ");
  return new Map(pairs.map((pair) => [before(pair), pair.slice(before(pair).length + 1)]));
}

const before = (pair: string): string => pair.slice(0, pair.indexOf("="));

/** Said in front of an entry that was handed out before. */
export const redeliveredLine = (times: number): string =>
  times === 0 ? "" : `Ringpost-Redelivered: ${times}\r\n`;

/** The 12 + 4 digits that sort an id, see `messageIdMaker`, and a tail by what it is the id of. */
function derivedId(timeAndCounter: string, what: readonly unknown[]): MessageId {
  const tail = createHash("sha256").update(JSON.stringify(what)).digest().subarray(0, 8);
  tail[0] = ((tail[0] ?? 0) & 0x3f) | 0x80;
  return `${timeAndCounter}${tail.toString("hex")}` as MessageId;
}

/** As `derivedId`, of a message of a flow: see `isOfFlow`. */
export function idOfFlow(
  timeAndCounter: string,
  flow: string,
  what: readonly unknown[],
): MessageId {
  const tail = createHash("sha256").update(JSON.stringify(what)).digest().subarray(0, 3);
  return `${timeAndCounter}${flow}${tail.toString("hex")}` as MessageId;
}

/** Names a flow in ids, by its register. */
export function flowName(register: string): string {
  const name = createHash("sha256").update(register).digest().subarray(0, 5);
  name[0] = ((name[0] ?? 0) & 0x3f) | 0x80;
  return name.toString("hex");
}

/** Each entry is one of a kind: nothing that is equal to it is a retry of it. */
export const fingerprintOfEntry = (id: MessageId): string => `ebm/${id}`;

export interface Target {
  readonly queue: string;
  readonly incarnation: string;
  readonly mailbox: MailboxName;
}

/**
 * The same mail in another queue: as a dead letter (`dead`), or back from there. It has neither a time to
 * be delivered nor one to expire, so that nothing wanders in circles by itself.
 */
export function movedTo(
  target: Target,
  source: StoredMessage,
  { domain, dead }: { readonly domain: string; readonly dead?: DeadFacts },
): StoredMessage {
  const { messages = 1, priority = standardPriority } = factsIn(source) ?? {};
  const { queue, incarnation } = target;
  const facts = { incarnation, messages, priority, ...(dead && { dead }) };
  // Not of the flow any more: however late it is moved, no floor is above it.
  const time = `${source.id.slice(0, 12)}7${source.id.slice(13, 16)}`;
  const id = derivedId(time, [source.id, queue, incarnation, dead ?? null]);
  const { receivedAtMs } = source;
  const trace = traceOf({ domain, queue, id, receivedAtMs, facts });
  return { ...source, id, trace, fingerprint: fingerprintOfEntry(id) };
}
