/** What the command line asks of a member, answered for the whole ring. */
import type { AccountChange, Accounts } from "../mailbox/accounts.js";
import { accountRegister } from "../mailbox/accounts.js";
import type { Mailboxes } from "../mailbox/mailboxes.js";
import { parseLogin } from "../mime/address.js";
import type { MembershipAnswer } from "../replication/membership.js";
import { isInGroup } from "../replication/placement.js";
import { type Member, memberById } from "../replication/roster.js";
import { parseRingId, ringIdOf } from "../ring/identifier.js";
import {
  AdminError,
  type AdminMethod,
  type AdminMethods,
  type LocateReply,
  type LookupReply,
  type MemberStatus,
  type StatusReply,
} from "../shared/admin.js";
import type { MailboxName, RingId } from "../shared/ids.js";
import { compareBallots } from "../replication/ballot.js";
import { type MemberFacts, memberStatus } from "./member-status.js";
import type { RegisterState } from "../shared/operation.js";

export interface OperatorOptions extends MemberFacts {
  readonly accounts: Accounts;
  readonly mailboxes: Mailboxes;
  readonly domain: string;
}

type Handlers = {
  readonly [M in AdminMethod]: (
    args: AdminMethods[M]["args"],
  ) => Promise<AdminMethods[M]["reply"]> | AdminMethods[M]["reply"];
};

const askDeadlineMs = 1_500;

export class Operator {
  private readonly handlers: Handlers = {
    userAdd: ({ name, password }) => this.userAdd(text(name), text(password)),
    userPasswd: async ({ name, password }) => {
      const change = await this.options.accounts.changePassword(text(name), text(password));
      return { mailbox: this.changed(change, text(name)) };
    },
    userRemove: ({ name }) => this.userRemove(text(name)),
    userList: () => this.userList(),
    status: () => this.status(),
    memberStatus: () => memberStatus(this.options),
    locate: ({ address }) => this.locate(text(address)),
    lookup: ({ key }) => this.lookup(text(key)),
    leave: async ({ id }) => {
      const own = this.options.ring.snapshot().self.id;
      const wanted = id === undefined ? own : this.parseId(text(id));
      return this.begun(wanted, await this.options.replication.leave(wanted));
    },
    leaveProgress: ({ id }) => this.options.replication.departure(this.parseId(text(id))),
    evict: async ({ id, force }) => {
      const wanted = this.parseId(text(id));
      return this.begun(wanted, await this.options.replication.evict(wanted, force === true));
    },
  };

  constructor(private readonly options: OperatorOptions) {}

  /** @throws AdminError */
  async run(method: AdminMethod, args: unknown): Promise<unknown> {
    if (!Object.hasOwn(this.handlers, method)) {
      throw new AdminError("unimplemented", `this member does not know ${String(method)}`);
    }
    if (typeof args !== "object" || args === null) {
      throw new AdminError("invalid", "the arguments are not an object");
    }
    return this.handlers[method](args as never);
  }

  private async userAdd(name: string, password: string): Promise<{ mailbox: string }> {
    const { accounts, mailboxes } = this.options;
    const parsed = accounts.parseName(name);
    const before = parsed.kind === "ok" ? await accounts.read(parsed.mailbox) : undefined;
    if (parsed.kind === "ok" && before?.kind === "unknown" && before.former) {
      // Mail of an earlier holder of the name must not meet the new one.
      const purged = await mailboxes.purge(parsed.mailbox);
      if (!purged) {
        const why = "too few members answer to clear the mailbox of its former owner; try again";
        throw new AdminError("unavailable", why);
      }
    }
    return { mailbox: this.changed(await accounts.add(name, password), name) };
  }

  private async userRemove(name: string): Promise<{ mailbox: string }> {
    const mailbox = this.changed(await this.options.accounts.remove(name), name);
    // What is left after a failure is cleared before the name is given again.
    await this.options.mailboxes.purge(mailbox);
    return { mailbox };
  }

  private changed(change: AccountChange, name: string): MailboxName {
    switch (change.kind) {
      case "done":
        return change.mailbox;
      case "exists":
        throw new AdminError("exists", `there is an account ${name} already`);
      case "unknown":
        throw new AdminError("unknown", `there is no account ${name}`);
      case "invalid":
        throw new AdminError("invalid", change.why);
      case "undecided":
        throw new AdminError(
          "unavailable",
          "no majority of the members that keep this account answers; nothing is certain, try again",
        );
    }
  }

