/**
 * Linearizable registers, one consensus each (CASPaxos): accounts, kept by the group of their
 * key, and the roster's epochs, decided by the roster's voters.
 */
import type { MemberUuid } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Ballot } from "../shared/operation.js";
import { compareBallots, isZero, zeroBallot } from "./ballot.js";
import { type Gathered, gather, type Groups } from "./group.js";
import type { AcceptReply, PrepareReply } from "./peer-methods.js";
import { isQuorum, type Placement } from "./placement.js";
import type { Clock, Randomness } from "./ports.js";
import type { Member } from "./roster.js";

/** The name that places a register is the part after its kind: `account:alice@ring.test`. */
export const placeOf = (register: string): string => register.slice(register.indexOf(":") + 1);

export type ReadAnswer =
  | { readonly kind: "value"; readonly value: unknown; readonly version: Ballot }
  /** A majority has never heard of it. */
  | { readonly kind: "absent" }
  /** Too few members answered. */
  | { readonly kind: "undecided" };

export type ChangeAnswer<T> =
  | { readonly kind: "changed"; readonly value: unknown; readonly result: T }
  /** `update` refused; nothing was changed, and `value` is the agreed present one. */
  | { readonly kind: "refused"; readonly value: unknown; readonly result: T }
  /** Too few members answered, or others kept interfering. The change may still take place. */
  | { readonly kind: "undecided" };

export interface Update<T> {
  /** The new value; absent to leave it as it is. */
  readonly set?: { readonly value: unknown };
  readonly result: T;
}

interface Proposing {
  readonly onBallot?: ((ballot: Ballot) => void) | undefined;
  readonly onHead?: (head: Head) => void;
}

const attemptsMax = 12;
/** Writes wait in full for a member that has gone quiet: a round given up early leaves a value half accepted. */
const patient = { deadlineMs: limits.peerCallDeadlineMs } as const;

interface Acceptance {
  readonly ballot: Ballot;
  readonly value: unknown;
  /** To be promised with it. */
  readonly next?: Ballot | undefined;
  /** Only by this roster. */
  readonly epoch?: number;
}

interface Round {
  readonly prepare: (ballot: Ballot) => Promise<Gathered<PrepareReply>>;
  readonly accept: (what: Acceptance) => Promise<Gathered<AcceptReply>>;
}

/** Phase 1 of the next change, that came with the last one: a quorum has promised it and accepted the value. */
interface Head {
  readonly ballot: Ballot;
  readonly value: unknown;
  readonly epoch: number;
}

/** Registers that this member goes on changing. */
const headsMax = 2_000;

interface ChangeOptions {
  readonly onBallot?: (ballot: Ballot) => void;
  /** Who changes it twice is likely to do so again: that takes one round then instead of two. */
  readonly again?: boolean;
}

export class Registers {
  private highestCounter = 0;
  private readonly heads = new Map<string, Head>();

  constructor(
    private readonly self: MemberUuid,
    private readonly groups: Groups,
    private readonly clock: Clock,
    private readonly random: Randomness,
  ) {}

  /** The agreed value. `alone`: in a ring of two, one member's word is enough when the other is silent. */
  async read(register: string, options: { alone?: boolean } = {}): Promise<ReadAnswer> {
    const gathered = await this.groups.ask(
      placeOf(register),
      "readRegister",
      { register },
      { alone: options.alone ?? false },
    );
    if (!gathered.quorum) return { kind: "undecided" };
    const states = [...gathered.answers.values()];
    const ballots = states.map((state) => state.accepted);
    const newest = ballots.reduce((a, b) => (compareBallots(a, b) >= 0 ? a : b), zeroBallot);
    const agreed = states.find((state) => compareBallots(state.accepted, newest) === 0);
    if (ballots.every((ballot) => compareBallots(ballot, newest) === 0)) {
      if (isZero(newest) || !agreed) return { kind: "absent" };
      return { kind: "value", value: agreed.value, version: newest };
    }
    return this.settle(register);
  }

  /** A value that only some have accepted is decided by a round of its own before it is believed. */
  private async settle(register: string): Promise<ReadAnswer> {
    let version = zeroBallot;
    const answer = await this.change(register, (value) => ({ set: { value }, result: null }), {
      onBallot: (ballot) => {
        version = ballot;
      },
    });
    if (answer.kind === "undecided") return { kind: "undecided" };
    return { kind: "value", value: answer.value, version };
  }

  /** Decides the present value anew: for when a promise to one that died stands in the way. */
  async confirm(register: string): Promise<void> {
    await this.change(register, (value) => ({ set: { value }, result: null }));
  }

  /** Read-modify-write. `update` may run several times and sees the agreed value (null: none). */
  async change<T>(
    register: string,
    update: (value: unknown) => Update<T>,
    { onBallot, again = false }: ChangeOptions = {},
  ): Promise<ChangeAnswer<T>> {
    const name = placeOf(register);
    const round: Round = {
      prepare: (ballot) =>
        this.groups.ask(
          name,
          "prepare",
          { register, ballot },
          { counts: (reply) => reply.kind === "promised", ...patient },
        ),
      accept: ({ ballot, value, next, epoch }) =>
        this.groups.ask(
          name,
          "accept",
          { register, ballot, value, ...(next && { next }) },
          {
            counts: (reply) => reply.kind === "accepted",
            ...patient,
            ...(epoch !== undefined && { epoch }),
          },
        ),
    };
    const propose = {
      onBallot,
      ...(again && { onHead: (head: Head) => this.keepHead(register, head) }),
    };
    // Once: what comes of it is not known if it fails.
    const head = this.heads.get(register);
    this.heads.delete(register);
    const decided = head && (await this.accepted(head, update, round, propose));
    return decided ?? this.decide(update, round, propose);
  }

