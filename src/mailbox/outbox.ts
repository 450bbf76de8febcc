import type { MailboxName } from "../shared/ids.js";

export const outboxOf = (mailbox: MailboxName): MailboxName => `${mailbox}/outbox` as MailboxName;
