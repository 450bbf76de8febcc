/** What must be true of a ring at rest. */
import type { MailboxContents } from "../../src/replication/ports.js";
import { placementOf } from "../../src/replication/placement.js";
import type { Roster } from "../../src/replication/roster.js";
import { ringIdOf } from "../../src/ring/identifier.js";
import type { MailboxName, MemberUuid, MessageId } from "../../src/shared/ids.js";
import { type History, isRecognisable, type Mail } from "./replication-history.js";
import { type Life, ringParameters } from "./replication-life.js";
import type { ReplicationWorld } from "./replication-world.js";

const groupOf = (roster: Roster, name: string): readonly MemberUuid[] =>
  placementOf(roster, ringIdOf(name, ringParameters.bits)).current.map(({ uuid }) => uuid);

/** Why the ring is not at rest; undefined when it is. */
export function restlessness(
  world: ReplicationWorld,
  mailboxes: readonly MailboxName[],
): string | undefined {
  const staying = world.members.filter(({ left }) => !left);
  const [first] = world.lives;
  if (!first || world.lives.length !== staying.length) return "not everybody is up";
  const { roster } = first.replication;
  for (const { replication, self, serving } of world.lives) {
    if (!serving) return `${self.uuid} does not serve`;
    if (replication.roster.epoch !== roster.epoch) return `${self.uuid} has an old roster`;
  }
  if (roster.members.length !== staying.length) return "the roster is not who is up";
  if (roster.members.some(({ state }) => state !== "active")) return "members are changing";
  return differenceIn(world.lives, roster, new Set(mailboxes));
}

function differenceIn(
  lives: readonly Life[],
  roster: Roster,
  mailboxes: ReadonlySet<MailboxName>,
): string | undefined {
  const digests = new Map<MailboxName, Set<string>>();
  const holders = new Map<MailboxName, number>();
  for (const { store, self } of lives) {
    for (const { mailbox, digest, pending } of store.catalog()) {
      if (!mailboxes.has(mailbox)) continue;
      if (pending) return `${self.uuid} has not settled ${mailbox}`;
      if (!groupOf(roster, mailbox).includes(self.uuid)) {
        return `${self.uuid} keeps ${mailbox} without need`;
      }
      digests.set(mailbox, (digests.get(mailbox) ?? new Set()).add(digest));
      holders.set(mailbox, (holders.get(mailbox) ?? 0) + 1);
    }
  }
  for (const [mailbox, different] of digests) {
    if (different.size > 1) return `replicas of ${mailbox} differ`;
    if (holders.get(mailbox) !== groupOf(roster, mailbox).length) {
      return `${mailbox} is not on every member of its group`;
    }
  }
  return undefined;
}

/** What all members show of each mailbox. */
export type Shown = ReadonlyMap<MailboxName, ReadonlyMap<Life, MailboxContents>>;

export async function showAll(
  world: ReplicationWorld,
  mailboxes: readonly MailboxName[],
): Promise<Shown> {
  const shown = new Map<MailboxName, Map<Life, MailboxContents>>();
  for (const mailbox of mailboxes) {
    const byLife = new Map<Life, MailboxContents>();
    for (const life of world.lives) byLife.set(life, await life.store.contents(mailbox));
    shown.set(mailbox, byLife);
  }
  return shown;
}

export function checkMails(world: ReplicationWorld, history: History, shown: Shown): void {
  const live = new Map([...shown].map(([mailbox, byLife]) => [mailbox, idsIn(byLife)]));
  for (const mail of history.mails) checkMail(world, history, mail, live.get(mail.mailbox));
  for (const [mailbox, ids] of live) {
    for (const id of ids) {
      if (history.byId.get(id)?.mailbox !== mailbox) {
        world.violate(`phantom: nobody sent ${id} in ${mailbox}`);
      }
    }
  }
}

/** Ids that some member shows. */
function idsIn(byLife: ReadonlyMap<Life, MailboxContents>): ReadonlySet<MessageId> {
  return new Set([...byLife.values()].flatMap(({ messages }) => messages.map(({ id }) => id)));
}

function checkMail(
  world: ReplicationWorld,
  history: History,
  mail: Mail,
  shown: ReadonlySet<MessageId> = new Set(),
): void {
  const { text, ids } = mail;
  const live = ids.filter((id) => shown.has(id));
  const isRemoved = ids.some((id) => history.removed.has(id));
  const isPerhapsRemoved = ids.some((id) => history.perhapsRemoved.has(id));
  if (live.length > 1 && isRecognisable(mail)) {
    world.violate(`doubled: ${text} appears ${live.length} times: ${live.join(" ")}`);
  }
  if (
    live.some((id) => history.removed.has(id)) ||
    (live.length > 0 && isRemoved && isRecognisable(mail))
  ) {
    world.violate(`resurrected: ${text} is back at rest: ${live.join(" ")}`);
  }
  if (mail.acknowledged && live.length === 0 && !isRemoved && !isPerhapsRemoved) {
    world.violate(`lost: ${text} in ${mail.mailbox}: ${ids.join(" ")}`);
  }
}
