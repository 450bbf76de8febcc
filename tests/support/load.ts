/** Mail traffic while nodes die, and the book in which every promise is kept. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Member } from "./member.js";
import type { Pop3Client } from "./pop3-client.js";
import { type FetchedMail, fetchAll, loginWhenFree } from "./pop3-client.js";
import { domain, password, type Ring } from "./ring.js";
import { SmtpClient } from "./smtp-client.js";
import { senderBefore } from "./trace.js";
import { waitUntil } from "./wait.js";

/** What became of one mail, as far as its client knows. */
export interface Entry {
  readonly messageId: string;
  readonly mailbox: string;
  readonly bytes: Buffer;
  /** `open`: never acknowledged; it may be there once, or not at all. */
  state: "open" | "acknowledged";
  /** `asked`: a QUIT whose answer was lost or was no; `confirmed`: a QUIT answered with +OK. */
  deletion: "none" | "asked" | "confirmed";
  attempts: number;
}

export interface LoadOptions {
  /** Mailboxes that nobody deletes from while the load runs. */
  readonly kept: readonly string[];
  /** Mailboxes whose mails are fetched and deleted while the load runs. */
  readonly emptied: readonly string[];
  readonly senders?: number;
}

/** Between two mails of one sender: enough to keep every node busy, few enough to fetch all. */
const senderPauseMs = 40;
/** Of one wait for a reply. A client of a frozen node goes elsewhere after it. */
const replyDeadlineMs = 8_000;

const loadSender = `load@${domain}`;

/** Runs senders, readers and deleters against whatever members run. */
export class MailLoad {
  readonly book = new Map<string, Entry>();
  acknowledged = 0;
  fetches = 0;
  deletions = 0;
  readonly #ring: Ring;
  readonly #options: LoadOptions;
  readonly #running: Promise<void>[] = [];
  readonly #faults: Error[] = [];
  #serial = 0;
  #turn = 0;
  #stopping = false;

  constructor(ring: Ring, options: LoadOptions) {
    this.#ring = ring;
    this.#options = options;
  }

  start(): void {
    const { kept, emptied, senders = 6 } = this.#options;
    for (let n = 0; n < senders; n += 1) this.#run(() => this.#sendSome(n));
    for (const name of kept) this.#run(() => this.#read(name));
    for (const name of emptied) this.#run(() => this.#delete(name));
  }

  /** Waits until that many more mails are acknowledged, maildrops fetched and mails deleted. */
  async progress(
    more: { readonly mails: number; readonly fetches: number; readonly deletions: number },
    what: string,
    deadlineMs = 60_000,
  ): Promise<void> {
    const mails = this.acknowledged + more.mails;
    const fetches = this.fetches + more.fetches;
    const deletions = this.deletions + more.deletions;
    await waitUntil(
      () => {
        // Thrown below: what a condition throws only counts as "not yet".
        if (this.#faults.length > 0) return true;
        const done =
          this.acknowledged >= mails && this.fetches >= fetches && this.deletions >= deletions;
        if (done) return true;
        throw new Error(
          `${this.acknowledged} mails, ${this.fetches} fetches, ${this.deletions} gone`,
        );
      },
      { deadlineMs, what: `traffic to go on ${what}` },
    );
    this.#throwFaults();
  }

  /** Lets every client finish what it is at. A mail that is being retried is retried to the end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
    this.#throwFaults();
  }

  #run(once: () => Promise<void>): void {
    const loop = async (): Promise<void> => {
      while (!this.#stopping) await once();
    };
    this.#running.push(
      loop().catch((error: unknown) => {
        this.#faults.push(error instanceof Error ? error : new Error(String(error)));
      }),
    );
  }

  #throwFaults(): void {
    const [fault] = this.#faults;
    if (fault !== undefined) throw fault;
  }

  /** Each try goes to another member. */
  #pick(): Member | undefined {
    const running = this.#ring.running;
    return running[this.#turn++ % running.length];
  }

  #write(n: number): Entry {
    const boxes = [...this.#options.kept, ...this.#options.emptied];
    const serial = this.#serial++;
    const mailbox = boxes[serial % boxes.length] ?? "";
    const messageId = `<${serial}.${n}.${process.pid}@load.test>`;
    const text = `${".".repeat(serial % 4)}line ${serial}\r\n`.repeat(1 + (serial % 40));
    const head = `Message-ID: ${messageId}\r\nSubject: load ${serial}\r\n\r\n`;
    const bytes = Buffer.from(head + text);
    const entry: Entry = {
      messageId,
      mailbox,
      bytes,
      state: "open",
      deletion: "none",
      attempts: 0,
    };
    this.book.set(messageId, entry);
    return entry;
  }

  /** A few mails over one connection; what was not acknowledged is tried again elsewhere. */
  async #sendSome(n: number): Promise<void> {
    let entry: Entry | undefined = this.#write(n);
    const giveUpMs = performance.now() + 90_000;
    while (entry !== undefined) {
      const refused = await this.#trySending(n, entry, 5);
      entry = refused;
      if (refused === undefined) return;
      if (performance.now() > giveUpMs) {
        throw new Error(`mail ${refused.messageId} was not accepted by anyone for 90 s`);
      }
      await sleep(50);
    }
  }

