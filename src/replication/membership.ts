/** This node's view of the roster, and how it is changed: one consensus per epoch. */
import { createHash } from "node:crypto";
import type { MemberUuid } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { Caller } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { Store } from "./ports.js";
import type { Registers } from "./registers.js";
import {
  changeRoster,
  emptyRoster,
  type Member,
  memberByUuid,
  type RingParameters,
  type Roster,
  type RosterChange,
  rosterFromJson,
  rosterToJson,
  votersOf,
} from "./roster.js";

export type MembershipAnswer =
  | { readonly kind: "done"; readonly roster: Roster }
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "busy"; readonly why: string }
  /** No majority of the voters answered. */
  | { readonly kind: "undecided" };

const rosterKey = "roster";
const changeAttemptsMax = 8;

export interface MembershipOptions {
  readonly ring: RingParameters;
  readonly store: Store;
  readonly peers: Peers;
  readonly log: Log;
}

export class Membership {
  private current: Roster;
  private registers: Registers | undefined;
  private readonly listeners: ((roster: Roster, before: Roster) => void)[] = [];
  private changing: Promise<unknown> = Promise.resolve();
  private adopting: Promise<unknown> = Promise.resolve();

  /** @throws TypeError when the stored roster can't be read. */
  constructor(private readonly options: MembershipOptions) {
    const stored = options.store.local(rosterKey);
    this.current = stored === undefined ? emptyRoster(options.ring) : rosterFromJson(stored);
  }

  get roster(): Roster {
    return this.current;
  }

  get self(): Caller {
    return this.options.peers.self;
  }

  get selfMember(): Member | undefined {
    return memberByUuid(this.current, this.self.uuid);
  }

  /** Registers need the groups, which need the membership. */
  use(registers: Registers): void {
    this.registers = registers;
  }

  onChange(listener: (roster: Roster, before: Roster) => void): void {
    this.listeners.push(listener);
  }

  /** The first epoch of a new ring: this node alone. */
  async found(self: Omit<Member, "state" | "incarnation">): Promise<void> {
    const member: Member = { ...self, state: "active", incarnation: 1 };
    await this.adopt({ epoch: 1, ring: this.options.ring, members: [member] });
  }

  /** Takes over a decided roster that somebody told, if it is newer. Durable when it resolves. */
  async learn(json: unknown): Promise<void> {
    const roster = rosterFromJson(json);
    if (roster.epoch > this.current.epoch) await this.adopt(roster);
  }

  /** Asks a member for its roster. Failures are left to the next occasion. */
  async learnFrom(member: Caller): Promise<void> {
    try {
      const { roster } = await this.options.peers.call(member, "roster", {});
      await this.learn(roster);
    } catch (error) {
      this.options.log.debug({ member: member.addr, error: String(error) }, "no roster learned");
    }
  }

  /** One at a time, or an older roster could be the last on disk and come back at a restart. */
  private adopt(roster: Roster): Promise<void> {
    const run = this.adopting.then(() => this.adoptNext(roster));
    this.adopting = run.catch(() => undefined);
    return run;
  }

  private async adoptNext(roster: Roster): Promise<void> {
    const { store, log } = this.options;
    const before = this.current;
    if (roster.epoch <= before.epoch) return;
    await store.write([{ kind: "PutLocal", key: rosterKey, value: rosterToJson(roster) }]);
    this.current = roster;
    log.info(
      {
        epoch: roster.epoch,
        members: roster.members.map((member) => `${member.id} ${member.state}`),
      },
      "roster",
    );
    for (const listener of this.listeners) listener(roster, before);
  }

  /** Brings about a change by majority of the voters. One at a time from this node. */
  change(change: RosterChange): Promise<MembershipAnswer> {
    const run = this.changing.then(() => this.decide(change));
    this.changing = run.catch(() => undefined);
    return run;
  }

  /**
   * Says goodbye to members that are gone for good, and to what only they had. A majority of the
   * voters decides; where the lost ones make that impossible, a majority of the others does. The
   * epoch then jumps, so that whatever the lost ones decide should they be alive after all, no
   * epoch has two rosters and theirs is the older one.
   */
  async abandon(uuids: readonly MemberUuid[]): Promise<MembershipAnswer> {
    const change = { kind: "abandon", uuids } as const;
    const answer = await this.change(change);
    if (answer.kind !== "undecided") return answer;
    const run = this.changing.then(() => this.decideAmong(change));
    this.changing = run.catch(() => undefined);
    return run;
  }

  private async decideAmong(change: RosterChange & { kind: "abandon" }): Promise<MembershipAnswer> {
    const before = this.current;
    const answer = changeRoster(before, change);
    if (answer.kind === "unchanged") return { kind: "done", roster: before };
    if (answer.kind !== "changed") return answer;
    const epoch = epochWithout(before, change.uuids);
    const remaining = votersOf(before).filter(({ uuid }) => !change.uuids.includes(uuid));
    const proposal = rosterToJson({ ...answer.roster, epoch });
    return (await this.settleOn(before, epoch, remaining, proposal))
      ? { kind: "done", roster: this.current }
      : { kind: "undecided" };
  }

  /** Has `voters` decide the roster of `epoch`, and takes it over. False when too few answer. */
  private async settleOn(
    before: Roster,
    epoch: number,
    voters: readonly Member[],
    proposal: unknown,
  ): Promise<boolean> {
    if (!this.registers) throw new Error("membership is not wired");
    const decided = await this.registers.changeAmong(
      voters,
      before.epoch,
      `roster:${epoch}`,
      (value) => (value === null ? { set: { value: proposal }, result: true } : { result: false }),
    );
    if (decided.kind === "undecided") return false;
    await this.learn(decided.value);
    this.announce(this.current, before);
    return true;
  }

  private async decide(change: RosterChange): Promise<MembershipAnswer> {
    for (let attempt = 1; attempt <= changeAttemptsMax; attempt += 1) {
      const before = this.current;
      const answer = changeRoster(before, change);
      if (answer.kind === "unchanged") return { kind: "done", roster: before };
      if (answer.kind !== "changed") return answer;
      const proposal = rosterToJson(answer.roster);
      const { epoch } = answer.roster;
      if (!(await this.settleOn(before, epoch, votersOf(before), proposal))) {
        // A voter may have told of a newer roster: then the change is tried on top of that.
        if (this.current.epoch > before.epoch) continue;
        return { kind: "undecided" };
      }
      // Somebody else's change may have been decided for this epoch: then ours is tried again.
    }
    return { kind: "undecided" };
  }

  /** Tells everybody concerned; who misses it learns at the next beat. */
  private announce(roster: Roster, before: Roster): void {
    const concerned = new Map<string, Member>();
    for (const member of [...before.members, ...roster.members]) {
      concerned.set(member.uuid, member);
    }
    const request = { roster: rosterToJson(roster) };
    for (const member of concerned.values()) {
      if (member.uuid === this.self.uuid) continue;
      this.options.peers.call(member, "newRoster", request).catch(() => undefined);
    }
  }
}

const epochJump = 1_000;

/** The same for the same members lost; those who name others come to another epoch. */
function epochWithout(roster: Roster, uuids: readonly MemberUuid[]): number {
  const names = createHash("sha256").update([...uuids].sort().join());
  return roster.epoch + epochJump + (names.digest().readUInt32BE() % epochJump);
}
