/** The end of a drill: what every member serves is held against the book. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Book, identify, isViolation, judgeMaildrop, type Violation } from "./book.js";
import type { MailServer } from "./load-options.js";
import type { FetchedMail } from "../client/pop3-client.js";
import { fetchAll } from "./fetching.js";
import { waitUntil } from "./wait.js";

export interface Check {
  readonly violations: readonly Violation[];
  /** Mailboxes in which members showed different UIDLs, in words. */
  readonly differences: readonly string[];
  /** Mails found through one member. */
  readonly mails: number;
}

/** A retry that was stored twice is one again when the members have compared themselves. */
const doublesSettleMs = 20_000;
const fetchDeadlineMs = 60_000;

/** Fetches every mailbox through every member. */
export async function checkAll(
  book: Book,
  mailboxes: readonly string[],
  members: readonly MailServer[],
  password: string,
): Promise<Check> {
  const endMs = performance.now() + doublesSettleMs;
  for (;;) {
    const check = await checkOnce(book, mailboxes, members, password);
    const mayPass = check.violations.every(({ wrong }) => wrong === "doubled");
    if (check.violations.length === 0 || !mayPass || performance.now() > endMs) return check;
    await sleep(1_000);
  }
}

async function checkOnce(
  book: Book,
  mailboxes: readonly string[],
  members: readonly MailServer[],
  password: string,
): Promise<Check> {
  const violations: Violation[] = [];
  const differences: string[] = [];
  let found = 0;
  for (const mailbox of mailboxes) {
    const uidls = new Map<string, string>();
    for (const [index, { id, pop3 }] of members.entries()) {
      // A member may ask for patience (RFC 2449 §8.1.1, RFC 3206 §4); nothing is under way any more.
      const mails = await waitUntil(() => fetchAll(pop3, mailbox, password, { pipelined: true }), {
        deadlineMs: fetchDeadlineMs,
        what: `${mailbox} to be fetched through member ${id}`,
      });
      if (index === 0) found += mails.length;
      uidls.set(mails.map((mail) => mail.uid).join(), id);
      for (const violation of judgeMaildrop(book, mailbox, mails)) {
        const uids = uidsOf(violation, mails, book);
        const last = `at the end: member ${id} has ${uids.join(" and ") || "no copy"}`;
        violations.push({ ...violation, history: [...violation.history, last] });
      }
    }
    if (uidls.size > 1) {
      differences.push(`UIDLs of ${mailbox} differ: see members ${[...uidls.values()].join(", ")}`);
    }
  }
  return { violations, differences, mails: found };
}

function uidsOf({ messageId, mailbox }: Violation, mails: readonly FetchedMail[], book: Book) {
  const copies = mails.filter((mail) => {
    const entry = identify(book, mail, mailbox);
    return !isViolation(entry) && entry.messageId === messageId;
  });
  return copies.map(({ uid }) => uid);
}
