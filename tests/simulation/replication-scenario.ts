/** Runs a plan: a ring, its clients, what befalls it, and the verdict. */
import type { MailboxName } from "../../src/shared/ids.js";
import { checkMails, restlessness, showAll } from "./replication-checker.js";
import {
  Clients,
  mailboxesOf,
  mailboxPassword,
  operatedNames,
  type UidlOf,
} from "./replication-clients.js";
import { Misfortune } from "./replication-faults.js";
import { History } from "./replication-history.js";
import type { Haste } from "./replication-clock.js";
import { gone, type Life } from "./replication-life.js";
import type { Tamper } from "./replication-network.js";
import {
  type ActKind,
  drawPlan,
  type EventKind,
  events,
  evictAfterMs,
  type Plan,
  type PlanItem,
  type PlanOptions,
} from "./replication-plan.js";
import type { Witness } from "./replication-trace.js";
import { type Faults, ReplicationWorld } from "./replication-world.js";

/** What is different from the real thing: planted bugs, and somebody who looks on. */
export interface RunOptions {
  readonly faults?: Faults;
  readonly tamper?: Tamper;
  readonly uidlOf?: UidlOf;
  readonly witness?: Witness;
  readonly haste?: Haste | undefined;
}

export interface ScenarioOptions extends PlanOptions, RunOptions {}

export interface Verdict {
  /** "at: name: what", the first one first. */
  readonly violations: readonly string[];
  /** Of everything that happened: equal hashes are equal runs. */
  readonly hash: string;
  readonly mails: number;
  readonly acknowledged: number;
  readonly removed: number;
  readonly epochs: number;
  readonly restMs: number;
}

const formWithinMs = 120_000;
const restWithinMs = 120_000;
const answerWithinMs = 15_000;

export const simulate = (options: ScenarioOptions): Promise<Verdict> =>
  runPlan(drawPlan(options), options);

export const runPlan = (plan: Plan, options: RunOptions = {}): Promise<Verdict> =>
  new Scenario(plan, options).run();

class Scenario {
  private readonly world: ReplicationWorld;
  private readonly history: History;
  private readonly clients: Clients;
  private readonly misfortune: Misfortune;
  private readonly mailboxes: readonly MailboxName[];

  constructor(
    private readonly plan: Plan,
    options: RunOptions,
  ) {
    const { faults, tamper, uidlOf, witness, haste } = options;
    const { seed, disks, flushMaxMs, repairIntervalMs } = plan;
    this.world = new ReplicationWorld({
      ...{ seed, disks, flushMaxMs, repairIntervalMs, evictAfterMs, haste },
      ...(faults && { faults }),
      ...(witness && { witness }),
    });
    this.world.network.tamper = tamper;
    this.history = new History(this.world);
    this.clients = new Clients(this.world, this.history, plan, uidlOf ?? (({ id }) => id));
    this.misfortune = new Misfortune(this.world, plan);
    this.mailboxes = mailboxesOf(plan);
  }

  async run(): Promise<Verdict> {
    const { world, history, plan } = this;
    await this.#form();
    const startMs = world.clock.nowMs;
    for (const item of plan.items) {
      await world.clock.advance(startMs + item.atMs - world.clock.nowMs);
      this.#do(item);
    }
    await world.clock.advance(1_000);
    world.trace("all is well from now on");
    this.misfortune.end();
    const restMs = await this.#rest();
    await this.#checkAtRest();
    history.checkAccounts();
    if (plan.members !== 2 && !world.hasShrunk) history.checkSessions();
    for (const member of [...world.members]) world.crash(member, "process");
    return {
      violations: world.violations,
      hash: world.digest(),
      mails: history.mails.length,
      acknowledged: history.mails.filter(({ acknowledged }) => acknowledged).length,
      removed: history.removed.size,
      epochs: world.rosters.size,
      restMs,
    };
  }