  private async userList(): Promise<{ users: string[]; complete: boolean }> {
    const { replication } = this.options;
    const newest = new Map<string, RegisterState>();
    let silent = 0;
    await Promise.all(
      replication.roster.members.map(async (member) => {
        try {
          for (let after = "", more = true; more; ) {
            const page = await replication.peers.call(member, "accounts", { after });
            for (const { register, state } of page.registers) {
              const known = newest.get(register);
              if (!known || compareBallots(state.accepted, known.accepted) > 0) {
                newest.set(register, state);
              }
            }
            after = page.registers.at(-1)?.register ?? "";
            more = page.more;
          }
        } catch {
          silent += 1;
        }
      }),
    );
    const users = [...newest]
      .filter(([, { value }]) => (value as { passwordHash?: string } | null)?.passwordHash)
      .map(([register]) => register.slice(accountRegister("" as MailboxName).length))
      .sort();
    return { users, complete: silent <= replication.roster.ring.replicas / 2 };
  }

  private async status(): Promise<StatusReply> {
    const { replication } = this.options;
    const { roster } = replication;
    const members = await Promise.all(roster.members.map((member) => this.statusOf(member)));
    return {
      ring: roster.ring,
      rosterEpoch: roster.epoch,
      members,
      notices: noticesFor(members, roster.ring.replicas),
    };
  }

  private async statusOf(member: Member): Promise<MemberStatus> {
    const { replication } = this.options;
    try {
      const options = { deadlineMs: askDeadlineMs };
      const reply = await replication.peers.call(member, "status", {}, options);
      return { ...(reply.status as MemberStatus), state: member.state };
    } catch {
      return {
        id: member.id.toString(),
        addr: member.addr,
        uuid: member.uuid,
        state: "unreachable",
        successors: [],
        fingers: [],
        keysOwned: 0,
        keysCopied: 0,
        messages: 0,
        rosterEpoch: 0,
      };
    }
  }

  private async locate(address: string): Promise<LocateReply> {
    const { replication, accounts, domain } = this.options;
    const mailbox = parseLogin(address, domain);
    if (!mailbox) throw new AdminError("invalid", `${address} is not an address of this ring`);
    const placement = replication.groups.placementOf(mailbox);
    const { epoch, members } = replication.roster;
    const copies = await Promise.all(
      members.map(async (member) => {
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
    const account = await accounts.read(mailbox);
    return {
      mailbox,
      key: placement.key.toString(),
      account: account.kind === "account" ? "exists" : account.kind,
      copies: shown,
      equal: group.every((copy) => copy.answered && copy.digest === group[0]?.digest),
    };
  }

  private async lookup(key: string): Promise<LookupReply> {
    const { ring, replication, domain } = this.options;
    const { bits } = replication.roster.ring;
    const mailbox = key.includes("@") ? parseLogin(key, domain) : undefined;
    const id = mailbox ? ringIdOf(mailbox, bits) : this.parseId(key);
    const result = await ring.lookup(id);
    if (!result.ok) {
      throw new AdminError("unavailable", `the key ${id} could not be found: ${result.reason}`);
    }
    const shown = ({ id: at, addr }: { id: RingId; addr: string }) => ({ id: at.toString(), addr });
    return {
      key: id.toString(),
      owner: shown(result.owner),
      path: result.path.map(shown),
      timeouts: result.timeouts,
    };
  }

  private parseId(id: string): RingId {
    const parsed = parseRingId(id, this.options.replication.roster.ring.bits);
    if (!parsed.ok) throw new AdminError("invalid", parsed.error);
    return parsed.id;
  }

  private begun(id: RingId, answer: MembershipAnswer): { id: string; epoch: number } {
    const { replication } = this.options;
    switch (answer.kind) {
      case "done":
        return { id: id.toString(), epoch: answer.roster.epoch };
      case "refused":
        throw new AdminError("refused", answer.why);
      case "busy":
        throw new AdminError(
          "unavailable",
          `another change is in progress (${answer.why}); try again`,
        );
      case "undecided": {
        const known = memberById(replication.roster, id) ? "" : " (it is not on the roster)";
        const why = `no majority of the members answers${known}; start the others and try again`;
        throw new AdminError("unavailable", why);
      }
    }
  }
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  throw new AdminError("invalid", "an argument is not a text");
}

function noticesFor(members: readonly MemberStatus[], replicas: number): string[] {
  const notices: string[] = [];
  for (const { id, addr, state } of members) {
    if (state === "unreachable") notices.push(`member ${id} at ${addr} does not answer`);
    if (state === "joining") notices.push(`member ${id} at ${addr} is joining`);
    if (state === "leaving") notices.push(`member ${id} at ${addr} is leaving`);
  }
  const answering = members.filter((member) => member.state !== "unreachable").length;
  if (answering <= replicas) {
    const copies = answering === 1 ? "one copy" : `${answering} copies`;
    notices.push(`new mail gets ${copies} at the most, not ${replicas + 1}: start more members`);
  }
  return notices;
}