  /** Sends `first` and then fresh mails; returns the mail that was under way when it failed. */
  async #trySending(n: number, first: Entry, mails: number): Promise<Entry | undefined> {
    const member = this.#pick();
    if (member === undefined) return first;
    let entry: Entry | undefined = first;
    let client: SmtpClient | undefined;
    try {
      client = await SmtpClient.connect(member.smtp, { deadlineMs: replyDeadlineMs });
      for (let sent = 1; entry !== undefined; sent += 1) {
        entry.attempts += 1;
        const to = [`${entry.mailbox}@${domain}`];
        const { reply, stored } = await client.send({ from: loadSender, to }, entry.bytes);
        if (reply.code >= 500) this.#faults.push(new Error(`sending: ${reply.lines.join(" / ")}`));
        if (!stored) return entry;
        entry.state = "acknowledged";
        this.acknowledged += 1;
        entry = undefined;
        await sleep(senderPauseMs);
        if (sent < mails && !this.#stopping) entry = this.#write(n);
      }
      await client.quit();
    } catch {
      // The connection died. A mail whose reply is missing goes again, to somebody else.
    } finally {
      client?.destroy();
    }
    return entry;
  }

  async #read(name: string): Promise<void> {
    const member = this.#pick();
    if (member !== undefined) {
      try {
        const mails = await fetchAll(member.pop3, name, password, { replyDeadlineMs });
        this.#checkKnown(mails, name);
        this.fetches += 1;
      } catch (error) {
        this.#tolerate(error);
      }
    }
    await sleep(100);
  }

  /** Fetches, deletes every other mail, and writes down what QUIT answered. */
  async #delete(name: string): Promise<void> {
    await sleep(150);
    const member = this.#pick();
    if (member === undefined) return;
    let client: Pop3Client | undefined;
    const chosen: Entry[] = [];
    try {
      client = await loginWhenFree(member.pop3, name, password, replyDeadlineMs);
      const found = this.#checkKnown(await client.all(), name);
      for (const [index, entry] of found.entries()) {
        if (index % 2 === 1) continue;
        await client.expect(`DELE ${index + 1}`);
        chosen.push(entry);
      }
      for (const entry of chosen) entry.deletion = "asked";
      await client.quit();
      for (const entry of chosen) entry.deletion = "confirmed";
      this.deletions += chosen.length;
    } catch (error) {
      this.#tolerate(error);
    } finally {
      client?.destroy();
    }
  }

  #checkKnown(mails: readonly FetchedMail[], mailbox: string): Entry[] {
    return mails.map((mail) => {
      const entry = identify(this.book, mail, mailbox);
      // One client at a time deletes from a mailbox, so nothing here was deleted meanwhile.
      if (entry.deletion === "confirmed") throw new WrongMail(`${entry.messageId} came back`);
      return entry;
    });
  }

  /** Under kills a session may be cut or told to try later; wrong mails and [AUTH] may not be. */
  #tolerate(error: unknown): void {
    if (
      error instanceof WrongMail ||
      (error instanceof Error && error.message.includes("[AUTH]"))
    ) {
      throw error;
    }
  }
}

class WrongMail extends Error {}

function identify(book: ReadonlyMap<string, Entry>, mail: FetchedMail, mailbox: string): Entry {
  const text = mail.bytes.toString("latin1");
  const messageId = /^Message-ID: (<[^>]+>)\r$/m.exec(text)?.[1];
  const entry = book.get(messageId ?? "");
  if (entry === undefined) throw new WrongMail(`unknown mail in ${mailbox}: ${text.slice(0, 500)}`);
  if (entry.mailbox !== mailbox) throw new WrongMail(`${messageId} is in ${mailbox}`);
  if (senderBefore(entry.bytes, mail.bytes) !== loadSender) {
    throw new WrongMail(`${messageId} changed: ${text.slice(0, 500)}`);
  }
  return entry;
}

/**
 * Checks the book against what every member serves: acknowledged mails exactly once and in the
 * right mailbox, confirmed deletions nowhere, nothing doubled, UIDLs equal everywhere.
 */
export async function checkBook(
  ring: Ring,
  book: ReadonlyMap<string, Entry>,
  mailboxes: readonly string[],
): Promise<void> {
  const wrong: string[] = [];
  for (const mailbox of mailboxes) {
    let uidsBefore: string | undefined;
    for (const member of ring.running) {
      const mails = await fetchAll(member.pop3, mailbox, password, { pipelined: true });
      const uids = mails.map((mail) => mail.uid).join();
      if (uidsBefore !== undefined && uids !== uidsBefore) wrong.push(`UIDLs differ: ${mailbox}`);
      uidsBefore = uids;
      const counts = new Map<Entry, number>();
      for (const mail of mails) {
        const entry = identify(book, mail, mailbox);
        counts.set(entry, (counts.get(entry) ?? 0) + 1);
      }
      for (const entry of book.values()) {
        if (entry.mailbox !== mailbox) continue;
        const fault = judge(entry, counts.get(entry) ?? 0);
        if (fault === undefined) continue;
        wrong.push(`${entry.messageId} in ${mailbox} at member ${member.id}: ${fault}`);
      }
    }
  }
  if (wrong.length > 0) {
    throw new Error(`${wrong.length} promises broken:\n${wrong.slice(0, 20).join("\n")}`);
  }
}

function judge(entry: Entry, copies: number): string | undefined {
  const history = `${entry.state}, deletion ${entry.deletion}, ${entry.attempts} attempts`;
  if (copies > 1) return `${copies} copies (${history})`;
  if (entry.deletion === "confirmed" && copies > 0) return `came back (${history})`;
  if (entry.state === "acknowledged" && entry.deletion === "none" && copies === 0) {
    return `lost (${history})`;
  }
  return undefined;
}