  #do(item: PlanItem): void {
    if (item.kind in events) {
      this.misfortune.befall(item as PlanItem & { readonly kind: EventKind });
    } else this.clients.act(item as PlanItem & { readonly kind: ActKind });
  }

  /** Members join one after the other; the mailboxes get their accounts. */
  async #form(): Promise<void> {
    const { world, plan } = this;
    const first = world.create();
    world.start(first, []);
    await world.clock.advance(500);
    for (let i = 1; i < plan.members; i += 1) world.start(world.create(), [first.addr]);
    for (let waitedMs = 0; restlessness(world, []) && waitedMs < formWithinMs; waitedMs += 1_000) {
      await world.clock.advance(1_000);
    }
    const restless = restlessness(world, []);
    if (restless) return world.violate(`not at rest: the ring does not form: ${restless}`);
    world.isFormed = true;
    const added = this.mailboxes.map((mailbox) => this.#addAccount(mailbox));
    await world.clock.until(Promise.all(added), 60_000);
  }

  async #addAccount(mailbox: MailboxName): Promise<void> {
    const { world } = this;
    for (let attempt = 1; attempt <= 10; attempt += 1) {
      const life = world.dice.pick(world.lives);
      const answer = await life?.request(() => life.rooms.accounts.add(mailbox, mailboxPassword));
      if (answer !== gone && (answer?.kind === "done" || answer?.kind === "exists")) return;
      await world.clock.sleep(500);
    }
    world.violate(`unserved: no account ${mailbox} can be added`);
  }

  /** Virtual time until everything has come to rest. */
  async #rest(): Promise<number> {
    const { world } = this;
    const fromMs = world.clock.nowMs;
    // Twice in a row, since what a client was told last may just be on its way to the members.
    for (let calm = 0; calm < 2 && world.clock.nowMs - fromMs < restWithinMs; ) {
      await world.clock.advance(1_000);
      const { working } = this.clients;
      const isCalm = working + this.misfortune.leaves === 0 && !restlessness(world, this.mailboxes);
      calm = isCalm ? calm + 1 : 0;
    }
    return world.clock.nowMs - fromMs;
  }

  async #checkAtRest(): Promise<void> {
    const { world, history, clients } = this;
    const restless = restlessness(world, this.mailboxes);
    if (restless) world.violate(`not at rest in time: ${restless}`);
    if (clients.working > 0) world.violate(`unserved: ${clients.working} clients get no answer`);
    const shown = await world.clock.until(showAll(world, this.mailboxes), 60_000);
    checkMails(world, history, shown);
    const checks = [
      ...this.mailboxes.map((mailbox) => this.#checkServed(mailbox)),
      ...world.lives.flatMap((life) => operatedNames.map((name) => this.#checkRead(life, name))),
    ];
    await world.clock.until(Promise.all(checks), 4 * answerWithinMs);
  }

  /** Clients try again when they are told to; in the end each has to get an answer. */
  async #eventually<T>(ask: () => Promise<T | undefined>): Promise<T | undefined> {
    const { world } = this;
    const untilMs = world.clock.nowMs + answerWithinMs;
    while (world.clock.nowMs < untilMs) {
      const late = world.clock.sleep(untilMs - world.clock.nowMs).then(() => undefined);
      const answer = await Promise.race([ask(), late]);
      if (answer !== undefined) return answer;
      await world.clock.sleep(world.dice.between(200, 1_000));
    }
    return undefined;
  }

  async #checkRead(life: Life, name: string): Promise<void> {
    const { world, clients } = this;
    const isRead = await this.#eventually(
      async () => (await clients.look(life, name)) || undefined,
    );
    if (!isRead)
      world.violate(`unserved: ${life.self.uuid} can't read the account ${name} at rest`);
  }

  /** A mailbox can be opened at some member, and all of it read. */
  async #checkServed(mailbox: MailboxName): Promise<void> {
    const { world, clients } = this;
    const life = world.dice.pick(world.lives);
    if (!life) return;
    const maildrop = await this.#eventually(async () => {
      const opened = await life.request(() => life.login(mailbox, mailboxPassword));
      return opened !== gone && opened.kind === "open" ? opened.maildrop : undefined;
    });
    if (!maildrop)
      return world.violate(`unserved: ${life.self.uuid} can't open ${mailbox} at rest`);
    for (const message of maildrop.messages) {
      const isRead = await this.#eventually(
        async () => (await clients.retrieve(life, maildrop, message)) || undefined,
      );
      if (isRead) continue;
      world.violate(`unserved: ${message.id} of ${mailbox} can't be read at ${life.self.uuid}`);
    }
    maildrop.release();
  }
}