  private keepHead(register: string, head: Head): void {
    this.heads.set(register, head);
    if (this.heads.size <= headsMax) return;
    const [oldest = register] = this.heads.keys();
    this.heads.delete(oldest);
  }

  /**
   * The same among an explicit set of acceptors: a majority of `voters` decides. Fenced by `epoch`
   * like everything: who has gone on from it has no say in what follows it.
   */
  changeAmong<T>(
    voters: readonly Member[],
    epoch: number,
    register: string,
    update: (value: unknown) => Update<T>,
  ): Promise<ChangeAnswer<T>> {
    const placement = {
      current: voters,
      next: voters,
      everyone: voters,
      small: false,
    } as Placement;
    const askAll = async <R extends { kind: string }>(
      counted: string,
      ask: (member: Member) => Promise<R | undefined>,
    ): Promise<Gathered<R>> => {
      const counts = (reply: R): boolean => reply.kind === counted;
      const gathered = await gather({ placement, ask, counts, alone: false });
      return { ...gathered, placement, epoch };
    };
    return this.decide(update, {
      prepare: (ballot) =>
        askAll("promised", (member) =>
          this.groups.askMember(member, "prepare", { epoch, register, ballot }, patient),
        ),
      accept: ({ ballot, value }) =>
        askAll("accepted", (member) =>
          this.groups.askMember(member, "accept", { epoch, register, ballot, value }, patient),
        ),
    });
  }

  private async decide<T>(
    update: (value: unknown) => Update<T>,
    round: Round,
    propose: Proposing = {},
  ): Promise<ChangeAnswer<T>> {
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const ballot = this.nextBallot();
      const prepared = await round.prepare(ballot);
      this.learnBallots(prepared);
      if (prepared.quorum) {
        const { accepted, value } = newestAccepted(prepared);
        // Where members take turns, a promise to one is in the way of the next.
        const isOwn = accepted.proposer === this.self;
        const { onHead, ...without } = propose;
        const how = isOwn ? propose : without;
        const decided = await this.accepted({ ballot, value }, update, round, how);
        if (decided) return decided;
      } else if (!sawConflict(prepared)) return { kind: "undecided" };
      await this.clock.sleep(this.backoffMs(attempt));
    }
    return { kind: "undecided" };
  }

  /** Phase 2, of what a quorum has promised and accepted before. Undefined: another proposer came in between. */
  private async accepted<T>(
    { ballot, value, epoch }: Pick<Head, "ballot" | "value"> & Partial<Head>,
    update: (value: unknown) => Update<T>,
    round: Round,
    { onBallot, onHead }: Proposing,
  ): Promise<ChangeAnswer<T> | undefined> {
    const updated = update(value);
    // A refusal, too, is an answer only when the value it is based on is decided.
    const chosen = updated.set ? updated.set.value : value;
    const next = onHead && this.nextBallot();
    const accepted = await round.accept({
      ...{ ballot, value: chosen, next },
      ...(epoch !== undefined && { epoch }),
    });
    this.learnBallots(accepted);
    if (accepted.quorum) {
      onBallot?.(ballot);
      if (next && onHead && hasPromised(accepted)) {
        onHead({ ballot: next, value: chosen, epoch: accepted.epoch });
      }
      const kind = updated.set ? "changed" : "refused";
      return { kind, value: chosen, result: updated.result };
    }
    const isOverRoster = epoch !== undefined && accepted.epoch !== epoch;
    if (isOverRoster || sawConflict(accepted)) return undefined;
    return { kind: "undecided" };
  }

  private nextBallot(): Ballot {
    this.highestCounter += 1;
    return { counter: this.highestCounter, proposer: this.self };
  }

  private learnBallots(gathered: Gathered<PrepareReply | AcceptReply>): void {
    for (const reply of gathered.answers.values()) {
      if (reply.kind !== "conflict") continue;
      this.highestCounter = Math.max(this.highestCounter, reply.promised.counter);
    }
  }

  /** Random, so that two proposers that met do not meet again. */
  private backoffMs(attempt: number): number {
    return (this.random.bytes(1)[0] ?? 0) % (10 * Math.min(attempt, 8));
  }
}

function newestAccepted(gathered: Gathered<PrepareReply>): { accepted: Ballot; value: unknown } {
  let newest: { accepted: Ballot; value: unknown } = { accepted: zeroBallot, value: null };
  for (const reply of gathered.answers.values()) {
    if (reply.kind !== "promised") continue;
    if (compareBallots(reply.accepted, newest.accepted) > 0) newest = reply;
  }
  return newest;
}

/** Members of an older version accept and promise nothing. */
function hasPromised({ placement, answers }: Gathered<AcceptReply>): boolean {
  const promised = [...answers].filter(([, reply]) => reply.kind === "accepted" && reply.next);
  return isQuorum(placement, new Set(promised.map(([uuid]) => uuid)));
}

const sawConflict = (gathered: Gathered<PrepareReply | AcceptReply>): boolean =>
  [...gathered.answers.values()].some((reply) => reply.kind === "conflict");
