/** How long clients wait: from a fault until somebody else serves them. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Fault } from "./faults.js";
import type { MailLoad } from "./load.js";
import type { MailServer } from "./load-options.js";
import { Pop3Client } from "../client/pop3-client.js";

export interface RecoveryOptions {
  readonly load: MailLoad;
  /** A mailbox that nobody else opens. */
  readonly mailbox: string;
  readonly password: string;
}

/** In milliseconds from the fault. */
export interface ServedAgain {
  readonly loginMs: number;
  readonly acceptedMs: number;
}

const replyDeadlineMs = 2_000;
const sessionDeadlineMs = 1_000;
const pauseMs = 20;
const giveUpMs = 120_000;

/** Opens a session at the victim that the fault will break; undefined when there is none to open. */
export async function openSession(
  fault: Fault,
  { mailbox, password }: RecoveryOptions,
): Promise<Pop3Client | undefined> {
  const [victim] = fault.victims;
  if (!fault.holdsSession || victim === undefined) return undefined;
  try {
    return await Pop3Client.login(victim.pop3, mailbox, password, sessionDeadlineMs);
  } catch {
    return undefined;
  }
}

/**
 * A client of the victim turns to the others, one after the other, until it is served: one that
 * fetches, and one that sends. @throws Error when that takes longer than two minutes
 */
export async function servedElsewhere(
  fault: Fault,
  options: RecoveryOptions,
): Promise<ServedAgain> {
  const { load, mailbox, password } = options;
  const startedMs = performance.now();
  const entry = load.write(mailbox);
  const [loginMs, acceptedMs] = await Promise.all([
    firstAt(fault, startedMs, "a login", async (member) => {
      const client = await Pop3Client.login(member.pop3, mailbox, password, replyDeadlineMs);
      client.destroy();
      return true;
    }),
    firstAt(fault, startedMs, "a mail to be accepted", (member) =>
      load.sendOnce(entry, member, replyDeadlineMs),
    ),
  ]);
  return { loginMs, acceptedMs };
}

async function firstAt(
  fault: Fault,
  startedMs: number,
  what: string,
  attempt: (member: MailServer) => Promise<boolean>,
): Promise<number> {
  for (let turn = 0; ; turn += 1) {
    const members = fault.elsewhere();
    const member = members[turn % Math.max(1, members.length)];
    try {
      if (member !== undefined && (await attempt(member))) return performance.now() - startedMs;
    } catch {
      // Killed too, busy, or the lock has not run out yet: the next one.
    }
    if (performance.now() - startedMs > giveUpMs) {
      throw new Error(`waited two minutes for ${what} elsewhere after: ${fault.what}`);
    }
    await sleep(pauseMs);
  }
}
