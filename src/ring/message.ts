/** Messages between members of a ring, and their plain JSON form. */
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import type { MemberRef, RingParameters } from "./member.js";

/** Sent with every request, so that members of different rings refuse each other by reason. */
export interface RingHeader extends RingParameters {
  readonly protocol: number;
}

export type Request =
  /** Who is there, and is it in the ring? */
  | { readonly kind: "hello"; readonly ring: RingHeader; readonly from: MemberRef }
  /** Its ring state, for a step of Zave's. */
  | { readonly kind: "state"; readonly ring: RingHeader; readonly from: MemberRef }
  | { readonly kind: "ping"; readonly ring: RingHeader }
  /** Where to go next for `key`. */
  | { readonly kind: "find"; readonly ring: RingHeader; readonly key: RingId }
  /** The sender has the receiver as its successor (Rectify). */
  | { readonly kind: "notify"; readonly ring: RingHeader; readonly from: MemberRef };

type RefusalCode = "wrong-ring" | "duplicate-id" | "malformed";

export interface Found {
  readonly self: MemberRef;
  readonly predecessor: MemberRef | undefined;
  readonly successors: readonly MemberRef[];
  /** Fingers strictly between `self` and the key, the closest to the key first. */
  readonly preceding: readonly MemberRef[];
}

export type Reply =
  | { readonly kind: "welcome"; readonly self: MemberRef; readonly member: boolean }
  | {
      readonly kind: "view";
      readonly self: MemberRef;
      readonly predecessor: MemberRef | undefined;
      readonly successors: readonly MemberRef[];
      /** A few members of the cache. */
      readonly known: readonly MemberRef[];
    }
  /** A query of its own is under way, so its state is about to change. Ask again shortly. */
  | { readonly kind: "pending"; readonly self: MemberRef }
  | { readonly kind: "pong"; readonly self: MemberRef }
  | ({ readonly kind: "found" } & Found)
  | { readonly kind: "noted"; readonly self: MemberRef }
  /** Up, but not in the ring. */
  | { readonly kind: "absent" }
  | { readonly kind: "refused"; readonly code: RefusalCode; readonly reason: string };

export type Message = Request | Reply;

type Json<T> = T extends bigint
  ? string
  : T extends string | number | boolean | undefined
    ? T
    : T extends readonly (infer E)[]
      ? readonly Json<E>[]
      : { readonly [K in keyof T]: Json<T[K]> };

type Wire<T> = T extends unknown ? Json<T> : never;

/** As `Message`, with identifiers as decimal strings: survives JSON. */
export type RingMessage = Wire<Message>;

type WireMember = Json<MemberRef>;

export function encodeRingMessage(message: Message): RingMessage {
  switch (message.kind) {
    case "hello":
    case "state":
    case "notify":
      return { ...message, from: wire(message.from) };
    case "find":
      return { ...message, key: message.key.toString() };
    case "welcome":
    case "pending":
    case "pong":
    case "noted":
      return { ...message, self: wire(message.self) };
    case "view":
      return { ...message, ...wireView(message), known: message.known.map(wire) };
    case "found":
      return { ...message, ...wireView(message), preceding: message.preceding.map(wire) };
    default:
      return message;
  }
}

function wireView(view: Pick<Found, "self" | "predecessor" | "successors">) {
  return {
    self: wire(view.self),
    predecessor: view.predecessor && wire(view.predecessor),
    successors: view.successors.map(wire),
  };
}

function wire(member: MemberRef): WireMember {
  return { id: member.id.toString(), addr: member.addr, uuid: member.uuid };
}

type ParsedRingMessage =
  | { readonly ok: true; readonly message: Message }
  | { readonly ok: false; readonly error: string };

const listEntriesMax = 64;
const addrOctetsMax = 300;
const uuidOctetsMax = 64;
/** 2^160 has 49 decimal digits. */
const idDigitsMax = 49;
const reasonOctetsMax = 1_000;

/** What is wrong with a message; caught by `parseRingMessage`, so it cannot leave this file. */
class Malformed extends Error {}

/**
 * Checks and reads a message from another member. Never throws, whatever the value is.
 * Identifiers may have any number of bits up to 160; the receiver compares them with its own.
 */
export function parseRingMessage(value: unknown): ParsedRingMessage {
  try {
    return { ok: true, message: parse(fields(value, "message")) };
  } catch (error) {
    // A value with hostile getters or proxies ends here as well.
    const reason = error instanceof Malformed ? error.message : "unreadable message";
    return { ok: false, error: reason };
  }
}

