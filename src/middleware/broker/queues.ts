/** The queues that this node leads, and the way to those that others lead. */
import { queueMailbox } from "../../mailbox/folders.js";
import type { OpenAnswer, ReplicatedMaildrop } from "../../replication/maildrop.js";
import type { QueueCall, QueueReply } from "../../replication/peer-methods.js";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { Replication } from "../../replication/replication.js";
import { type Member, memberByUuid } from "../../replication/roster.js";
import type { MailboxName, MemberUuid } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import type { DeadLetters } from "./dead-letters.js";
import type { Definitions, QueueFields } from "./definitions.js";
import { DeliveryCounts } from "./delivery-counts.js";
import { factsIn } from "./entry.js";
import { brokerLimits } from "./limits.js";
import { type PushBatch, QueueLeader } from "./queue-leader.js";

export interface QueuesOptions {
  readonly replication: Pick<
    Replication,
    "openMaildrop" | "registers" | "groups" | "peers" | "roster"
  >;
  readonly queues: Definitions<QueueFields>;
  readonly deadLetters: DeadLetters;
  /** The ring's first domain. */
  readonly domain: string;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly log: Log;
  /** A queue to be pushed has something, and this node leads it. */
  readonly onWake: (queue: string) => void;
}

type Led = QueueLeader | Exclude<QueueReply, { kind: "done" }>;

const failed = (why: string): QueueReply & { kind: "failed" } => ({ kind: "failed", why });
const pauseMs = 60;
const redriveMs = 10 * 60_000;
const hintsMax = 10_000;

export class Queues {
  private readonly leaders = new Map<string, Promise<Led>>();
  /** What each leader is in `leaders`. */
  private readonly promised = new WeakMap<QueueLeader, Promise<Led>>();
  /** Who was found to lead what. */
  private hints = new Map<string, MemberUuid>();
  private readonly stopping = new AbortController();

  constructor(private readonly options: QueuesOptions) {}

  /** Background work. */
  start(): void {
    void this.run();
  }

  /** Gives the locks up, so that others can go on at once. */
  stop(): void {
    this.stopping.abort();
    for (const [queue, led] of this.leaders) {
      this.leaders.delete(queue);
      void led.then((leader) => leader instanceof QueueLeader && leader.release());
    }
  }

  private async run(): Promise<void> {
    const { clock, log } = this.options;
    const { signal } = this.stopping;
    while (!signal.aborted) {
      await clock.sleep(brokerLimits.tickMs, signal).catch(() => undefined);
      for (const [queue, led] of this.leaders) {
        const leader = await led;
        if (!(leader instanceof QueueLeader) || signal.aborted) continue;
        if (leader.lost) this.resign(queue, leader);
        else if (leader.isIdle()) this.retire(queue, leader);
        else {
          if (leader.hasToPush()) this.options.onWake(queue);
          leader.tick().catch((error: unknown) => {
            log.warn({ queue, error: String(error) }, "dead letters were not moved");
          });
        }
      }
    }
  }

  private resign(queue: string, leader: QueueLeader): void {
    if (this.dismiss(queue, leader)) leader.release();
  }

  /** As `resign`, when nobody needs the queue at the moment. */
  private retire(queue: string, leader: QueueLeader): void {
    if (this.dismiss(queue, leader)) void leader.retire();
  }

  /** False: that was done before, and there may be another by now. */
  private dismiss(queue: string, leader: QueueLeader): boolean {
    if (this.leaders.get(queue) !== this.promised.get(leader)) return false;
    return this.leaders.delete(queue);
  }

