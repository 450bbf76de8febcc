/** The book in which every promise about a mail is kept, and how it is judged. */
import type { FetchedMail } from "../client/pop3-client.js";
import { senderBefore } from "./trace.js";

/** What became of one mail, as far as its client knows. */
export interface Entry {
  readonly messageId: string;
  readonly mailbox: string;
  readonly sender: string;
  readonly bytes: Buffer;
  /** `open`: never acknowledged; it may be there once, or not at all. */
  state: "open" | "acknowledged";
  /** `asked`: a QUIT whose answer was lost or was no; `confirmed`: a QUIT answered with +OK. */
  deletion: "none" | "asked" | "confirmed";
  attempts: number;
  /** What happened to it, a line each, with the time. */
  readonly history: string[];
}

export type Book = ReadonlyMap<string, Entry>;

/**
 * `lost`: acknowledged, not deleted, not there. `doubled`: there more than once. `resurrected`:
 * there although its deletion was confirmed. `corrupt`: other octets than were sent, a mail that
 * nobody sent, or one in a wrong mailbox. `refused`: turned away for good (5xx, [AUTH]), never
 * accepted, or an answer that the protocol does not allow.
 */
export const wrongs = ["lost", "doubled", "resurrected", "corrupt", "refused"] as const;
export type Wrong = (typeof wrongs)[number];

/** A broken promise. */
export interface Violation {
  readonly wrong: Wrong;
  readonly mailbox: string;
  /** Empty when it is about no mail of the book. */
  readonly messageId: string;
  readonly detail: string;
  readonly history: readonly string[];
}

export function violationOf(entry: Entry, wrong: Wrong, detail: string): Violation {
  const { messageId, mailbox, history } = entry;
  return { wrong, mailbox, messageId, detail, history: [...history] };
}

const shownCharsMax = 300;

/** The entry of a mail that was fetched from `mailbox`, or what is wrong with it. */
export function identify(book: Book, mail: FetchedMail, mailbox: string): Entry | Violation {
  const text = mail.bytes.toString("latin1");
  const messageId = /^Message-ID: (<[^>]+>)\r$/m.exec(text)?.[1] ?? "";
  const entry = book.get(messageId);
  if (entry === undefined) {
    const detail = `nobody sent this: ${JSON.stringify(text.slice(0, shownCharsMax))}`;
    return { wrong: "corrupt", mailbox, messageId: "", detail, history: [] };
  }
  if (entry.mailbox !== mailbox) {
    return violationOf(entry, "corrupt", `found in the mailbox of ${mailbox}`);
  }
  if (senderBefore(entry.bytes, mail.bytes) !== entry.sender) {
    const detail = `its octets changed: ${JSON.stringify(text.slice(0, shownCharsMax))}`;
    return violationOf(entry, "corrupt", detail);
  }
  return entry;
}

export function isViolation(found: Entry | Violation): found is Violation {
  return "wrong" in found;
}

/** Holds a mailbox, as one member serves it at rest, against the book. */
export function judgeMaildrop(
  book: Book,
  mailbox: string,
  mails: readonly FetchedMail[],
): Violation[] {
  const wrong: Violation[] = [];
  const counts = new Map<Entry, number>();
  for (const mail of mails) {
    const found = identify(book, mail, mailbox);
    if (isViolation(found)) wrong.push(found);
    else counts.set(found, (counts.get(found) ?? 0) + 1);
  }
  for (const entry of book.values()) {
    if (entry.mailbox !== mailbox) continue;
    const violation = judge(entry, counts.get(entry) ?? 0);
    if (violation !== undefined) wrong.push(violation);
  }
  return wrong;
}

function judge(entry: Entry, copies: number): Violation | undefined {
  if (entry.deletion === "confirmed" && copies > 0) {
    return violationOf(entry, "resurrected", "it is there although its deletion was confirmed");
  }
  if (copies > 1) return violationOf(entry, "doubled", `${copies} copies are there`);
  if (entry.state === "acknowledged" && entry.deletion === "none" && copies === 0) {
    return violationOf(entry, "lost", "it was acknowledged and is not there");
  }
  return undefined;
}