type Fields = Readonly<Record<string, unknown>>;

function parse(value: Fields): Message {
  const kind = value["kind"];
  switch (kind) {
    case "hello":
    case "state":
    case "notify":
      return { kind, ring: header(value["ring"]), from: member(value["from"]) };
    case "ping":
      return { kind, ring: header(value["ring"]) };
    case "find":
      return { kind, ring: header(value["ring"]), key: id(value["key"]) };
    case "welcome":
      return { kind, self: member(value["self"]), member: value["member"] === true };
    case "pending":
    case "pong":
    case "noted":
      return { kind, self: member(value["self"]) };
    case "view":
      return { kind, ...view(value), known: members(value["known"]) };
    case "found":
      return { kind, ...view(value), preceding: members(value["preceding"]) };
    case "absent":
      return { kind };
    case "refused":
      return { kind, code: refusalCode(value["code"]), reason: reason(value["reason"]) };
    default:
      throw new Malformed("unknown kind of message");
  }
}

function view(value: Fields): Pick<Found, "self" | "predecessor" | "successors"> {
  const predecessor = value["predecessor"];
  return {
    self: member(value["self"]),
    predecessor:
      predecessor === undefined || predecessor === null ? undefined : member(predecessor),
    successors: members(value["successors"]),
  };
}

function fields(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null) throw new Malformed(`${what}: not an object`);
  return value as Fields;
}

function header(value: unknown): RingHeader {
  const { protocol, bits, replicas } = fields(value, "ring");
  return {
    protocol: count(protocol, "protocol"),
    bits: count(bits, "bits"),
    replicas: count(replicas, "replicas"),
  };
}

function count(value: unknown, what: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Malformed(`${what}: not a count`);
}

function member(value: unknown): MemberRef {
  const entry = fields(value, "member");
  return {
    id: id(entry["id"]),
    addr: text(entry["addr"], addrOctetsMax, "addr") as Address,
    uuid: text(entry["uuid"], uuidOctetsMax, "uuid") as MemberUuid,
  };
}

function members(value: unknown): readonly MemberRef[] {
  if (!Array.isArray(value)) throw new Malformed("members: not a list");
  if (value.length > listEntriesMax) throw new Malformed("members: too many");
  return value.map(member);
}

function id(value: unknown): RingId {
  if (typeof value !== "string" || value.length > idDigitsMax || !/^[0-9]+$/.test(value)) {
    throw new Malformed("id: not a decimal number");
  }
  return BigInt(value) as RingId;
}

function text(value: unknown, octetsMax: number, what: string): string {
  if (typeof value === "string" && value.length > 0 && value.length <= octetsMax) {
    // Printable ASCII without spaces: these go into logs and command lines.
    if (/^[\x21-\x7e]+$/.test(value)) return value;
  }
  throw new Malformed(`${what}: not a short printable text`);
}

function refusalCode(value: unknown): RefusalCode {
  if (value === "wrong-ring" || value === "duplicate-id" || value === "malformed") return value;
  throw new Malformed("refused: unknown code");
}

/** One printable line, whatever the peer wrote. */
function reason(value: unknown): string {
  if (typeof value !== "string") throw new Malformed("refused: no reason");
  return value.slice(0, reasonOctetsMax).replace(/[^\x20-\x7e]/g, "?");
}

/** All identifiers of a message, to be compared with the ring's number of bits. */
export function idsWithin(message: Message, bits: number): boolean {
  const fits = (value: RingId): boolean => value >> BigInt(bits) === 0n;
  const all = (list: readonly MemberRef[]): boolean => list.every((entry) => fits(entry.id));
  switch (message.kind) {
    case "hello":
    case "state":
    case "notify":
      return fits(message.from.id);
    case "find":
      return fits(message.key);
    case "welcome":
    case "pending":
    case "pong":
    case "noted":
      return fits(message.self.id);
    case "view":
      return all([message.self, ...message.successors, ...message.known]) && fitsOptional();
    case "found":
      return all([message.self, ...message.successors, ...message.preceding]) && fitsOptional();
    default:
      return true;
  }
  function fitsOptional(): boolean {
    if (message.kind !== "view" && message.kind !== "found") return true;
    return message.predecessor === undefined || fits(message.predecessor.id);
  }
}
