/** What must be true of a ring at rest. */
import { placementOf } from "../../src/replication/placement.js";
import type { Roster } from "../../src/replication/roster.js";
import { ringIdOf } from "../../src/ring/identifier.js";
import type { MailboxName, MemberUuid, MessageId } from "../../src/shared/ids.js";
import type { History, Mail } from "./replication-history.js";
import { type ReplicationWorld, ringParameters } from "./replication-world.js";

const groupOf = (roster: Roster, name: string): readonly MemberUuid[] =>
  placementOf(roster, ringIdOf(name, ringParameters.bits)).current.map(({ uuid }) => uuid);

/** Everybody is up, of one roster, and all that is kept is where it belongs and equal. */
export function isAtRest(world: ReplicationWorld, mailboxes: readonly MailboxName[]): boolean {
  return restlessness(world, mailboxes) === undefined;
}

/** Why the ring is not at rest. */
function restlessness(
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
  return mailboxes.map((mailbox) => differenceIn(world, roster, mailbox)).find(Boolean);
}

function differenceIn(
  world: ReplicationWorld,
  roster: Roster,
  mailbox: MailboxName,
): string | undefined {
  const group = groupOf(roster, mailbox);
  const digests = new Set<string>();
  for (const { uuid, disk, left } of world.members) {
    if (left) continue;
    const kept = disk.mailboxes.get(mailbox);
    if (group.includes(uuid)) digests.add(kept?.summary().digest ?? "0".repeat(32));
    else if (kept) return `${uuid} keeps ${mailbox} without need`;
  }
  return digests.size > 1 ? `replicas of ${mailbox} differ` : undefined;
}

export function checkAtRest(
  world: ReplicationWorld,
  history: History,
  mailboxes: readonly MailboxName[],
): void {
  const restless = restlessness(world, mailboxes);
  if (restless) world.violate(`not at rest in time: ${restless}`);
  for (const mail of history.mails) checkMail(world, history, mail);
  const ids = new Set(history.mails.flatMap((mail) => mail.ids));
  for (const mailbox of mailboxes) {
    for (const id of liveIn(world, mailbox)) {
      if (!ids.has(id)) world.violate(`${mailbox}: nobody sent ${id}`);
    }
  }
}

/** Ids that some member shows. */
function liveIn(world: ReplicationWorld, mailbox: MailboxName): ReadonlySet<MessageId> {
  return new Set(
    world.members
      .filter(({ left }) => !left)
      .flatMap(({ disk }) => [...(disk.mailboxes.get(mailbox)?.live.keys() ?? [])]),
  );
}

function checkMail(world: ReplicationWorld, history: History, mail: Mail): void {
  const shown = liveIn(world, mail.mailbox);
  const live = mail.ids.filter((id) => shown.has(id));
  const isRemoved = mail.ids.some((id) => history.removed.has(id));
  const isPerhapsRemoved = mail.ids.some((id) => history.perhapsRemoved.has(id));
  if (live.length > 1)
    world.violate(`${mail.text} appears ${live.length} times: ${live.join(" ")}`);
  if (live.length > 0 && isRemoved) world.violate(`${mail.text} is back`);
  if (mail.acknowledged && live.length === 0 && !isRemoved && !isPerhapsRemoved) {
    world.violate(`${mail.text} in ${mail.mailbox} is lost: ${mail.ids.join(" ")}`);
  }
  for (const id of live) checkBody(world, mail, id);
}

function checkBody(world: ReplicationWorld, mail: Mail, id: string): void {
  for (const { uuid, disk, left } of world.members) {
    if (left) continue;
    for (const message of disk.mailboxes.get(mail.mailbox)?.live.values() ?? []) {
      if (message.id !== id || disk.bodies.get(message.digest)?.toString() === mail.text) continue;
      world.violate(`${uuid} has not the body of ${mail.text}`);
    }
  }
}
