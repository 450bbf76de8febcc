/**
 * Brings the ranges that this member gains by a change of members. The change is complete when
 * every gainer has done so: each has then read, for each range, from a majority of its former
 * group at this epoch, so that nothing acknowledged earlier is missing and, since those members
 * refuse older epochs from then on, nothing can be added behind its back.
 */
import type { MailboxName, MemberUuid } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { Operation } from "../shared/operation.js";
import { adopt, inherit } from "./acceptor.js";
import { compareBallots, untouched } from "./ballot.js";
import type { Groups } from "./group.js";
import type { Membership } from "./membership.js";
import type { CatalogPage, Progress } from "./peer-methods.js";
import { majorityOf, placementOf } from "./placement.js";
import type { Clock, Store } from "./ports.js";
import type { Puller } from "./pull.js";
import type { Registers } from "./registers.js";
import { currentMembers, inTransition, type Member, nextMembers, type Roster } from "./roster.js";
import { gains } from "./shared-names.js";

interface TransferOptions {
  readonly membership: Membership;
  readonly groups: Groups;
  readonly registers: Registers;
  readonly store: Store;
  readonly puller: Puller;
  readonly clock: Clock;
  readonly log: Log;
}

const retryMs = 500;

export class Transfer {
  private state: Progress & { epoch: number } = { epoch: -1, done: false, copied: 0, total: 0 };
  private running: AbortController | undefined;

  constructor(private readonly options: TransferOptions) {}

  /** What the driver of the change asks for. */
  progress(): Progress {
    const { roster } = this.options.membership;
    const { epoch, done, copied, total } = this.state;
    return epoch === roster.epoch ? { done, copied, total } : { done: false, copied: 0, total: 0 };
  }

  /** To be called when the roster has changed, and at the start. */
  begin(): void {
    const { membership } = this.options;
    const { roster } = membership;
    if (this.state.epoch === roster.epoch) return;
    this.running?.abort();
    const gaining = gainedArcs(roster, membership.self.uuid).length > 0;
    this.state = { epoch: roster.epoch, done: !gaining, copied: 0, total: 0 };
    if (!gaining) return;
    const controller = new AbortController();
    this.running = controller;
    void this.runUntilDone(roster, controller.signal);
  }

  stop(): void {
    this.running?.abort();
  }

  private async runUntilDone(roster: Roster, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.options;
    while (!signal.aborted) {
      try {
        if (await this.runOnce(roster, signal)) {
          if (signal.aborted) return;
          this.state = { ...this.state, done: true };
          log.info({ epoch: roster.epoch, mailboxes: this.state.copied }, "ranges copied");
          return;
        }
      } catch (error) {
        log.debug({ error: String(error) }, "copying ranges: trying again");
      }
      await clock.sleep(retryMs, signal).catch(() => undefined);
    }
  }

  /**
   * True when every gained range was read from a majority of its former group, and from those who
   * leave in good order, since they may have the last copy, and all that is on disk here.
   */
  private async runOnce(roster: Roster, signal: AbortSignal): Promise<boolean> {
    const self = this.options.membership.self.uuid;
    const told = new Set<MemberUuid>([self]);
    this.state = { ...this.state, copied: 0, total: 0 };
    for (const member of currentMembers(roster)) {
      if (member.uuid === self || signal.aborted) continue;
      if (await this.takeFrom(member, roster.epoch, signal)) told.add(member.uuid);
    }
    // What was equal already may have been written a moment ago.
    await this.options.store.durable();
    return gainedArcs(roster, self).every(
      (former) =>
        former.filter(({ uuid }) => told.has(uuid)).length >= majorityOf(former.length) &&
        former.every((member) => told.has(member.uuid) || !isAlivelyLeaving(member)),
    );
  }

  private async takeFrom(member: Member, epoch: number, signal: AbortSignal): Promise<boolean> {
    for (let after = "", more = true; more; ) {
      const page = await this.options.groups.askMember(
        member,
        "gains",
        { epoch, after },
        { signal },
      );
      if (page?.kind !== "page") return false;
      this.state = { ...this.state, total: this.state.total + page.mailboxes.length };
      if (!(await this.takePage(page, member, signal))) return false;
      const lastRegister = page.registers.at(-1)?.register;
      after = lastRegister ? `r ${lastRegister}` : `m ${page.mailboxes.at(-1)?.mailbox ?? ""}`;
      more = page.more;
    }
    return true;
  }

  private async takePage(page: CatalogPage, member: Member, signal: AbortSignal): Promise<boolean> {
    const { store, puller, registers } = this.options;
    const blocked = await inheritRegisters(store, page);
    for (const register of blocked) await registers.confirm(register);
    let complete = blocked.length === 0;
    for (const line of page.mailboxes) {
      if (signal.aborted) return false;
      if (line.pending || (await this.digestOf(line.mailbox)) !== line.digest) {
        const pulled = await puller.pull(line.mailbox, member, signal);
        if (pulled.missing > 0) complete = false;
      }
      this.state = { ...this.state, copied: this.state.copied + 1 };
    }
    return complete;
  }

  private async digestOf(mailbox: MailboxName): Promise<string> {
    return (await this.options.store.contents(mailbox)).summary.digest;
  }
}

const isAlivelyLeaving = (member: Member): boolean =>
  member.state === "leaving" && member.evicted !== true;

/** Former groups of the ranges that the member gains. A range ends at a member's id. */
function gainedArcs(roster: Roster, uuid: MemberUuid): readonly (readonly Member[])[] {
  if (!inTransition(roster)) return [];
  return roster.members
    .map((end) => placementOf(roster, end.id))
    .filter((placement) => gains(placement, uuid))
    .map((placement) => placement.current);
}

/** Members that gain something by the change in progress. */
export function gainersOf(roster: Roster): readonly Member[] {
  return nextMembers(roster).filter((member) => gainedArcs(roster, member.uuid).length > 0);
}

/** Takes over the registers of a range that is gained. Answers which have to be tried again. */
async function inheritRegisters(store: Store, page: CatalogPage): Promise<readonly string[]> {
  const operations: Operation[] = [];
  const blocked: string[] = [];
  for (const { register, state } of page.registers) {
    const ours = store.register(register) ?? untouched;
    const inherited = inherit(ours, state);
    if (inherited.blocked) blocked.push(register);
    if (inherited.state === ours) continue;
    operations.push({ kind: "PutRegister", register, state: inherited.state });
  }
  if (operations.length > 0) await store.write(operations);
  return blocked;
}

/**
 * Takes over what others accepted with higher ballots. Answers those of which a higher promise
 * stands in the way.
 */
export async function adoptRegisters(store: Store, page: CatalogPage): Promise<readonly string[]> {
  const operations: Operation[] = [];
  const blocked: string[] = [];
  for (const { register, state } of page.registers) {
    const ours = store.register(register) ?? untouched;
    const adopted = adopt(ours, state);
    if (adopted) operations.push({ kind: "PutRegister", register, state: adopted });
    else if (compareBallots(state.accepted, ours.accepted) > 0) blocked.push(register);
  }
  if (operations.length > 0) await store.write(operations);
  return blocked;
}