  /** Asks the leader of a queue, wherever it is; there is one, or is soon. */
  async call(call: QueueCall): Promise<QueueReply> {
    const { clock, random } = this.options;
    const { signal } = this.stopping;
    const giveUpAtMs = clock.monotonicMs() + brokerLimits.callDeadlineMs;
    let reply: QueueReply = failed("no member leads the queue");
    for (let attempt = 0; clock.monotonicMs() < giveUpAtMs && !signal.aborted; attempt += 1) {
      if (attempt > 0) {
        const waitMs = pauseMs + (random.bytes(1)[0] ?? 0) / 4;
        await clock.sleep(waitMs, signal).catch(() => undefined);
      }
      const member = this.leaderOf(call.queue, attempt);
      if (!member) continue;
      const answer = await this.ask(member, call);
      if (answer === undefined) {
        this.hints.delete(call.queue);
        continue;
      }
      reply = answer;
      if (reply.kind === "elsewhere") this.hint(call.queue, reply.owner);
      else {
        if (reply.kind !== "unknown") this.hint(call.queue, member.uuid);
        if (reply.kind !== "failed") return reply;
        this.hints.delete(call.queue);
      }
    }
    return reply.kind === "elsewhere" ? failed("no member leads the queue") : reply;
  }

  private hint(queue: string, owner: MemberUuid | undefined): void {
    if (owner === undefined) return;
    if (this.hints.size >= hintsMax) this.hints = new Map();
    this.hints.set(queue, owner);
  }

  private async ask(member: Member, call: QueueCall): Promise<QueueReply | undefined> {
    const { replication, log } = this.options;
    const { peers } = replication;
    const isOwn = peers.isSelf(member.uuid);
    // Many that go back take long, step by step.
    const long = isOwn && call.command === "redrive" ? { deadlineMs: redriveMs } : {};
    try {
      return await peers.call(member, "queueCall", call, long);
    } catch (error) {
      const { queue, command } = call;
      if (isOwn)
        log.warn({ queue, command, error: String(error) }, "no answer of a queue led here");
      return undefined;
    }
  }

  /**
   * Who leads the queue, as far as known; else the first of its group that is heard, so that all
   * who ask make the same one the leader.
   */
  private leaderOf(queue: string, attempt: number): Member | undefined {
    const { groups, roster, peers } = this.options.replication;
    const hinted = this.leaders.has(queue) ? peers.self.uuid : this.hints.get(queue);
    const known = hinted === undefined ? undefined : memberByUuid(roster, hinted);
    if (known && !this.isQuiet(known)) return known;
    this.hints.delete(queue);
    const { everyone } = groups.placementOf(this.mailboxOf(queue));
    const heard = everyone.filter((member) => !this.isQuiet(member));
    return heard[Math.floor(attempt / 8) % Math.max(1, heard.length)];
  }

  /** Of a queue that this node leads, or is to lead. */
  async takeToPush(queue: string): Promise<PushBatch | undefined> {
    if (this.stopping.signal.aborted || !this.isOurs(queue)) return undefined;
    const led = await this.lead(queue);
    if (!(led instanceof QueueLeader)) return undefined;
    const batch = await led.takeToPush();
    if (!led.lost) return batch;
    this.resign(queue, led);
    return undefined;
  }

  leads(queue: string): boolean {
    return this.leaders.has(queue);
  }

  /** Does this node lead the queue, or is it the one that would? */
  isOurs(queue: string): boolean {
    const member = this.leaderOf(queue, 0);
    return member !== undefined && this.options.replication.peers.isSelf(member.uuid);
  }

  private isQuiet({ uuid }: Member): boolean {
    const { peers } = this.options.replication;
    return !peers.isSelf(uuid) && peers.liveness.isQuiet(uuid);
  }

  private mailboxOf(queue: string): MailboxName {
    return queueMailbox(queue, this.options.domain);
  }

  /** Answers as the leader, which this node becomes if nobody is. */
  async handle(call: QueueCall): Promise<QueueReply> {
    if (this.stopping.signal.aborted) return failed("the member is stopping");
    const { queue } = call;
    if (call.command === "purge") return this.purge(queue);
    const led = await this.lead(queue);
    if (!(led instanceof QueueLeader)) return led;
    const reply = await led.answer(call);
    if (led.lost) {
      this.resign(queue, led);
      return { kind: "elsewhere" };
    }
    const isSettled = call.command === "settle";
    if (call.command === "wake" || (isSettled && led.hasToPush())) this.options.onWake(queue);
    if (led.hasForeign) void this.sweep(queue, led);
    return reply;
  }

