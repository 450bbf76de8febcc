/**
 * What a program hands over, looked at before anything is done with it: a slip is told at the call that made it. Later it
 * would be a mail that no receiver understands, a timer that never rings, or a TypeError from the depths.
 */
import type { ConnectOptions, ConsumeOptions, RingpostEvents, SendOptions } from "./api.js";
import { RingpostError } from "./errors.js";

/** As `src/ebm/frame-checks.ts` has it of what comes by mail. */
const limits = {
  nameChars: 128,
  streamChars: 100,
  shortChars: 256,
  headers: 64,
  headerChars: 1_024,
  /** Together: what stands beside a message's octets fits 16 KiB, and the ring adds to it. */
  headersOctets: 12 * 1024,
  uids: 10_000,
  lingerMs: 60_000,
} as const;

/** A longer timer would ring at once. */
const timerMsMax = 2 ** 31 - 1;
/** So that any time is a whole number of milliseconds since 1970. */
const tenYearsMs = 10 * 366 * 24 * 60 * 60 * 1_000;
/** As the ring has it of exchanges and queues. */
const nameShape = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const nameWords = "1 to 64 of a-z 0-9 . _ -, the first a letter or digit";
/** The least that leaves room for a message beside its properties. */
const octetsMin = 64 * 1024;

export function check(isSound: boolean, why: string): asserts isSound {
  if (!isSound) throw new RingpostError("malformed", why, false);
}

/** Options may be left out, not be something else. */
export function checkObject(value: unknown, what: string): asserts value is object {
  check(
    typeof value === "object" && value !== null && !Array.isArray(value),
    `${what} has to be an object`,
  );
}

export function checkText(value: unknown, what: string): asserts value is string {
  check(typeof value === "string" && value !== "", `${what} has to be a text that is not empty`);
}

export function checkTexts(value: unknown, what: string): asserts value is readonly string[] {
  const isSound =
    Array.isArray(value) && value.length <= limits.uids && value.every((one) => isText(one));
  check(isSound, `${what} has to be a list of texts, ${limits.uids} at most`);
}

/** Of an exchange, an event, a queue. */
export function checkName(name: unknown, what: string): asserts name is string {
  const isSound = typeof name === "string" && nameShape.test(name);
  check(isSound, `${what}: ${show(name)} is no name: ${nameWords}`);
}

/** Milliseconds from now. */
function checkMs(value: unknown, what: string, bounds: { min?: number; max?: number } = {}): void {
  const { min = 0, max = tenYearsMs } = bounds;
  if (value === undefined) return;
  const isSound = typeof value === "number" && value >= min && value <= max;
  check(isSound, `${what} has to be in milliseconds, ${min} to ${max}`);
}

export const checkTimeout = (value: unknown, what: string): void =>
  checkMs(value, what, { min: 1, max: timerMsMax });

export const checkDelay = (value: unknown): void => checkMs(value, "delayMs", { max: timerMsMax });

/** An id as it stands in mails: `alice@ring.test`. */
export function checkUserId(id: string): string {
  const isSound = id.length <= limits.nameChars && /^[!-~]+$/.test(id) && isAddress(id);
  check(isSound, `${show(id)} is no user: alice, or alice@ring.test, in visible ASCII characters`);
  return id;
}

const isAddress = (text: string): boolean => /^[^@<>()[\]\\,;:"]+@[^@<>()\\,;"]+$/.test(text);

function checkSignal(signal: unknown): void {
  check(signal === undefined || signal instanceof AbortSignal, "signal has to be an AbortSignal");
}

export function checkSending(options: SendOptions & { readonly key?: string | undefined }): void {
  checkObject(options, "options");
  const { stream = "main", headers, ttlMs, priority, delayMs, signal, key } = options;
  const isStream =
    typeof stream === "string" && stream.length <= limits.streamChars && /^[!-~]+$/.test(stream);
  check(isStream, `a stream is 1 to ${limits.streamChars} visible ASCII characters`);
  if (headers !== undefined) checkHeaders(headers);
  checkMs(ttlMs, "ttlMs", { min: 1 });
  checkMs(delayMs, "delayMs");
  const isPriority = Number.isInteger(priority) && Number(priority) >= 0 && Number(priority) <= 9;
  check(priority === undefined || isPriority, "priority has to be a whole number, 0 to 9");
  const isKey = key === undefined || (typeof key === "string" && key.length <= limits.shortChars);
  check(isKey, `key has to be a text of ${limits.shortChars} characters at most`);
  checkSignal(signal);
}

