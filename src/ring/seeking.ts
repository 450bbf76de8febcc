/** How a member finds the others again: after it lost all successors, or after the ring split. */
import type { RingId } from "../shared/ids.js";
import { advance, between } from "./identifier.js";
import type { LookupResult } from "./lookup.js";
import type { MemberRef } from "./member.js";
import type { Peers } from "./peers.js";
import { type Input, isLost, type RingState } from "./state.js";

interface SeekingNode {
  readonly peers: Peers;
  state(): RingState;
  feed(input: Input): void;
  lookupThrough(key: RingId, gateway: MemberRef): Promise<LookupResult>;
}

/** Known members tried at each cache tick, and when looking for a way back. */
const exploreBatch = 3;
const recoverBatch = 8;

export class Seeker {
  readonly #node: SeekingNode;
  /** Where in the cache the last batch ended. */
  #cursor = 0;

  constructor(node: SeekingNode) {
    this.#node = node;
  }

  /**
   * A lost member's way back: to whoever comes after it and is alive, through whoever of the known
   * members is in a ring. Not a join: the list of the predecessor-to-be may be what was just lost.
   */
  async recover(): Promise<void> {
    for (const gateway of await this.#gateways(this.#nextKnown(recoverBatch, () => true))) {
      if (!isLost(this.#node.state())) return;
      const candidate = await this.#nextThrough(gateway);
      if (candidate !== undefined) return this.#node.feed({ kind: "adopt", candidate });
    }
  }

  /**
   * Asks known members that are no neighbours who comes after us. If their answer is closer than
   * our successor, the ring was split (a partition) and this mends it: like a candidate from
   * the successor, the newcomer lies between us and the successor, so nobody is newly skipped.
   * `back` can be reached again and is asked before it is its turn.
   */
  async explore(back?: MemberRef): Promise<void> {
    const { self, successors, predecessor } = this.#node.state();
    const [first] = successors;
    if (first === undefined) return;
    const near = new Set([predecessor?.uuid, ...successors.map((entry) => entry.uuid)]);
    // A predecessor between us and our successor: the ring goes round the circle more than once.
    const isTried = (member: MemberRef): boolean =>
      !near.has(member.uuid) || between(self.id, member.id, first.id);
    if (back && !isTried(back)) return;
    const tried = back ? [back] : this.#nextKnown(exploreBatch, isTried);
    const wereSilent = tried.filter((member) => this.#node.peers.isSilent(member.uuid));
    const gateways = await this.#gateways(tried);
    // Whoever is back after a silence is the likelier to be in another ring.
    const gateway = gateways.find((member) => wereSilent.includes(member)) ?? gateways[0];
    if (gateway === undefined) return;
    const candidate = await this.#nextThrough(gateway);
    const [successor] = this.#node.state().successors;
    if (candidate === undefined || successor === undefined) return;
    if (!between(self.id, candidate.id, successor.id)) return;
    this.#node.feed({ kind: "adopt", candidate });
  }

  /** The live member that comes after us in the ring that the gateway is in. */
  async #nextThrough(gateway: MemberRef): Promise<MemberRef | undefined> {
    const { self, parameters } = this.#node.state();
    const key = advance(self.id, 1n, parameters.bits);
    const found = await this.#node.lookupThrough(key, gateway);
    return found.ok ? found.owner : undefined;
  }

  /** Those who answer as members of the ring. */
  async #gateways(members: readonly MemberRef[]): Promise<readonly MemberRef[]> {
    const { self } = this.#node.state();
    const isGateway = await Promise.all(
      members.map(async (member) => {
        const reply = await this.#node.peers.askMember(member, { kind: "hello", from: self });
        return reply?.kind === "welcome" && reply.member;
      }),
    );
    return members.filter((_, i) => isGateway[i]);
  }

  /** The next few known members that pass, going round. */
  #nextKnown(count: number, wanted: (member: MemberRef) => boolean): readonly MemberRef[] {
    const all = [...this.#node.state().known.values()].filter(wanted);
    const first = this.#cursor % Math.max(1, all.length);
    this.#cursor = first + count;
    return [...all.slice(first), ...all.slice(0, first)].slice(0, count);
  }
}