  private async lead(queue: string): Promise<Led> {
    const found = await this.options.queues.recall(queue);
    if (found.kind === "undecided") return failed("too few members answer");
    if (found.kind === "unknown") return { kind: "unknown" };
    const present = await this.leaders.get(queue);
    if (present instanceof QueueLeader) {
      if (present.incarnation === found.value.incarnation) {
        present.update(found.value);
        return present;
      }
      this.resign(queue, present);
    }
    const becoming = this.leaders.get(queue) ?? this.become(queue, found.value);
    this.leaders.set(queue, becoming);
    const led = await becoming;
    if (led instanceof QueueLeader) this.promised.set(led, becoming);
    const isCurrent = this.leaders.get(queue) === becoming;
    if (!(led instanceof QueueLeader) && isCurrent) this.leaders.delete(queue);
    return led;
  }

  private async become(queue: string, fields: QueueFields): Promise<Led> {
    if (this.leaders.size >= brokerLimits.ledMax) return failed("this member leads many queues");
    const opened = await this.options.replication.openMaildrop(this.mailboxOf(queue));
    if (opened.kind !== "open") return elsewhere(opened);
    const { deadLetters, clock, random, log } = this.options;
    const { maildrop } = opened;
    const { registers } = this.options.replication;
    const named = { name: queue, incarnation: fields.incarnation };
    const deliveries = await DeliveryCounts.load({ registers, clock, random, log }, named);
    if (!deliveries || this.stopping.signal.aborted) {
      maildrop.release();
      return failed(deliveries ? "the member is stopping" : "too few members answer");
    }
    log.info({ queue, entries: maildrop.messages.length }, "leads the queue");
    const isGone = (session: string): boolean => this.isGone(session);
    return new QueueLeader({
      ...{ queue, fields, maildrop, deadLetters, deliveries, isGone, clock, log },
    });
  }

  /** A name for one consumer, by which its front node is known. */
  newSession(): string {
    const { replication, random } = this.options;
    return `${replication.peers.self.uuid}/${random.bytes(9).toString("base64url")}`;
  }

  private isGone(session: string): boolean {
    const { roster } = this.options.replication;
    const front = memberByUuid(roster, session.slice(0, session.indexOf("/")) as MemberUuid);
    return !front || this.isQuiet(front);
  }

  private async readIncarnation(queue: string): Promise<string | undefined> {
    const found = await this.options.queues.read(queue);
    if (found.kind === "undecided") return "undecided";
    return found.kind === "found" ? found.value.incarnation : undefined;
  }

  private async sweep(queue: string, leader: QueueLeader): Promise<void> {
    try {
      await leader.sweep(() => this.readIncarnation(queue));
    } catch (error) {
      this.options.log.warn({ queue, error: String(error) }, "a former queue was not emptied");
    }
  }

  /** Deletes all entries of a queue that was removed. */
  private async purge(queue: string): Promise<QueueReply> {
    const present = await this.leaders.get(queue);
    if (present instanceof QueueLeader) this.resign(queue, present);
    const opened = await this.options.replication.openMaildrop(this.mailboxOf(queue));
    if (opened.kind !== "open") return elsewhere(opened);
    const { maildrop } = opened;
    try {
      // Read after the list was made: what a queue of the name that is new has got is not touched.
      const incarnation = await this.readIncarnation(queue);
      if (incarnation === "undecided") return failed("too few members answer");
      return await removeLeft(maildrop, incarnation);
    } finally {
      maildrop.release();
    }
  }
}

async function removeLeft(
  maildrop: ReplicatedMaildrop,
  incarnation: string | undefined,
): Promise<QueueReply> {
  const left = maildrop.messages.filter(
    (message) => incarnation === undefined || factsIn(message)?.incarnation !== incarnation,
  );
  const isDone = left.length === 0 || (await maildrop.remove(left.map(({ id }) => ({ id }))));
  return isDone ? { kind: "done" } : failed("too few members answer");
}

function elsewhere(
  opened: Exclude<OpenAnswer, { kind: "open" }>,
): Exclude<QueueReply, { kind: "done" }> {
  if (opened.kind === "tempfail") return failed(opened.why);
  return { kind: "elsewhere", ...(opened.owner !== undefined && { owner: opened.owner }) };
}