function checkHeaders(headers: unknown): void {
  checkObject(headers, "headers");
  const all = Object.entries(headers);
  check(all.length <= limits.headers, `headers: ${limits.headers} at most`);
  for (const [name, value] of all as [string, unknown][]) {
    const isName = name.length <= limits.nameChars;
    check(isName, `headers: a name has ${limits.nameChars} characters at most`);
    const isValue =
      typeof value === "boolean" ||
      Number.isFinite(value) ||
      (typeof value === "string" && value.length <= limits.headerChars);
    const what = `a number, a boolean, or a text of ${limits.headerChars} characters at most`;
    check(isValue, `headers: ${show(name)} is ${what}`);
  }
  const isFew = Buffer.byteLength(JSON.stringify(headers)) <= limits.headersOctets;
  check(isFew, `headers: ${limits.headersOctets} octets at most, together and as JSON`);
}

export function checkConsuming(options: ConsumeOptions): void {
  checkObject(options, "options");
  const { prefetch, autoAck, signal } = options;
  const isPrefetch = Number.isSafeInteger(prefetch) && Number(prefetch) > 0;
  check(prefetch === undefined || isPrefetch, "prefetch has to be a whole number, 1 at least");
  check(autoAck === undefined || typeof autoAck === "boolean", "autoAck has to be true or false");
  checkSignal(signal);
}

export function checkAccount(account: unknown): void {
  checkObject(account, "account");
  const { user, password } = account as { readonly user?: unknown; readonly password?: unknown };
  checkText(user, "user");
  checkText(password, "password");
}

export function checkConnecting(options: ConnectOptions): void {
  checkObject(options, "connect");
  const { servers, account, store, signal, poll, tls } = options;
  check(Array.isArray(servers), 'servers: a list, ["127.0.0.1:5000"]');
  if (account !== undefined) checkAccount(account);
  if (store !== undefined) checkText(store, "store");
  checkSignal(signal);
  if (poll !== undefined) {
    checkObject(poll, "poll");
    checkMs(poll.minMs, "poll.minMs", { min: 1, max: timerMsMax });
    checkMs(poll.maxMs, "poll.maxMs", { min: 1, max: timerMsMax });
  }
  const isTls = tls === undefined || tls === "auto" || tls === "require" || isTlsPolicy(tls);
  check(isTls, 'tls: "auto", "require", { ca } or { rejectUnauthorized: false }');
  for (const name of ["windowOctets", "blockOctets"] as const) {
    const octets: unknown = options[name];
    const isSound = Number.isSafeInteger(octets) && Number(octets) >= octetsMin;
    check(
      octets === undefined || isSound,
      `${name} has to be a whole number of octets, ${octetsMin} at least`,
    );
  }
  checkMs(options.lingerMs, "lingerMs", { max: limits.lingerMs });
}

function isTlsPolicy(tls: unknown): boolean {
  if (typeof tls !== "object" || tls === null) return false;
  const { ca, rejectUnauthorized } = tls as Record<string, unknown>;
  return isText(ca) || rejectUnauthorized === false;
}

const events: Readonly<Record<keyof RingpostEvents, true>> = {
  status: true,
  failover: true,
  receipt: true,
  deadLetter: true,
  chat: true,
};

export function checkListening(event: unknown, listener: unknown): void {
  const isEvent = typeof event === "string" && Object.hasOwn(events, event);
  check(isEvent, `on: ${show(event)} is no event; there are ${Object.keys(events).join(", ")}`);
  check(typeof listener === "function", "on: the listener is a function");
}

export function checkFolder(folder: unknown): void {
  check(folder === "inbox" || folder === "outbox", 'the folder is "inbox" or "outbox"');
}

const isText = (value: unknown): boolean => typeof value === "string" && value !== "";

/** What was given, on one line and short. */
function show(value: unknown): string {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
