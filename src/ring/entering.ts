/** How a node becomes a member: finds a way in, then the predecessor-to-be, and joins there. */
import type { Address, RingId } from "../shared/ids.js";
import { isDouble } from "./answer.js";
import type { LookupResult } from "./lookup.js";
import { type MemberRef, showMember } from "./member.js";
import type { Reply } from "./message.js";
import { RingJoinError } from "./ports.js";

export type JoinAttempt =
  | { readonly kind: "joined" }
  | { readonly kind: "failed"; readonly holder: MemberRef | undefined };

/** What entering needs of the actor. */
export interface EnteringNode {
  readonly self: MemberRef;
  hello(addr: Address): Promise<Reply | undefined>;
  /** The last live member before `key`, by way of `gateway` and without the own node. */
  lookupPredecessor(key: RingId, gateway: MemberRef): Promise<LookupResult>;
  join(from: MemberRef): Promise<JoinAttempt>;
  /** A short random pause. */
  pause(): Promise<void>;
}

type Round =
  | { readonly kind: "joined" }
  /** Nobody who was asked is a member. */
  | { readonly kind: "no-gateway" }
  /** Worth another try. */
  | { readonly kind: "again"; readonly problem: string };

/** Hellos sent at the same time. */
const helloBatch = 8;
/** Members through which one round tries to get in. */
const gatewaysMax = 3;

/**
 * One pass over the addresses.
 * @throws RingJoinError when another try cannot help: duplicate id, other ring.
 */
export async function enterOnce(node: EnteringNode, addrs: readonly Address[]): Promise<Round> {
  let mismatch: string | undefined;
  let problem: string | undefined;
  for (let i = 0; i < addrs.length; i += helloBatch) {
    const found = await findGateways(node, addrs.slice(i, i + helloBatch));
    mismatch ??= found.mismatch;
    for (const gateway of found.gateways.slice(0, gatewaysMax)) {
      problem = await joinThrough(node, gateway);
      if (problem === undefined) return { kind: "joined" };
    }
    if (problem !== undefined) return { kind: "again", problem };
  }
  if (mismatch !== undefined) throw new RingJoinError("wrong-ring", mismatch);
  return { kind: "no-gateway" };
}

/** Asks all addresses at once; those who answer as members of this ring are ways in. */
async function findGateways(
  node: EnteringNode,
  addrs: readonly Address[],
): Promise<{ readonly gateways: readonly MemberRef[]; readonly mismatch: string | undefined }> {
  const { self } = node;
  const replies = await Promise.all(addrs.map((addr) => node.hello(addr)));
  const gateways: MemberRef[] = [];
  let mismatch: string | undefined;
  for (const [i, reply] of replies.entries()) {
    if (reply?.kind === "refused") {
      if (reply.code === "duplicate-id") throw duplicateId(self, reply.reason);
      mismatch ??= `${addrs[i]} refuses: ${reply.reason}`;
    }
    if (reply?.kind !== "welcome" || !reply.member || reply.self.uuid === self.uuid) continue;
    gateways.push(reply.self);
  }
  return { gateways, mismatch };
}

/** @returns undefined when joined, else what went wrong. */
async function joinThrough(node: EnteringNode, gateway: MemberRef): Promise<string | undefined> {
  const { self } = node;
  const found = await node.lookupPredecessor(self.id, gateway);
  if (!found.ok) return `the way from ${gateway.addr} to the neighbours is broken`;
  const attempt = await node.join(found.closestBefore);
  if (attempt.kind === "joined") return undefined;
  const { holder } = attempt;
  if (holder === undefined) return `the ring near ${showMember(found.closestBefore)} is changing`;
  const reply = await node.hello(holder.addr);
  // Who holds the id and is alive refuses us; whoever else is at that address does not matter.
  if (reply?.kind === "refused" && reply.code === "duplicate-id") {
    throw duplicateId(self, reply.reason);
  }
  if (reply?.kind === "welcome" && reply.member && isDouble(self, reply.self)) {
    throw duplicateId(self, `it is ${showMember(reply.self)}`);
  }
  return `silent member ${showMember(holder)} still holds the id`;
}

function duplicateId(self: MemberRef, detail: string): RingJoinError {
  return new RingJoinError("duplicate-id", `id ${self.id} is taken by a live member: ${detail}`);
}
