/** The maildrops of an account, and of queues: mailboxes whose names end in where they belong. */
import type { MailboxName } from "../shared/ids.js";

/**
 * `inbox` for people's mail; `outbox` for copies of what was sent; `config` for answers of the ring
 * to the account's programs, `data` for what their peers send them.
 */
export type Folder = "inbox" | "outbox" | "config" | "data";

export function folderOf(mailbox: MailboxName, folder: Folder): MailboxName {
  return folder === "inbox" ? mailbox : (`${mailbox}/${folder}` as MailboxName);
}

/** Every folder, for when an account is removed. */
export const folders: readonly Folder[] = ["inbox", "outbox", "config", "data"];

/** Of a queue of the ring, by the ring's first domain. */
export const queueMailbox = (queue: string, domain: string): MailboxName =>
  `${queue}@${domain}/queue` as MailboxName;

/** Names of queues and exchanges: 1 to 64 of `a-z 0-9 . _ -`, the first a letter or digit. */
export const isQueueName = (name: string): boolean => /^[a-z0-9][a-z0-9._-]{0,63}$/.test(name);
