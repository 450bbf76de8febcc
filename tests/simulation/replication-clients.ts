/** Clients of a simulated ring: senders who try again, readers who delete, operators. */
import { createHash } from "node:crypto";
import type { AccountChange } from "../../src/mailbox/accounts.js";
import type { BodyDigest, MailboxName } from "../../src/shared/ids.js";
import type { AccountAct, History, Mail } from "./replication-history.js";
import type { Life, ReplicationWorld } from "./replication-world.js";

const gone = Symbol("the member crashed");

/** What a member answers, or that it crashed in the middle. */
function answerOf<T>(life: Life, work: Promise<T>): Promise<T | typeof gone> {
  return Promise.race([work, life.crashed.then((): typeof gone => gone)]);
}

export class Clients {
  /** False: those who have nothing to lose give up, the others go on to the end. */
  isBusy = true;
  /** How many are in the middle of something. */
  working = 0;
  private count = 0;

  constructor(
    private readonly world: ReplicationWorld,
    private readonly history: History,
    private readonly mailboxes: readonly MailboxName[],
    private readonly sessionMs: number | undefined,
  ) {}

  private get life(): Life | undefined {
    return this.world.pick(this.world.lives.filter(({ serving }) => serving));
  }

  /** Keeps some of each at work until they are told to stop. */
  begin(counts: { senders: number; readers: number; operators: number }): void {
    const { world } = this;
    const keep = async (pauseMs: number, work: () => Promise<void>): Promise<void> => {
      await world.sleep(world.between(0, pauseMs));
      while (this.isBusy) {
        this.working += 1;
        await work();
        this.working -= 1;
        await world.sleep(world.between(0.2, 1.8) * pauseMs);
      }
    };
    const guard = (run: Promise<void>): void => {
      run.catch((error: unknown) => world.violate(`a client failed: ${String(error)}`));
    };
    for (let i = 0; i < counts.senders; i += 1) guard(keep(1_200, () => this.send()));
    for (let i = 0; i < counts.readers; i += 1) guard(keep(2_500, () => this.read()));
    for (let i = 0; i < counts.operators; i += 1) guard(keep(2_000, () => this.administer()));
  }

  private async send(): Promise<void> {
    const mailbox = this.world.pick(this.mailboxes);
    if (!mailbox) return;
    this.count += 1;
    const mail: Mail = { text: `mail ${this.count}`, mailbox, ids: [], acknowledged: false };
    this.history.mails.push(mail);
    for (let attempt = 1; attempt <= 40 && !mail.acknowledged; attempt += 1) {
      const { life } = this;
      if (life) await this.attempt(life, mail);
      // RFC 5321 §4.5.4.1 has half an hour; a second is long in this world.
      if (!mail.acknowledged) await this.world.sleep(this.world.between(500, 2_500));
    }
  }

  private async attempt(life: Life, mail: Mail): Promise<void> {
    const { world } = this;
    const bytes = Buffer.from(mail.text);
    const digest = createHash("sha256").update(bytes).digest("hex") as BodyDigest;
    const work = life.mailboxes.deliver({
      sender: "sender@example.org",
      mailboxes: [mail.mailbox],
      body: { kind: "bytes", digest, bytes, hasMessageId: true },
      traceFor: (_, id) => {
        mail.ids.push(id);
        return `Received: ${id}\r\n`;
      },
    });
    const answer = await answerOf(life, work);
    const outcome = answer === gone ? "gone" : answer.kind;
    world.trace(`${mail.text} as ${mail.ids.at(-1) ?? ""} by ${life.self.uuid}: ${outcome}`);
    if (answer === gone || answer.kind !== "stored") return;
    // The client may be away before it reads the 250, or the node dead before it knows.
    const isRead = world.random() < 0.9;
    await world.sleep(world.between(0, 30));
    if (isRead) {
      mail.acknowledged = true;
      world.trace(`acknowledged ${mail.text} in ${mail.mailbox}`);
    }
    if (life.up) life.mailboxes.settled(answer.ids, isRead ? "confirmed" : "doubtful");
  }

  private async read(): Promise<void> {
    const { world, history, life } = this;
    const mailbox = world.pick(this.mailboxes);
    if (!mailbox || !life) return;
    const opened = await answerOf(life, life.replication.openMaildrop(mailbox));
    if (opened === gone || opened.kind !== "open") return;
    const { maildrop } = opened;
    const session: History["sessions"][number] = { mailbox, openedMs: world.clock.nowMs };
    history.sessions.push(session);
    history.checkShown(mailbox, maildrop.messages);
    const longest = this.sessionMs ?? (world.random() < 0.2 ? 6_000 : 300);
    await world.sleep(world.between(0, longest));
    const chosen = maildrop.messages.filter(() => world.random() < 0.4);
    if (chosen.length > 0 && life.up) {
      for (const { id } of chosen) history.perhapsRemoved.add(id);
      const from = world.clock.nowMs;
      const removed = await answerOf(life, maildrop.remove(chosen));
      if (removed === true) {
        session.committedMs = { from, to: world.clock.nowMs };
        for (const { id } of chosen) history.removed.add(id);
        world.trace(`removed ${chosen.map(({ id }) => id).join(" ")} from ${mailbox}`);
      }
    }
    if (life.up) maildrop.release();
  }

  private async administer(): Promise<void> {
    const { world, life } = this;
    const name = world.pick(["ann", "bob", "cyd"]);
    if (!life || !name) return;
    const dice = world.random();
    if (dice < 0.4) {
      await this.look(life, name);
      return;
    }
    this.count += 1;
    const password = `pw${this.count}`;
    if (dice < 0.65) return this.act(life, name, "add", password);
    if (dice < 0.9) return this.act(life, name, "passwd", password);
    return this.act(life, name, "remove", undefined);
  }

  private async act(
    life: Life,
    name: string,
    kind: AccountAct["kind"],
    password: string | undefined,
  ): Promise<void> {
    const { clock } = this.world;
    const value = password === undefined ? undefined : `h:${password}`;
    const startMs = clock.nowMs;
    const act: AccountAct = { name, kind, value, startMs, endMs: Infinity, outcome: "unknown" };
    this.history.acts.push(act);
    const work: Promise<AccountChange> =
      kind === "add"
        ? life.accounts.add(name, password ?? "")
        : kind === "passwd"
          ? life.accounts.changePassword(name, password ?? "")
          : life.accounts.remove(name);
    const answer = await answerOf(life, work);
    if (answer === gone || answer.kind === "undecided") return;
    act.endMs = clock.nowMs;
    act.outcome = answer.kind === "done" ? "done" : "no";
    this.world.trace(`${kind} ${name} ${answer.kind}`);
  }

  /** What is read of an account must be explained by what was done to it. */
  async look(life: Life, name: string): Promise<boolean> {
    const { clock } = this.world;
    const startMs = clock.nowMs;
    const mailbox = `${name}@ring.test` as MailboxName;
    const answer = await answerOf(life, life.accounts.read(mailbox));
    if (answer === gone || answer.kind === "undecided") return false;
    const value = answer.kind === "account" ? answer.account.passwordHash : undefined;
    this.history.reads.push({ name, startMs, endMs: clock.nowMs, value });
    return true;
  }
}
