/** Recipients for people who try out what their own programs do when a server fails. */
import type { Clock } from "../replication/ports.js";
import type { MailboxName } from "../shared/ids.js";
import type { RecipientAnswer } from "./ports.js";

/** No account can be called so. */
const silence = "trial/timeout" as MailboxName;
/** Longer than the SMTP server waits for its receiver. */
const silentMs = 120_000;

/** By local part. They are there when no account or alias has the name. */
const answers: Readonly<Record<string, RecipientAnswer>> = {
  temperror: { kind: "undecided" },
  permerror: { kind: "unknown" },
  timeout: { kind: "mailboxes", mailboxes: [silence] },
};

export function trialAnswer(local: string): RecipientAnswer | undefined {
  return Object.hasOwn(answers, local) ? answers[local] : undefined;
}

/** Whether the mail is one whose data is not answered. */
export function isSilent(mailboxes: readonly MailboxName[]): boolean {
  return mailboxes.includes(silence);
}

/** Resolves when whoever asked has long given up, or when the node stops. */
export async function keepSilent(clock: Clock, signal: AbortSignal): Promise<void> {
  await clock.sleep(silentMs, signal).catch(() => undefined);
}
