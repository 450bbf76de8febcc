/** Clients of a simulated ring: senders who try again, readers who delete, operators. */
import { createHash } from "node:crypto";
import type { AccountChange } from "../../src/mailbox/accounts.js";
import type { DeliveryAnswer } from "../../src/mailbox/ports.js";
import type { ReplicatedMaildrop } from "../../src/replication/maildrop.js";
import type { Body } from "../../src/shared/body.js";
import type { BodyDigest, MailboxName, MessageId } from "../../src/shared/ids.js";
import { limits } from "../../src/shared/limits.js";
import type { StoredMessage } from "../../src/shared/operation.js";
import { type Dice, diceFor } from "./replication-clock.js";
import type { AccountAct, History, Mail, Session } from "./replication-history.js";
import { gone, type Life } from "./replication-life.js";
import type { ActKind, Plan, PlanItem } from "./replication-plan.js";
import type { ReplicationWorld } from "./replication-world.js";

export const mailboxPassword = "secret";
/** Names that operators add, change and remove; nobody sends mail to them. */
export const operatedNames = ["gus", "hal", "ida"] as const;

/**
 * RFC 5321 §4.5.3.2.6 has ten minutes. Who does not wait until the pieces of a large body have met
 * their deadlines may see its mail twice until then.
 */
const patienceMs = 70_000;
const triesMax = 60;
const largeOctets = limits.inlineBodyOctetsMax + 50_000;

export type UidlOf = (message: StoredMessage, index: number) => string;

export class Clients {
  /** How many are in the middle of something. */
  working = 0;
  readonly #mailboxes: readonly MailboxName[];

  constructor(
    private readonly world: ReplicationWorld,
    private readonly history: History,
    private readonly plan: Plan,
    private readonly uidlOf: UidlOf,
  ) {
    this.#mailboxes = mailboxesOf(plan);
  }

  /** Lets a client do something, from now on. */
  act(item: PlanItem & { readonly kind: ActKind }): void {
    this.working += 1;
    this.#act(item, diceFor(this.plan.seed, `item ${item.number}`))
      .catch((error: unknown) => this.world.violate(`a client failed: ${String(error)}`))
      .finally(() => {
        this.working -= 1;
      });
  }

