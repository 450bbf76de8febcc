/** Asking the group of a key, and knowing when enough of it has answered. */
import type { MemberUuid } from "../shared/ids.js";
import type { Fenced, PeerMethodName, ReplyOf, RequestOf } from "./peer-methods.js";
import type { CallOptions, Peers } from "./peers.js";
import { isQuorum, type Placement, Placements } from "./placement.js";
import type { Member, Roster } from "./roster.js";

/** The view of the membership that the rest of replication works from. */
export interface RosterView {
  readonly roster: Roster;
  /** Takes over a newer roster that somebody told; durable when it resolves. */
  learn(json: unknown): Promise<void>;
}

export interface Gathered<R> {
  readonly quorum: boolean;
  readonly answers: ReadonlyMap<MemberUuid, R>;
  readonly placement: Placement;
  readonly epoch: number;
}

type FencedMethod = {
  [M in PeerMethodName]: RequestOf<M> extends { epoch: number } ? M : never;
}[PeerMethodName];

type Unfenced<R> = Exclude<R, { kind: "stale" } | { kind: "behind" }>;

export interface AskOptions<R> extends CallOptions {
  /** Which answers count towards the quorum. Default: all. */
  readonly counts?: (reply: R) => boolean;
  /** In a ring of two, is one enough while the other is silent? See `isQuorum`. */
  readonly alone?: boolean;
  /** By any other roster nothing is asked: what was promised counts in this one only. */
  readonly epoch?: number;
}

const rosterAttemptsMax = 5;

export class Groups {
  readonly placements = new Placements();

  constructor(
    private readonly peers: Peers,
    private readonly view: RosterView,
  ) {}

  get members(): readonly Member[] {
    return this.view.roster.members;
  }

  placementOf(name: string): Placement {
    return this.placements.of(this.view.roster, name);
  }

  /**
   * Asks the whole group of `name` at once and answers as soon as a quorum counts, or when
   * everybody has answered or failed. A newer roster that is met on the way is learned, and the
   * question asked anew.
   */
  async ask<M extends FencedMethod>(
    name: string,
    method: M,
    request: Omit<RequestOf<M>, "epoch">,
    options: AskOptions<Unfenced<ReplyOf<M>>> = {},
  ): Promise<Gathered<Unfenced<ReplyOf<M>>>> {
    for (let attempt = 1; ; attempt += 1) {
      const { epoch } = this.view.roster;
      const placement = this.placementOf(name);
      if (options.epoch !== undefined && options.epoch !== epoch) {
        return { quorum: false, answers: new Map(), placement, epoch };
      }
      const gathered = await gather({
        placement,
        ask: (member) =>
          this.askMember(member, method, { ...request, epoch } as RequestOf<M>, options),
        ...(options.counts && { counts: options.counts }),
        alone: options.alone ?? false,
      });
      if (gathered.quorum || this.view.roster.epoch === epoch || attempt === rosterAttemptsMax) {
        return { ...gathered, placement, epoch };
      }
    }
  }

  /** One member's answer; undefined when it has none to give. A newer roster is learned. */
  async askMember<M extends FencedMethod>(
    member: Member,
    method: M,
    request: RequestOf<M>,
    options?: CallOptions,
  ): Promise<Unfenced<ReplyOf<M>> | undefined> {
    let reply: Fenced<ReplyOf<M>>;
    try {
      reply = await this.peers.call(member, method, request, options);
    } catch {
      return undefined;
    }
    if (isStale(reply)) {
      await this.view.learn(reply.roster);
      return undefined;
    }
    if ((reply as { kind: string }).kind === "behind") return undefined;
    return reply as Unfenced<ReplyOf<M>>;
  }
}

const isStale = (reply: unknown): reply is { kind: "stale"; roster: unknown } =>
  (reply as { kind?: unknown }).kind === "stale";

interface GatherOptions<R> {
  readonly placement: Placement;
  readonly ask: (member: Member) => Promise<R | undefined>;
  readonly counts?: (reply: R) => boolean;
  readonly alone: boolean;
}

/** Answers come in until a quorum counts or nobody is left. Later ones are still noted. */
export function gather<R>(
  options: GatherOptions<R>,
): Promise<{ quorum: boolean; answers: ReadonlyMap<MemberUuid, R> }> {
  const { placement, counts } = options;
  return new Promise((resolve) => {
    const answers = new Map<MemberUuid, R>();
    const counted = new Set<MemberUuid>();
    let outstanding = placement.everyone.length;
    const note = (member: Member, reply: R | undefined): void => {
      outstanding -= 1;
      if (reply !== undefined) {
        answers.set(member.uuid, reply);
        if (!counts || counts(reply)) counted.add(member.uuid);
      }
      if (isQuorum(placement, counted)) resolve({ quorum: true, answers });
      else if (outstanding === 0) {
        // One that answered otherwise is not silent: its word is not to be passed over.
        const areSilent = answers.size === counted.size;
        const quorum = isQuorum(placement, counted, options.alone && areSilent);
        resolve({ quorum, answers });
      }
    };
    if (outstanding === 0) resolve({ quorum: false, answers });
    for (const member of placement.everyone) {
      options.ask(member).then(
        (reply) => note(member, reply),
        () => note(member, undefined),
      );
    }
  });
}
