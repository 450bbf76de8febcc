/** What clients were told, and what must follow from it. */
import type { MailboxName, MessageId } from "../../src/shared/ids.js";
import type { ReplicationWorld } from "./replication-world.js";

/** One mail of a client, over all its tries. */
export interface Mail {
  readonly text: string;
  readonly body: Buffer;
  readonly mailbox: MailboxName;
  readonly ids: MessageId[];
  /** Another honest mail has the same octets. */
  readonly hasTwin: boolean;
  /** When the client last began to send it. */
  lastTryMs: number;
  /** The client has read a 250; no more tries after that. */
  acknowledged: boolean;
}

/** As long as nobody knows that the first try's 250 was not read, a session sees both tries. */
const knownWithinMs = 5_000;

/** One POP3 session. */
export interface Session {
  readonly mailbox: MailboxName;
  readonly openedMs: number;
  committedMs?: { readonly from: number; readonly to: number };
}

/** One operation on an account. `endMs` is infinite when nobody knows what became of it. */
export interface AccountAct {
  readonly name: string;
  readonly kind: "add" | "passwd" | "remove";
  /** What the register holds after it: a password's hash, or nothing. */
  readonly value: string | undefined;
  readonly startMs: number;
  endMs: number;
  outcome: "done" | "no" | "unknown";
}

interface AccountRead {
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly value: string | undefined;
}

export class History {
  readonly mails: Mail[] = [];
  readonly byId = new Map<MessageId, Mail>();
  readonly sessions: Session[] = [];
  readonly acts: AccountAct[] = [];
  readonly reads: AccountRead[] = [];
  /** When the reader was told that it is gone. */
  readonly removed = new Map<MessageId, number>();
  /** Somebody tried to remove them and does not know. */
  readonly perhapsRemoved = new Set<MessageId>();
  readonly #uidls = new Map<string, MessageId>();
  readonly #uidlOf = new Map<MessageId, string>();

  constructor(private readonly world: ReplicationWorld) {}

  /** A UIDL stands for one message and stays (RFC 1939 §7, I7). */
  noteUidl(uidl: string, id: MessageId, mailbox: MailboxName): void {
    const name = `${mailbox} ${uidl}`;
    const [before, other] = [this.#uidlOf.get(id), this.#uidls.get(name)];
    if (before !== undefined && before !== uidl) {
      this.world.violate(`changed UIDL: ${id} had ${before}, has ${uidl}`);
    }
    if (other !== undefined && other !== id) {
      this.world.violate(`changed UIDL: ${uidl} stood for ${other}, stands for ${id}`);
    }
    this.#uidlOf.set(id, uidl);
    this.#uidls.set(name, id);
  }

  /** A session sees no mail twice, and none that was deleted, whichever try to send it this is. */
  checkShown(
    mailbox: MailboxName,
    shown: readonly { readonly id: MessageId }[],
    loginMs: number,
  ): void {
    const ids = new Set(shown.map(({ id }) => id));
    for (const mail of new Set([...ids].flatMap((id) => this.byId.get(id) ?? []))) {
      if (!isRecognisable(mail)) continue;
      const here = mail.ids.filter((id) => ids.has(id));
      // What is deleted while a login goes on may be in its list or not. A try that came after the
      // deletion goes away when all members know; a session may see it until then.
      const isRemoved = mail.ids.some(
        (id) => (this.removed.get(id) ?? Infinity) < loginMs && here.some((other) => other <= id),
      );
      const what = `${mail.text} in ${mailbox}, as ${here.join(" ")}`;
      const isKnown = loginMs - mail.lastTryMs > knownWithinMs;
      if (here.length > 1 && isKnown) this.world.violate(`doubled: a session sees ${what}`);
      if (isRemoved) this.world.violate(`resurrected: a session sees ${what}`);
    }
  }

  /** Two sessions that both commit must not do so while both think that they have the lock. */
  checkSessions(): void {
    const committed = this.sessions.filter((session) => session.committedMs);
    for (const first of committed) {
      for (const second of committed) {
        if (first === second || first.mailbox !== second.mailbox) continue;
        const [a, b] = [first.committedMs, second.committedMs];
        if (!a || !b || first.openedMs >= second.openedMs) continue;
        if (a.from > second.openedMs && a.from < b.to) {
          this.world.violate(
            `two sessions of ${first.mailbox} commit at a time: opened ${first.openedMs.toFixed()}, ` +
              `${second.openedMs.toFixed()}, committed ${a.from.toFixed()}-${a.to.toFixed()}, ` +
              `${b.from.toFixed()}-${b.to.toFixed()}`,
          );
        }
      }
    }
  }

  /** Reads and the final state see no act that a later one was acknowledged to have replaced. */
  checkAccounts(): void {
    for (const read of this.reads) this.#checkRead(read);
    for (const name of new Set(this.acts.map((act) => act.name))) this.#checkAdds(name);
  }

  #checkRead(read: AccountRead): void {
    const acts = this.acts.filter(({ name }) => name === read.name);
    const sources = acts.filter((act) => isSource(act, read));
    const isExplained =
      sources.some((source) => !isReplaced(source.endMs, acts, read.startMs)) ||
      (read.value === undefined && !isReplaced(0, acts, read.startMs));
    if (isExplained) return;
    const at = Math.round(read.startMs);
    const what = `${read.name} was read as ${read.value ?? "nothing"} at ${at} ms`;
    this.world.violate(`${read.value === undefined ? "no such user" : "lost change"}: ${what}`);
  }

  /** At most one of several who add a name that nobody removes is told that it succeeded. */
  #checkAdds(name: string): void {
    const acts = this.acts.filter((act) => act.name === name);
    if (acts.some(({ kind }) => kind === "remove")) return;
    const added = acts.filter(({ kind, outcome }) => kind === "add" && outcome === "done");
    if (added.length > 1) {
      this.world.violate(`two accounts: ${name} was added ${added.length} times`);
    }
  }
}

/**
 * A retry through a node whose clock is behind gets an older id than the first try, and may show up
 * as a second copy; one without a Message-ID may be another mail (see ARCHITECTURE.md).
 */
export const isRecognisable = ({ ids, hasTwin }: Mail): boolean =>
  !hasTwin && ids.every((id, index) => index === 0 || (ids[index - 1] ?? "") < id);

function isSource(act: AccountAct, read: AccountRead): boolean {
  return act.outcome !== "no" && act.value === read.value && act.startMs < read.endMs;
}

/** An act that was acknowledged before `beforeMs` began after the end of the one at `endMs`. */
function isReplaced(endMs: number, acts: readonly AccountAct[], beforeMs: number): boolean {
  return acts.some((act) => act.outcome === "done" && act.startMs > endMs && act.endMs < beforeMs);
}
