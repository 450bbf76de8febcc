/** Mail traffic while members die: clients that go elsewhere, and write down what they were told. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Entry,
  identify,
  isViolation,
  type Violation,
  violationOf,
  type Wrong,
} from "./book.js";
import type { LoadCounts, LoadOptions, MailServer, MailService } from "./load-options.js";
import { type FetchedMail, type Pop3Client, Pop3Refused } from "../client/pop3-client.js";
import { loginWhenFree } from "./fetching.js";
import { SmtpClient } from "./smtp-client.js";
import { ProtocolError } from "../client/wire.js";

const giveUpMs = 180_000;
/** A reader of a maildrop that grows looks at this many mails of it, the newest among them. */
const sampleMax = 24;
/** Beyond it a member keeps a mail in a file of its own. */
const largeOctets = 300 * 1024;

export class MailLoad {
  readonly book = new Map<string, Entry>();
  readonly violations: Violation[] = [];
  readonly counts: LoadCounts = {
    offered: 0,
    acknowledged: 0,
    refused: 0,
    unanswered: 0,
    sessions: 0,
    fetched: 0,
    deleted: 0,
  };
  protected stopping = false;
  readonly #service: MailService;
  readonly #options: Required<LoadOptions>;
  readonly #running: Promise<void>[] = [];