  #act({ number, kind }: PlanItem & { readonly kind: ActKind }, dice: Dice): Promise<void> {
    const name = `mail ${number}`;
    switch (kind) {
      case "mail":
        return this.#send(this.#compose(name, dice.chance(0.03), dice), dice);
      case "twins":
        return this.#sendTwice(name, dice);
      case "read":
        return this.#read(dice);
      case "account":
        return this.#administer(number, dice);
    }
  }

  #serving(dice: Dice): Life | undefined {
    return dice.pick(this.world.lives.filter(({ serving }) => serving));
  }

  #compose(text: string, isLarge: boolean, dice: Dice, hasTwin = false): Mail {
    const mailbox = dice.pick(this.#mailboxes) ?? ("" as MailboxName);
    const body = isLarge ? Buffer.alloc(largeOctets, `${text} `) : Buffer.from(text);
    const mail = { text, body, mailbox, ids: [], hasTwin, lastTryMs: 0, acknowledged: false };
    this.history.mails.push(mail);
    return mail;
  }

  /** Two people write the same; the second begins when the first is through with it. */
  async #sendTwice(text: string, dice: Dice): Promise<void> {
    const first = this.#compose(text, false, dice, true);
    await this.#send(first, dice);
    // So that the members know that the first was acknowledged.
    await this.world.clock.sleep(dice.between(500, 3_000));
    const second: Mail = { ...first, ids: [], acknowledged: false };
    this.history.mails.push(second);
    await this.#send(second, dice);
  }

  async #send(mail: Mail, dice: Dice): Promise<void> {
    for (let attempt = 1; attempt <= triesMax && !mail.acknowledged; attempt += 1) {
      const life = this.#serving(dice);
      if (life) await this.#attempt(life, mail, dice);
      // RFC 5321 §4.5.4.1 has half an hour; a second is long in this world.
      if (!mail.acknowledged) await this.world.clock.sleep(dice.between(500, 2_500));
    }
  }

  async #attempt(life: Life, mail: Mail, dice: Dice): Promise<void> {
    const { world } = this;
    const connection = { isOpen: true };
    world.note(() => `a client sends ${mail.text} for ${mail.mailbox} to ${life.self.uuid}`);
    const delivered = this.#counted(life.request(() => this.#deliver(life, mail, connection)));
    const answer = await Promise.race([delivered, world.clock.sleep(patienceMs)]);
    connection.isOpen = false;
    if (answer === gone || answer?.kind !== "stored") {
      world.note(() => `${mail.text}: ${answer === gone ? "broken off" : answer?.kind}`);
      return;
    }
    // The client may be away before it reads the 250, or the node dead before it knows.
    const isRead = dice.chance(0.9);
    await world.clock.sleep(dice.between(0, 30));
    if (isRead) {
      mail.acknowledged = true;
      world.trace(`acknowledged ${mail.text} in ${mail.mailbox}: ${answer.ids.join(" ")}`);
    } else world.note(() => `the 250 for ${mail.text} is not read`);
    const outcome = isRead ? "confirmed" : "doubtful";
    life.perform(() => life.rooms.mailboxes.settled(answer.ids, outcome));
  }

  /** The ring is not at rest before it is through with this, whoever has hung up. */
  #counted<T>(work: Promise<T>): Promise<T> {
    this.working += 1;
    const end = (): void => {
      this.working -= 1;
    };
    work.then(end, end);
    return work;
  }

  /** What the SMTP server does of a transaction. */
  async #deliver(
    life: Life,
    mail: Mail,
    connection: { isOpen: boolean },
  ): Promise<DeliveryAnswer | undefined> {
    const { world, history } = this;
    const { mailboxes } = life.rooms;
    const recipient = await mailboxes.resolve(mail.mailbox);
    if (recipient.kind === "undecided") return undefined;
    if (recipient.kind !== "mailboxes") {
      world.violate(`no such user: ${life.self.uuid} says so of ${mail.mailbox}`);
      return undefined;
    }
    const body = await this.#spooled(life, mail);
    if (!body) return { kind: "full" };
    const answer = await mailboxes.deliver({
      sender: "sender@example.org",
      mailboxes: [mail.mailbox],
      body,
      traceFor: (_, id) => {
        mail.ids.push(id);
        mail.lastTryMs = world.clock.nowMs;
        history.byId.set(id, mail);
        world.note(() => `${mail.text} is ${id} at ${life.self.uuid}`);
        return `Received: ${id}\r\n`;
      },
    });
    // It waited too long and has hung up.
    if (answer.kind === "stored" && !connection.isOpen) mailboxes.settled(answer.ids, "doubtful");
    return answer;
  }

  async #spooled(life: Life, { body: bytes, hasTwin }: Mail): Promise<Body | undefined> {
    const digest = createHash("sha256").update(bytes).digest("hex") as BodyDigest;
    const hasMessageId = !hasTwin;
    if (bytes.length <= limits.inlineBodyOctetsMax) {
      return { kind: "bytes", digest, bytes, hasMessageId };
    }
    const { mailboxes, opened } = life.rooms;
    try {
      const file = await opened.files.create(mailboxes.spoolPath());
      await file.append(bytes);
      await file.close();
      return { kind: "file", digest, octets: bytes.length, path: file.path, hasMessageId };
    } catch (error) {
      if ((error as { code?: string }).code === "ENOSPC") return undefined;
      throw error;
    }
  }

  async #read(dice: Dice): Promise<void> {
    const { world, history, plan } = this;
    const [mailbox, life] = [dice.pick(this.#mailboxes), this.#serving(dice)];
    if (!mailbox || !life) return;
    const loginMs = world.clock.nowMs;
    const opened = await life.request(() => life.login(mailbox, mailboxPassword));
    if (opened === gone) return;
    if (opened.kind === "denied") world.violate(`no such user: ${mailbox} can't log in`);
    if (opened.kind !== "open") return;
    const { maildrop } = opened;
    const session: Session = { mailbox, openedMs: world.clock.nowMs };
    history.sessions.push(session);
    world.note(() => `session of ${mailbox} at ${life.self.uuid}: ${idsOf(maildrop.messages)}`);
    this.#checkListing(maildrop, loginMs);
    const one = dice.pick(maildrop.messages);
    if (one) await this.retrieve(life, maildrop, one);
    const longest = plan.sessionMs ?? (dice.chance(0.2) ? 6_000 : 300);
    await world.clock.sleep(dice.between(0, longest));
    const chosen = maildrop.messages.filter(() => dice.chance(0.4));
    if (chosen.length > 0) await this.#quit(life, maildrop, chosen, session);
    life.perform(() => maildrop.release());
  }

  async #quit(
    life: Life,
    maildrop: ReplicatedMaildrop,
    chosen: readonly StoredMessage[],
    session: Session,
  ): Promise<void> {
    const { world, history } = this;
    let from = Infinity;
    for (const { id } of chosen) history.perhapsRemoved.add(id);
    const removed = await life.request(() => {
      from = world.clock.nowMs;
      return maildrop.remove(chosen);
    });
    world.note(() => `QUIT of ${maildrop.mailbox}: ${idsOf(chosen)}: ${String(removed)}`);
    if (removed !== true) return;
    session.committedMs = { from, to: world.clock.nowMs };
    for (const { id } of chosen) history.removed.set(id, world.clock.nowMs);
    world.trace(`removed ${idsOf(chosen)} from ${maildrop.mailbox}`);
  }

  #checkListing({ mailbox, messages }: ReplicatedMaildrop, loginMs: number): void {
    const { world, history } = this;
    for (const [index, message] of messages.entries()) {
      const { id } = message;
      const mail = history.byId.get(id);
      if (!mail) world.violate(`phantom: nobody sent ${id} in ${mailbox}`);
      else if (mail.mailbox !== mailbox) world.violate(`phantom: ${mail.text} is in ${mailbox}`);
      history.noteUidl(this.uidlOf(message, index), id, mailbox);
    }
    // In a ring of two that falls apart, each side goes on by itself.
    if (this.plan.members !== 2 && !world.hasShrunk) history.checkShown(mailbox, messages, loginMs);
  }

  /** RETR: the octets have to be those that were sent. False when it failed. */
  async retrieve(
    life: Life,
    maildrop: ReplicatedMaildrop,
    message: StoredMessage,
  ): Promise<boolean> {
    const { world, history } = this;
    const got = await life.request(async () => {
      try {
        const octets = await maildrop.read(message, new AbortController().signal);
        if (Buffer.isBuffer(octets)) return octets;
        const pieces: Buffer[] = [];
        for await (const piece of octets) pieces.push(Buffer.from(piece));
        return Buffer.concat(pieces);
      } catch (error) {
        world.note(() => `RETR ${message.id} at ${life.self.uuid}: ${String(error)}`);
        return undefined;
      }
    });
    if (got === gone || !got) return false;
    const mail = history.byId.get(message.id);
    const wanted = Buffer.concat([Buffer.from(message.trace), mail?.body ?? Buffer.alloc(0)]);
    if (!got.equals(wanted))
      world.violate(`corrupt: ${mail?.text} (${message.id}) is read otherwise`);
    return true;
  }

  async #administer(number: number, dice: Dice): Promise<void> {
    const [name, life] = [dice.pick(operatedNames), this.#serving(dice)];
    if (!life || !name) return;
    const share = dice.next();
    if (share < 0.4) {
      await this.look(life, name);
      return;
    }
    const password = `pw${number}`;
    if (share < 0.65) return this.#change(life, name, "add", password);
    if (share < 0.9) return this.#change(life, name, "passwd", password);
    return this.#change(life, name, "remove", undefined);
  }

  async #change(
    life: Life,
    name: string,
    kind: AccountAct["kind"],
    password: string | undefined,
  ): Promise<void> {
    const { world, history } = this;
    const value = password === undefined ? undefined : `h:${password}`;
    const startMs = world.clock.nowMs;
    const act: AccountAct = { name, kind, value, startMs, endMs: Infinity, outcome: "unknown" };
    history.acts.push(act);
    world.note(() => `${kind} ${name} ${value} at ${life.self.uuid}`);
    const answer = await life.request((): Promise<AccountChange> => {
      const { accounts } = life.rooms;
      if (kind === "add") return accounts.add(name, password ?? "");
      if (kind === "passwd") return accounts.changePassword(name, password ?? "");
      return accounts.remove(name);
    });
    if (answer === gone || answer.kind === "undecided") return;
    act.endMs = world.clock.nowMs;
    act.outcome = answer.kind === "done" ? "done" : "no";
    world.trace(`${kind} ${name} ${answer.kind}`);
  }

  /** What is read of an account must be explained by what was done to it. */
  async look(life: Life, name: string): Promise<boolean> {
    const { world, history } = this;
    const startMs = world.clock.nowMs;
    const mailbox = `${name}@ring.test` as MailboxName;
    const answer = await life.request(() => life.rooms.accounts.read(mailbox));
    if (answer === gone || answer.kind === "undecided") return false;
    const value = answer.kind === "account" ? answer.account.passwordHash : undefined;
    history.reads.push({ name, startMs, endMs: world.clock.nowMs, value });
    world.note(() => `${name} is ${value} at ${life.self.uuid}`);
    return true;
  }
}

const idsOf = (messages: readonly { readonly id: MessageId }[]): string =>
  messages.map(({ id }) => id).join(" ");

export function mailboxesOf(plan: Plan): readonly MailboxName[] {
  const names = ["ann", "bob", "cyd", "dan", "eve", "fay"].slice(0, plan.mailboxes);
  return names.map((name) => `${name}@ring.test` as MailboxName);
}
