/** What a load of mail is run against, how, and what it counts. */
import type { Dice } from "./dice.js";

/** Where a member serves mail. */
export interface MailServer {
  readonly id: string;
  readonly smtp: string;
  readonly pop3: string;
}

/** What a load is run against. `running` changes as members come and go. */
export interface MailService {
  readonly running: readonly MailServer[];
}

export interface LoadOptions {
  /** Mailboxes that nobody deletes from while the load runs. */
  readonly kept: readonly string[];
  /** Mailboxes whose mails are fetched and deleted while the load runs. */
  readonly emptied: readonly string[];
  readonly domain: string;
  /** Of every mailbox. */
  readonly password: string;
  readonly senders?: number;
  /** Between two mails of one sender: enough to keep all busy, few enough to fetch all. */
  readonly senderPauseMs?: number;
  /** Of one wait for a reply. A client of a frozen member goes elsewhere after it. */
  readonly replyDeadlineMs?: number;
  /** Of each hundred mails, how many are too large for memory and travel in pieces. */
  readonly largePercent?: number;
  readonly dice: Dice;
  /** `performance.now()` that times in histories count from. */
  readonly startedMs?: number;
}

export interface LoadCounts {
  /** Mails that a client began to send. */
  offered: number;
  /** Answered with 250 after the final dot. */
  acknowledged: number;
  /** Tries that were answered with 4xx; the client goes on elsewhere. */
  refused: number;
  /** Tries whose reply did not come: killed, cut off, or too slow for the client. */
  unanswered: number;
  /** POP3 sessions that ended well, and mails whose octets were compared in them. */
  sessions: number;
  fetched: number;
  /** Deletions confirmed by +OK after QUIT. */
  deleted: number;
}
