/** What each peer sends, to whom, and how large: by seed, the same in whatever process asks. */
import { createHash } from "node:crypto";
import { createDice, type Dice } from "../../../src/drill/dice.js";

export interface PlanOptions {
  readonly seed: number;
  /** Names of users. */
  readonly peers: readonly string[];
  /** Of all peers together. */
  readonly messages: number;
  /** Octets of the largest, of which there is at least one. */
  readonly largest: number;
  /** Then they are of these sizes in turn, each to one other peer, in one stream. */
  readonly sizes?: readonly number[];
}

/** To a peer's inbox, to a peer's queue, or to the sender's event, which others subscribe to. */
export type Route =
  | { readonly kind: "peer"; readonly to: string }
  | { readonly kind: "queue"; readonly to: string }
  | { readonly kind: "event" };

export interface Planned {
  /** Of its sender's, from 0. */
  readonly n: number;
  readonly route: Route;
  readonly stream: string;
  readonly octets: number;
}

const streams = ["a", "b", "c"] as const;
/** A message of a queue is one packet, however small the relay makes these. */
const queueOctetsMax = 16 * 1024;
const eventOctetsMax = 8 * 1024 * 1024;

export function planOf(
  { seed, peers, messages, largest, sizes }: PlanOptions,
  self: string,
): Planned[] {
  const index = peers.indexOf(self);
  const dice = createDice(seed * 1_000 + index);
  const count = Math.ceil(messages / peers.length);
  const others = peers.filter((name) => name !== self);
  if (sizes !== undefined) {
    const route: Route = { kind: "peer", to: others[0] ?? self };
    return Array.from({ length: count }, (_, n) => {
      return { n, route, stream: "a", octets: sizes[n % sizes.length] ?? 1 };
    });
  }
  return Array.from({ length: count }, (_, n) => {
    const isLargest = index === 0 && n === Math.floor(count / 2);
    const wanted = isLargest ? largest : Math.min(largest, sizeOf(dice, largest));
    const share = isLargest ? 0 : dice.next();
    const stream = dice.pick(streams);
    const to = dice.pick(others);
    if (share > 0.85 && wanted <= queueOctetsMax) {
      return { n, route: { kind: "queue", to }, stream, octets: wanted };
    }
    if (share > 0.6 && wanted <= eventOctetsMax) {
      return { n, route: { kind: "event" }, stream, octets: wanted };
    }
    return { n, route: { kind: "peer", to }, stream, octets: wanted };
  });
}

/** Most are small; one in a thousand is as large as they come. */
function sizeOf(dice: Dice, largest: number): number {
  const share = dice.next();
  const between = (from: number, to: number): number =>
    Math.floor(from * (to / from) ** dice.next());
  if (share < 0.7) return between(1, 1_024);
  if (share < 0.93) return between(1_024, 64 * 1024);
  if (share < 0.99) return between(64 * 1024, 1024 * 1024);
  return share < 0.999 ? between(1024 * 1024, 8 * 1024 * 1024) : largest;
}

/** Who subscribes to the event of a peer: the next two. */
export function subscribersOf(peers: readonly string[], self: string): string[] {
  const index = peers.indexOf(self);
  return [1, 2].map((step) => peers[(index + step) % peers.length] ?? self);
}

/** Octets that nobody else sends, and that do not compress. */
export const bodyOf = (sender: string, n: number, octets: number): Buffer =>
  createHash("shake256", { outputLength: octets }).update(`${sender} ${n}`).digest();
