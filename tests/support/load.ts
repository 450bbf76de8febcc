/** The drill's mail traffic and its book, for tests: the first broken promise throws. */
import { createDice } from "../../src/drill/dice.js";
import { type Book, judgeMaildrop, type Violation } from "../../src/drill/book.js";
import { MailLoad as DrillLoad } from "../../src/drill/load.js";
import { fetchAll } from "./pop3-client.js";
import { domain, password, type Ring } from "./ring.js";
import { waitUntil } from "./wait.js";

interface LoadOptions {
  /** Mailboxes that nobody deletes from while the load runs. */
  readonly kept: readonly string[];
  /** Mailboxes whose mails are fetched and deleted while the load runs. */
  readonly emptied: readonly string[];
  readonly senders?: number;
}

/** Runs senders, readers and deleters against whatever members run. */
export class MailLoad extends DrillLoad {
  constructor(ring: Ring, options: LoadOptions) {
    super(ring, { ...options, domain, password, dice: createDice(process.pid) });
  }

  /** Waits until that many more mails are acknowledged, maildrops fetched and mails deleted. */
  async progress(
    more: { readonly mails: number; readonly fetches: number; readonly deletions: number },
    what: string,
    deadlineMs = 60_000,
  ): Promise<void> {
    const { counts } = this;
    const mails = counts.acknowledged + more.mails;
    const fetches = counts.sessions + more.fetches;
    const deletions = counts.deleted + more.deletions;
    await waitUntil(
      () => {
        // Thrown below: what a condition throws only counts as "not yet".
        if (this.violations.length > 0) return true;
        const { acknowledged, sessions, deleted } = counts;
        if (acknowledged >= mails && sessions >= fetches && deleted >= deletions) return true;
        throw new Error(`${acknowledged} mails, ${sessions} fetches, ${deleted} gone`);
      },
      { deadlineMs, what: `traffic to go on ${what}` },
    );
    throwBroken(this.violations);
  }

  override async stop(): Promise<void> {
    await super.stop();
    throwBroken(this.violations);
  }
}

function throwBroken(violations: readonly Violation[]): void {
  if (violations.length === 0) return;
  const shown = violations.slice(0, 20).map(({ wrong, mailbox, messageId, detail, history }) => {
    return [`${wrong}: ${messageId} in ${mailbox}: ${detail}`, ...history].join("\n    ");
  });
  throw new Error(`${violations.length} promises broken:\n${shown.join("\n")}`);
}

/**
 * Checks the book against what every member serves: acknowledged mails exactly once and in the
 * right mailbox, confirmed deletions nowhere, nothing doubled, UIDLs equal everywhere.
 */
export async function checkBook(
  ring: Ring,
  book: Book,
  mailboxes: readonly string[],
): Promise<void> {
  const wrong: Violation[] = [];
  for (const mailbox of mailboxes) {
    let uidsBefore: string | undefined;
    for (const member of ring.running) {
      const mails = await fetchAll(member.pop3, mailbox, password, { pipelined: true });
      const uids = mails.map((mail) => mail.uid).join();
      if (uidsBefore !== undefined && uids !== uidsBefore) {
        throw new Error(`UIDLs of ${mailbox} differ at member ${member.id}`);
      }
      uidsBefore = uids;
      wrong.push(...judgeMaildrop(book, mailbox, mails));
    }
  }
  throwBroken(wrong);
}
