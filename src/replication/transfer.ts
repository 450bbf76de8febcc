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
import type { CatalogLine, CatalogPage, Progress } from "./peer-methods.js";
import { neededOf, type Placement, placementOf } from "./placement.js";
import type { CatalogEntry, Clock, Store } from "./ports.js";
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
  /** Mailboxes that are copied at a time. */
  readonly mailboxesMax?: number;
}

const retryMs = 500;
const reportEveryMs = 5_000;

const nothing = {
  ...{ copied: 0, total: 0, messages: 0, messagesTotal: 0, octets: 0, octetsTotal: 0, sinceMs: 0 },
} satisfies Omit<Progress, "done">;

/** A mailbox to bring, and the members that have something of it which is not here. */
interface Task {
  readonly mailbox: MailboxName;
  readonly sources: { readonly member: Member; readonly line: CatalogLine }[];
}

type State = { -readonly [K in keyof Progress]: Progress[K] } & { epoch: number };

export class Transfer {
  private state: State = { ...nothing, epoch: -1, done: false };
  private startedMs = 0;
  private reportedMs = 0;
  private running: AbortController | undefined;

  constructor(private readonly options: TransferOptions) {}

  /** What the driver of the change asks for. */
  progress(): Progress {
    const { roster } = this.options.membership;
    const { epoch, ...progress } = this.state;
    if (epoch !== roster.epoch) return { ...nothing, done: false };
    return progress.done ? progress : { ...progress, sinceMs: this.tookMs };
  }

  private get tookMs(): number {
    return this.options.clock.monotonicMs() - this.startedMs;
  }

