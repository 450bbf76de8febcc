/** Looking at the copies of a mailbox, repairing them and bringing deleted mail back. */
import type { Accounts } from "../mailbox/accounts.js";
import type { Names } from "../mailbox/names.js";
import { parseLogin } from "../mime/address.js";
import { isInGroup } from "../replication/placement.js";
import { type Member, memberById } from "../replication/roster.js";
import {
  AdminError,
  type AdminMethods,
  type LocateReply,
  type RepairedCopy,
  type RepairReply,
} from "../shared/admin.js";
import type { MailboxName, MessageId } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import { text } from "./arguments.js";
import { parseMember } from "./member-commands.js";
import type { MemberFacts } from "./member-status.js";

const askDeadlineMs = 1_500;
const repairDeadlineMs = 25_000;

interface CopyOptions extends MemberFacts {
  readonly accounts: Accounts;
  readonly names: Names;
  readonly domain: string;
}

type LocatedCopy = LocateReply["copies"][number];

export class CopyCommands {
  constructor(private readonly options: CopyOptions) {}

  async locate(address: string): Promise<LocateReply> {
    const { replication, names } = this.options;
    const mailbox = this.mailboxOf(address);
    const placement = replication.groups.placementOf(mailbox);
    const { epoch, members } = replication.roster;
    const copies = await Promise.all(
      members.map(async (member): Promise<LocatedCopy> => {
        const inGroup = isInGroup(placement, member.uuid);
        const where = { id: member.id.toString(), addr: member.addr, inGroup };
        const request = { epoch, mailbox };
        const options = { deadlineMs: askDeadlineMs };
        const reply = await replication.groups.askMember(member, "summary", request, options);
        if (reply?.kind !== "summary") {
          return { ...where, answered: false, messages: 0, tombstones: 0, digest: "" };
        }
        const { messages, tombstones, digest } = reply.summary;
        return { ...where, answered: true, messages, tombstones, digest };
      }),
    );
    const shown = copies.filter((copy) => copy.inGroup || copy.messages + copy.tombstones > 0);
    const group = shown.filter((copy) => copy.inGroup);
    const equal = group.every((copy) => copy.answered && copy.digest === group[0]?.digest);
    const name = await names.read(mailbox);
    return {
      mailbox,
      key: placement.key.toString(),
      account: name.kind === "account" ? "exists" : name.kind,
      copies: equal ? shown : await this.compared(mailbox, shown),
      equal,
    };
  }

  /** Says of each copy what it lacks of all that the copies have together. */
  private async compared(
    mailbox: MailboxName,
    copies: readonly LocatedCopy[],
  ): Promise<readonly LocatedCopy[]> {
    const { replication } = this.options;
    const { members } = replication.roster;
    const sets = await Promise.all(
      copies.map(async ({ answered, addr }) => {
        const member = members.find((one) => one.addr === addr);
        if (!answered || !member) return undefined;
        return replication.idsOf(mailbox, member).catch(() => undefined);
      }),
    );
    const removed = new Set(sets.flatMap((set) => set?.removed ?? []));
    const live = new Set(sets.flatMap((set) => set?.live ?? []).filter((id) => !removed.has(id)));
    return copies.map((copy, index) => {
      const set = sets[index];
      if (!set) return copy;
      const [has, knows] = [new Set(set.live), new Set(set.removed)];
      const messages = [...live].filter((id) => !has.has(id)).length;
      const tombstones = [...removed].filter((id) => !knows.has(id)).length;
      return messages + tombstones === 0 ? copy : { ...copy, lacks: { messages, tombstones } };
    });
  }

  mailboxes(after: string): { names: readonly string[]; more: boolean } {
    const { store } = this.options;
    const names = [...store.catalog()]
      .map(({ mailbox }) => mailbox)
      .filter((name) => name > after)
      .sort();
    const page = names.slice(0, limits.pageEntriesMax);
    return { names: page, more: names.length > page.length };
  }

  async repair(args: AdminMethods["repair"]["args"]): Promise<RepairReply> {
    const { replication } = this.options;
    const mailbox = this.mailboxOf(text(args.address));
    const { cursor } = args;
    const source = args.from === undefined ? undefined : this.memberOf(text(args.from)).uuid;
    const { epoch } = replication.roster;
    // A register that differs between members is decided anew by being read.
    if (!cursor) await this.options.accounts.read(mailbox);
    const next: Record<string, string> = {};
    const members = await Promise.all(
      replication.groups
        .placementOf(mailbox)
        .everyone.filter(({ id }) => !cursor || Object.hasOwn(cursor, id.toString()))
        .map(async (member): Promise<RepairedCopy> => {
          const id = member.id.toString();
          const where = { id, addr: member.addr };
          const after = (cursor?.[id] ?? "") as MessageId | "";
          const request = { epoch, mailbox, after, ...(source && { source }) };
          const options = { deadlineMs: repairDeadlineMs };
          const reply = await replication.groups.askMember(member, "mend", request, options);
          if (reply?.kind !== "mended") return { ...where, answered: false, ...nothing };
          const { messages, tombstones, sound, healed, unhealed } = reply;
          if (reply.next !== undefined) next[id] = reply.next;
          return { ...where, answered: true, messages, tombstones, sound, healed, unhealed };
        }),
    );
    const isDone = Object.keys(next).length === 0;
    return { mailbox, members, ...(!isDone && { cursor: next }) };
  }

  async restore(message: string, from: string): Promise<AdminMethods["restoreMessage"]["reply"]> {
    const { replication, accounts } = this.options;
    const { restoring } = replication;
    const member = this.memberOf(from);
    const where = `member ${member.id} at ${member.addr}`;
    const found = await this.asked(where, () => restoring.recall(message as MessageId, member));
    if (!found) {
      throw new AdminError(
        "unknown",
        `${where} has no record of the message ${message}: it was never there, or its place on ` +
          "disk was reclaimed; try another member with --from",
      );
    }
    const { mailbox } = found;
    if ((await accounts.read(mailbox)).kind === "unknown") {
      throw new AdminError("refused", `there is no account ${mailbox} any more; add it first`);
    }
    if (!found.hasBody) {
      throw new AdminError(
        "refused",
        `${where} knows of the message ${message} in ${mailbox}, but its body is gone from that ` +
          "disk; try another member with --from",
      );
    }
    const answer = await this.asked(where, () => restoring.restore(found, member));
    switch (answer.kind) {
      case "restored":
        return { mailbox, id: answer.message.id, stored: answer.durable, wanted: answer.wanted };
      case "there": {
        const how = answer.id === message ? "was not deleted" : `is there already as ${answer.id}`;
        throw new AdminError("exists", `the message ${message} ${how}; nothing was done`);
      }
      case "gone":
        throw new AdminError("refused", `the body of ${message} can't be read at ${where}`);
      case "failed":
        throw new AdminError("unavailable", `not restored: ${answer.why}; try again`);
    }
  }

  private async asked<T>(where: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new AdminError("unavailable", `${where} does not answer: ${why}`);
    }
  }

  private memberOf(id: string): Member {
    const { roster } = this.options.replication;
    const member = memberById(roster, parseMember(id, roster.ring.bits));
    if (!member) throw new AdminError("unknown", `no member has the id ${id}`);
    return member;
  }

  private mailboxOf(address: string): MailboxName {
    const mailbox = parseLogin(address, this.options.domain);
    if (!mailbox) throw new AdminError("invalid", `${address} is not an address of this ring`);
    return mailbox;
  }
}

const nothing = { messages: 0, tombstones: 0, sound: 0, healed: 0, unhealed: [] };
