/** Members count together only by the same roster: see `peer-methods.ts`. */
import type { Membership } from "./membership.js";
import type { Caller, Fenced } from "./peer-methods.js";
import { memberByUuid, type Member, rosterToJson } from "./roster.js";

export interface FenceOptions {
  readonly membership: Membership;
}

export class Fence {
  constructor(private readonly options: FenceOptions) {}

  memberOf(from: Caller): Member {
    const member = memberByUuid(this.options.membership.roster, from.uuid);
    if (!member) throw new Error("the caller is not on the roster");
    return member;
  }

  /**
   * Runs `answer` when the caller works by the same roster as this node. There is no turn of the
   * event loop between the check and the beginning of `answer`.
   */
  async answer<R>(from: Caller, epoch: number, answer: () => R | Promise<R>): Promise<Fenced<R>> {
    const { membership } = this.options;
    if (epoch > membership.roster.epoch) await membership.learnFrom(from);
    if (epoch > membership.roster.epoch) return { kind: "behind" };
    if (epoch < membership.roster.epoch) {
      return { kind: "stale", roster: rosterToJson(membership.roster) };
    }
    return answer();
  }
}
