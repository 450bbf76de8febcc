/**
 * What requests of other members have to look like. They are journaled and believed, so a member
 * with a bug, or of another mind, must not get anything in that this one could not read again.
 * Fields that are not named here are those of a later version, and pass.
 */
import type { PeerMethodName } from "./peer-methods.js";
import type { PeerMessage } from "./ports.js";

/** Undefined when the value is well-formed, else the way to what is not. */
type Shape = (value: unknown, what: string) => string | undefined;

/** A request that no member of this version sends. `message` is one line. */
class MalformedRequestError extends Error {
  override readonly name = "MalformedRequestError";
}

const plainTextMax = 1_024;
/** `Return-Path:` and `Received:`, each with long names in it. */
const traceCharsMax = 64 * 1_024;
const listEntriesMax = 100_000;

const when =
  (isGood: (value: unknown) => boolean): Shape =>
  (value, what) =>
    isGood(value) ? undefined : what;

const matching = (pattern: RegExp): Shape =>
  when((value) => typeof value === "string" && value.length <= plainTextMax && pattern.test(value));

const text = when((value) => typeof value === "string" && value.length <= plainTextMax);
const trace = when((value) => typeof value === "string" && value.length <= traceCharsMax);
const whole = when((value) => Number.isSafeInteger(value) && (value as number) >= 0);
const finite = when(Number.isFinite);
const boolean = when((value) => typeof value === "boolean");
const anything: Shape = () => undefined;
/** 32 hex digits, see `MessageId`; `after` of a page may be empty. */
const messageId = matching(/^[0-9a-f]{32}$/);
const pageAfter = matching(/^(?:[0-9a-f]{32})?$/);
const digest = matching(/^[0-9a-f]{64}$/);
/** An address, canonical: no control characters, nothing that ends a line. A user has several, a queue one. */
const mailbox = matching(
  /^[^\p{Cc}\p{Cs}\u2028\u2029@]+@[a-z0-9.-]+(?:\/(?:outbox|config|data|queue))?$/u,
);

function optional(shape: Shape): Shape {
  return (value, what) => (value === undefined ? undefined : shape(value, what));
}

function listOf(shape: Shape): Shape {
  return (value, what) => {
    if (!Array.isArray(value) || value.length > listEntriesMax) return what;
    for (const [index, entry] of value.entries()) {
      const wrong = shape(entry, what);
      if (wrong !== undefined) return `${wrong} (entry ${index})`;
    }
    return undefined;
  };
}

function record(fields: Readonly<Record<string, Shape>>): Shape {
  const entries = Object.entries(fields);
  return (value, what) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return what;
    for (const [key, shape] of entries) {
      const field = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
      const wrong = shape(field, key);
      if (wrong !== undefined) return what === "" ? wrong : `${what}.${wrong}`;
    }
    return undefined;
  };
}

const ballot = record({ counter: whole, proposer: text });
const session = { mailbox, session: text };
const epoch = { epoch: whole };
const buckets = listOf(text);

const message = record({
  ...{ id: messageId, digest, bodyOctets: whole, trace, receivedAtMs: finite, fingerprint: text },
  ...{ coordinator: text, hasMessageId: optional(boolean) },
});
const tombstone = record({ id: messageId, removedAtMs: finite, fingerprint: optional(text) });
const addMessage = record({ mailbox, message });
const removeMessage = record({ mailbox, tombstone });

/** Those that leave a node, and no others. */
const operation: Shape = (value, what) => {
  const kind = (value as { kind?: unknown } | null)?.kind;
  if (kind === "AddMessage") return addMessage(value, what);
  if (kind === "RemoveMessage") return removeMessage(value, what);
  return `${what}.kind`;
};

const unsettled = record({
  ...{ id: messageId, fingerprint: text, coordinator: text },
  state: matching(/^(?:outstanding|doubtful)$/),
});
const body = record({ digest, octets: whole, transfer: optional(text) });
const ringParameters = record({ bits: whole, replicas: whole, domain: text });

const entries = optional(listOf(messageId));
const entryTimes = optional(listOf(record({ entry: messageId, ms: whole })));

const shapes: Readonly<Record<PeerMethodName, Shape>> = {
  replicate: record({
    ...epoch,
    ...{ operations: listOf(operation), bodies: listOf(body) },
    ...{ lock: optional(record(session)), unsettled: optional(listOf(unsettled)) },
  }),
  bodyChunk: record({ transfer: text, offset: whole, last: boolean }),
  readBody: record({ digest, offset: whole, length: whole }),
  bodies: record({ digests: listOf(digest) }),
  settled: record({ confirmed: listOf(messageId), doubtful: listOf(messageId) }),
  prepare: record({ ...epoch, register: text, ballot }),
  accept: record({ ...epoch, register: text, ballot, value: anything, next: optional(ballot) }),
  readRegister: record({ ...epoch, register: text }),
  acquire: record({ ...epoch, ...session, boot: text }),
  checkLock: record({ ...epoch, ...session }),
  release: record(session),
  holds: record(session),
  noteTry: record({ ...epoch, key: text, id: text, windowMs: whole, max: whole }),
  releaseTry: record({ ...epoch, key: text, id: text }),
  summary: record({ ...epoch, mailbox }),
  listing: record({ mailbox, after: pageAfter }),
  sound: record({ ...epoch, mailbox, nonce: text }),
  fetch: record({ mailbox, ids: listOf(messageId), withBodies: boolean }),
  beat: record({ boot: text, epoch: whole, ringMs: finite }),
  roster: record({}),
  newRoster: record({ roster: anything }),
  join: record({
    ...{ id: matching(/^[0-9]{1,49}$/), addr: matching(/^[!-~]+$/), uuid: text },
    ring: ringParameters,
  }),
  silence: record({ of: text }),
  progress: record(epoch),
  gains: record({ ...epoch, after: text }),
  compare: record({ ...epoch, buckets, firstBucket: whole }),
  offer: record({ ...epoch, mailbox, digest: text }),
  lines: record({ ...epoch, buckets, from: whole }),
  survey: record(epoch),
  mend: record({ ...epoch, mailbox, source: optional(text), after: optional(pageAfter) }),
  recall: record({ id: messageId }),
  status: record({}),
  registerChanged: record({ register: text }),
  queueCall: record({
    queue: matching(/^[a-z0-9][a-z0-9._-]{0,63}$/),
    command: matching(/^(?:open|close|settle|status|redrive|purge|wake|trim|peek)$/),
    ...{ session: optional(text), max: optional(whole), target: optional(text) },
    recall: optional(boolean),
    ...{ ack: entries, reject: entries, back: entries, nack: entryTimes, extend: entryTimes },
  }),
  accounts: record({ after: text }),
};

/** @throws MalformedRequestError naming the field that no request has */
export function checkRequest(method: PeerMethodName, request: PeerMessage): void {
  const wrong = shapes[method](request, "");
  if (wrong !== undefined) throw new MalformedRequestError(`${method}: malformed ${wrong}`);
}