  constructor(service: MailService, options: LoadOptions) {
    this.#service = service;
    this.#options = {
      senders: 6,
      senderPauseMs: 40,
      replyDeadlineMs: 8_000,
      largePercent: 0,
      startedMs: performance.now(),
      ...options,
    };
  }

  start(): void {
    const { kept, emptied, senders } = this.#options;
    for (let n = 0; n < senders; n += 1) this.#run(() => this.#sendSome());
    for (const name of kept) this.#run(() => this.#read(name));
    for (const name of emptied) this.#run(() => this.#empty(name));
  }

  /** Lets every client finish what it is at. A mail that is being retried is retried to the end. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.#running);
  }

  #run(once: () => Promise<void>): void {
    const loop = async (): Promise<void> => {
      while (!this.stopping) await once();
    };
    this.#running.push(loop());
  }

  #pick(): MailServer | undefined {
    const { running } = this.#service;
    return running.length === 0 ? undefined : this.#options.dice.pick(running);
  }

  #note(entry: Entry, what: string): void {
    const seconds = ((performance.now() - this.#options.startedMs) / 1_000).toFixed(3);
    entry.history.push(`${seconds} s: ${what}`);
  }

  #wrong(wrong: Wrong, mailbox: string, detail: string): void {
    this.violations.push({ wrong, mailbox, messageId: "", detail, history: [] });
  }

  /** The next mail to one of the mailboxes in turn. */
  #next(): Entry {
    const { kept, emptied } = this.#options;
    const boxes = [...kept, ...emptied];
    return this.write(boxes[this.counts.offered % boxes.length] ?? "");
  }

  /** A new mail to `mailbox`, in the book and not sent yet. */
  write(mailbox: string): Entry {
    const { domain, dice, largePercent } = this.#options;
    const serial = this.counts.offered++;
    const messageId = `<${serial}.${process.pid}@load.test>`;
    const line = `${".".repeat(serial % 4)}line ${serial}\r\n`;
    const isLarge = dice.chance(largePercent / 100);
    const lines = isLarge ? Math.ceil(largeOctets / line.length) : 1 + (serial % 40);
    const head = `Message-ID: ${messageId}\r\nSubject: load ${serial}\r\n\r\n`;
    const entry: Entry = {
      messageId,
      mailbox,
      sender: `load@${domain}`,
      bytes: Buffer.from(head + line.repeat(lines)),
      state: "open",
      deletion: "none",
      attempts: 0,
      history: [],
    };
    this.book.set(messageId, entry);
    return entry;
  }

  /** A few mails over one connection; what was not acknowledged is tried again elsewhere. */
  async #sendSome(): Promise<void> {
    let entry: Entry | undefined = this.#next();
    const giveUpAtMs = performance.now() + giveUpMs;
    while (entry !== undefined) {
      entry = await this.#trySending(entry, 5);
      if (entry === undefined) return;
      if (performance.now() > giveUpAtMs) {
        this.violations.push(violationOf(entry, "refused", "nobody accepted it for three minutes"));
        return;
      }
      await sleep(50);
    }
  }

  /** Sends `first` and then fresh mails; returns the mail that was under way when it failed. */
  async #trySending(first: Entry, mails: number): Promise<Entry | undefined> {
    const member = this.#pick();
    if (member === undefined) return first;
    const { replyDeadlineMs, senderPauseMs } = this.#options;
    let entry: Entry | undefined = first;
    let client: SmtpClient | undefined;
    try {
      client = await SmtpClient.connect(member.smtp, { deadlineMs: replyDeadlineMs });
      for (let sent = 1; entry !== undefined; sent += 1) {
        if (!(await this.#sendOne(client, member, entry))) return entry;
        entry = undefined;
        await sleep(senderPauseMs);
        if (sent < mails && !this.stopping) entry = this.#next();
      }
      await client.quit();
    } catch (error) {
      // The connection died. A mail whose reply is missing goes again, to somebody else.
      this.#unanswered(error, member, entry);
    } finally {
      // Not in good order, which would say that the last reply was read.
      client?.reset();
    }
    return entry;
  }

  /** One try of a mail over a connection of its own. Answers whether it was acknowledged. */
  async sendOnce(entry: Entry, member: MailServer, deadlineMs: number): Promise<boolean> {
    let client: SmtpClient | undefined;
    try {
      client = await SmtpClient.connect(member.smtp, { deadlineMs });
      const stored = await this.#sendOne(client, member, entry);
      if (stored) await client.quit().catch(() => undefined);
      return stored;
    } catch (error) {
      this.#unanswered(error, member, entry);
      return false;
    } finally {
      client?.reset();
    }
  }

  #unanswered(error: unknown, member: MailServer, entry: Entry | undefined): void {
    this.#judgeFailure(error, member, entry?.mailbox ?? "");
    if (entry === undefined) return;
    this.counts.unanswered += 1;
    this.#note(entry, `no reply from member ${member.id} (${messageOf(error)})`);
  }

  async #sendOne(client: SmtpClient, member: MailServer, entry: Entry): Promise<boolean> {
    entry.attempts += 1;
    this.#note(entry, `sent through member ${member.id}`);
    const to = [`${entry.mailbox}@${this.#options.domain}`];
    const { reply, stored } = await client.send({ from: entry.sender, to }, entry.bytes);
    const said = reply.lines.join(" / ");
    this.#note(entry, `member ${member.id} said ${said}`);
    if (stored) {
      entry.state = "acknowledged";
      this.counts.acknowledged += 1;
    } else if (reply.code >= 500) {
      this.violations.push(violationOf(entry, "refused", `SMTP at member ${member.id}: ${said}`));
    } else this.counts.refused += 1;
    return stored;
  }

  async #read(name: string): Promise<void> {
    const { dice } = this.#options;
    await this.#session(name, async (client, member) => {
      const mails = await client.some(
        (index, count) => index >= count - sampleMax / 2 || dice.chance(sampleMax / 2 / count),
      );
      this.#compared(mails, name, member);
      await client.quit();
    });
    await sleep(100);
  }

  /** Fetches, deletes half of what is there, and writes down what QUIT answered. */
  async #empty(name: string): Promise<void> {
    await sleep(150);
    const { dice } = this.#options;
    await this.#session(name, async (client, member) => {
      const found = this.#compared(await client.all(), name, member);
      // What its sender may be about to send again is left: that would be a new mail.
      const open = new Set([...found.values()].filter(({ state }) => state === "open"));
      const candidates = [...new Set(found.values())].filter((entry) => !open.has(entry));
      const chosen = new Set(candidates.filter((_, index) => index % 2 === 0));
      for (const [index, entry] of found) {
        if (chosen.has(entry)) await client.expect(`DELE ${index + 1}`);
      }
      if (dice.chance(0.1)) {
        // Without QUIT nothing is deleted (RFC 1939 §6).
        for (const entry of chosen) this.#note(entry, `marked at member ${member.id}, no QUIT`);
        return;
      }
      await this.#quit(client, member, chosen);
    });
  }

  async #quit(client: Pop3Client, member: MailServer, chosen: ReadonlySet<Entry>): Promise<void> {
    for (const entry of chosen) {
      entry.deletion = "asked";
      this.#note(entry, `deletion asked of member ${member.id}`);
    }
    await client.quit();
    for (const entry of chosen) {
      entry.deletion = "confirmed";
      this.#note(entry, `deletion confirmed by member ${member.id}`);
    }
    this.counts.deleted += chosen.size;
  }

  /** One POP3 session somewhere. Under faults it may be cut or told to try later. */
  async #session(
    name: string,
    work: (client: Pop3Client, member: MailServer) => Promise<void>,
  ): Promise<void> {
    const member = this.#pick();
    if (member === undefined) return;
    const { password, replyDeadlineMs } = this.#options;
    let client: Pop3Client | undefined;
    try {
      client = await loginWhenFree(member.pop3, name, password, replyDeadlineMs);
      await work(client, member);
      this.counts.sessions += 1;
    } catch (error) {
      this.#judgeFailure(error, member, name);
    } finally {
      client?.destroy();
    }
  }

  /** Compares octets; answers what is known, by index. */
  #compared(
    mails: readonly FetchedMail[],
    mailbox: string,
    member: MailServer,
  ): Map<number, Entry> {
    const known = new Map<number, Entry>();
    for (const [index, mail] of mails.entries()) {
      const found = identify(this.book, mail, mailbox);
      if (isViolation(found)) this.violations.push(found);
      else {
        known.set(index, found);
        this.counts.fetched += 1;
        if (found.deletion !== "confirmed") continue;
        // One client at a time deletes from a mailbox, so nothing here was deleted meanwhile.
        this.#note(found, `served again by member ${member.id} as ${mail.uid}`);
        this.violations.push(violationOf(found, "resurrected", "served after its deletion"));
      }
    }
    return known;
  }

  #judgeFailure(error: unknown, { id }: MailServer, mailbox: string): void {
    if (error instanceof ProtocolError) {
      this.#wrong("refused", mailbox, `member ${id} broke the protocol: ${error.message}`);
    } else if (error instanceof Pop3Refused && error.line.includes("[AUTH]")) {
      this.#wrong("refused", mailbox, `POP3 at member ${id}: ${error.line}`);
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