  /** To be called when the roster has changed, and at the start. */
  begin(): void {
    const { membership, clock } = this.options;
    const { roster } = membership;
    if (this.state.epoch === roster.epoch) return;
    this.running?.abort();
    const gaining = gainedPlacements(roster, membership.self.uuid).length > 0;
    this.state = { ...nothing, epoch: roster.epoch, done: !gaining };
    if (!gaining) return;
    const controller = new AbortController();
    this.running = controller;
    this.startedMs = clock.monotonicMs();
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
          this.state.done = true;
          this.state.sinceMs = this.tookMs;
          this.report("ranges copied");
          return;
        }
      } catch (error) {
        log.debug({ error: String(error) }, "copying ranges: trying again");
      }
      await clock.sleep(retryMs, signal).catch(() => undefined);
    }
  }

  private report(message: string): void {
    const { epoch, copied, total, messages, messagesTotal, octets, octetsTotal } = this.state;
    const { log, clock } = this.options;
    this.reportedMs = clock.monotonicMs();
    const seconds = Math.round(this.tookMs / 100) / 10;
    const messagesPerSecond = seconds > 0 ? Math.round(messages / seconds) : 0;
    log.info(
      {
        ...{ epoch, mailboxes: copied, mailboxesTotal: total, messages, messagesTotal },
        ...{ octets, octetsTotal, seconds, messagesPerSecond },
      },
      message,
    );
  }

  /**
   * True when every gained range was read from a majority of its former group, or all that is left
   * of it, and from those who leave in good order, since they may have the last copy, and all that
   * is on disk here. What is here already, from an earlier run too, is not asked for again.
   */
  private async runOnce(roster: Roster, signal: AbortSignal): Promise<boolean> {
    const self = this.options.membership.self.uuid;
    const told = new Set<MemberUuid>([self]);
    const tasks = new Map<MailboxName, Task>();
    const others = currentMembers(roster).filter(({ uuid, lost }) => uuid !== self && !lost);
    await Promise.all(
      others.map(async (member) => {
        if (await this.listFrom(member, roster.epoch, { tasks, signal })) told.add(member.uuid);
      }),
    );
    if (signal.aborted) return false;
    this.count(tasks);
    await this.copyAll([...tasks.values()], told, signal);
    // What was equal already may have been written a moment ago.
    await this.options.store.durable();
    return gainedPlacements(roster, self).every(
      (placement) =>
        placement.current.filter(({ uuid }) => told.has(uuid)).length >= neededOf(placement) &&
        placement.current.every((member) => told.has(member.uuid) || !isAlivelyLeaving(member)),
    );
  }

  /** Notes what of the gained ranges a member has. False when it did not tell all of it. */
  private async listFrom(
    member: Member,
    epoch: number,
    { tasks, signal }: { tasks: Map<MailboxName, Task>; signal: AbortSignal },
  ): Promise<boolean> {
    const { store, registers, groups } = this.options;
    let complete = true;
    for (let after = "", more = true; more && !signal.aborted; ) {
      const page = await groups.askMember(member, "gains", { epoch, after }, { signal });
      if (page?.kind !== "page") return false;
      const blocked = await inheritRegisters(store, page);
      for (const register of blocked) await registers.confirm(register);
      if (blocked.length > 0) complete = false;
      for (const line of page.mailboxes) {
        const task = tasks.get(line.mailbox) ?? { mailbox: line.mailbox, sources: [] };
        task.sources.push({ member, line });
        tasks.set(line.mailbox, task);
      }
      const lastRegister = page.registers.at(-1)?.register;
      after = lastRegister ? `r ${lastRegister}` : `m ${page.mailboxes.at(-1)?.mailbox ?? ""}`;
      more = page.more;
    }
    return complete && !signal.aborted;
  }

  /** What there is to do, by the catalogs; leaves out what is equal already. */
  private count(tasks: Map<MailboxName, Task>): void {
    const { state } = this;
    let [messages, octets, equal] = [0, 0, 0];
    const ours = new Map<MailboxName, CatalogEntry>();
    for (const entry of this.options.store.catalog()) {
      if (tasks.has(entry.mailbox)) ours.set(entry.mailbox, entry);
    }
    for (const { mailbox, sources } of tasks.values()) {
      const entry = ours.get(mailbox);
      const isEqual = ({ line }: Task["sources"][number]): boolean =>
        !line.pending && entry?.pending === false && entry.digest === line.digest;
      if (sources.every(isEqual)) {
        equal += 1;
        tasks.delete(mailbox);
        continue;
      }
      const has = entry ?? { messages: 0, octets: 0 };
      messages += Math.max(0, ...sources.map(({ line }) => line.messages - has.messages));
      octets += Math.max(0, ...sources.map(({ line }) => line.octets - has.octets));
    }
    state.copied = equal;
    state.total = tasks.size + equal;
    // Of an earlier attempt, too: what was fetched stays fetched.
    state.messagesTotal = state.messages + messages;
    state.octetsTotal = state.octets + octets;
    if (messages > 0) this.report("copying ranges");
  }

  private async copyAll(
    tasks: readonly Task[],
    told: Set<MemberUuid>,
    signal: AbortSignal,
  ): Promise<void> {
    let next = 0;
    const work = async (): Promise<void> => {
      for (let task = tasks[next++]; task && !signal.aborted; task = tasks[next++]) {
        await this.copyOne(task, told, signal);
        if (!signal.aborted) this.state.copied += 1;
      }
    };
    const workers = Math.min(tasks.length, this.options.mailboxesMax ?? 4);
    await Promise.all(Array.from({ length: workers }, work));
  }

  /** From each source in turn: after the first, little is lacking. */
  private async copyOne(
    { mailbox, sources }: Task,
    told: Set<MemberUuid>,
    signal: AbortSignal,
  ): Promise<void> {
    const { puller, log } = this.options;
    const onArrived = (messages: number, octets: number): void => {
      if (signal.aborted) return;
      const { state } = this;
      state.messages += messages;
      state.octets += octets;
      // Catalogs may tell of less than there is, where mail came a moment ago.
      state.messagesTotal = Math.max(state.messagesTotal, state.messages);
      state.octetsTotal = Math.max(state.octetsTotal, state.octets);
      if (this.options.clock.monotonicMs() - this.reportedMs >= reportEveryMs) {
        this.report("copying ranges");
      }
    };
    for (const { member, line } of sources) {
      if (signal.aborted) return;
      if (!line.pending && (await this.digestOf(mailbox)) === line.digest) continue;
      try {
        const pulled = await puller.pull(mailbox, member, { signal, onArrived });
        if (pulled.missing > 0) told.delete(member.uuid);
      } catch (error) {
        told.delete(member.uuid);
        log.debug({ mailbox, from: member.addr, error: String(error) }, "not copied yet");
      }
    }
  }

  private async digestOf(mailbox: MailboxName): Promise<string> {
    return (await this.options.store.contents(mailbox)).summary.digest;
  }
}

const isAlivelyLeaving = (member: Member): boolean =>
  member.state === "leaving" && member.evicted !== true;

/** The ranges that the member gains, each by its end. A range ends at a member's id. */
function gainedPlacements(roster: Roster, uuid: MemberUuid): readonly Placement[] {
  if (!inTransition(roster)) return [];
  return roster.members
    .map((end) => placementOf(roster, end.id))
    .filter((placement) => gains(placement, uuid));
}

/** Members that gain something by the change in progress. */
export function gainersOf(roster: Roster): readonly Member[] {
  return nextMembers(roster).filter((member) => gainedPlacements(roster, member.uuid).length > 0);
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
