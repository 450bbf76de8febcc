/** What the command line asks of a member, answered for the whole ring. */
import type { Accounts } from "../mailbox/accounts.js";
import { accountRegister } from "../mailbox/accounts.js";
import type { Mailboxes } from "../mailbox/mailboxes.js";
import { parseLogin } from "../mime/address.js";
import type { Member } from "../replication/roster.js";
import { ringIdOf } from "../ring/identifier.js";
import {
  AdminError,
  type AdminMethod,
  type AdminMethods,
  type LookupReply,
  type MemberStatus,
  type StatusReply,
} from "../shared/admin.js";
import type { MailboxName, RingId } from "../shared/ids.js";
import { compareBallots } from "../replication/ballot.js";
import { changedMailbox } from "./account-change.js";
import { text } from "./arguments.js";
import { CredentialCommands, type Credentials } from "./credential-commands.js";
import { CopyCommands } from "./copy-commands.js";
import { MemberCommands, parseMember } from "./member-commands.js";
import { surveyAll } from "./surveys.js";
import { type MemberFacts, memberStatus } from "./member-status.js";
import type { RegisterState } from "../shared/operation.js";

export interface OperatorOptions extends MemberFacts {
  readonly accounts: Accounts;
  readonly mailboxes: Mailboxes;
  readonly credentials: Credentials;
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
      return { mailbox: changedMailbox(change, text(name)) };
    },
    userRemove: ({ name }) => this.userRemove(text(name)),
    userList: () => this.userList(),
    appPasswordAdd: ({ name, label }) => this.credentials.addAppPassword(text(name), text(label)),
    appPasswordList: ({ name }) => this.credentials.listAppPasswords(text(name)),
    appPasswordRevoke: ({ name, id }) => this.credentials.revokeAppPassword(text(name), text(id)),
    sessionCreate: ({ name, password }) => this.credentials.login(text(name), text(password)),
    sessionRefresh: ({ token }) => this.credentials.refresh(text(token)),
    sessionRevoke: ({ name }) => this.credentials.revokeSessions(text(name)),
    sessionRotateKey: ({ dropOld }) => this.credentials.rotateKey(dropOld === true),
    status: () => this.status(),
    memberStatus: () => memberStatus(this.options),
    locate: ({ address }) => this.copies.locate(text(address)),
    lookup: ({ key }) => this.lookup(text(key)),
    leave: ({ id, force }) => this.members.leave(id, force === true),
    leaveProgress: ({ id }) => this.members.progress(text(id)),
    evict: ({ ids, force }) => this.members.evict(ids, force),
    mailboxes: ({ after }) => this.copies.mailboxes(text(after)),
    repair: (args) => this.copies.repair(args),
    restoreMessage: ({ message, from }) => this.copies.restore(text(message), text(from)),
  };

  private readonly members: MemberCommands;
  private readonly copies: CopyCommands;
  private readonly credentials: CredentialCommands;

  constructor(private readonly options: OperatorOptions) {
    this.members = new MemberCommands(options);
    this.copies = new CopyCommands(options);
    this.credentials = new CredentialCommands(options.credentials, options.domain);
  }

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
    return { mailbox: changedMailbox(await accounts.add(name, password), name) };
  }

  private async userRemove(name: string): Promise<{ mailbox: string }> {
    const mailbox = changedMailbox(await this.options.accounts.remove(name), name);
    // What is left after a failure is cleared before the name is given again.
    await this.options.mailboxes.purge(mailbox);
    return { mailbox };
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
    const [members, copies] = await Promise.all([
      Promise.all(roster.members.map((member) => this.statusOf(member))),
      surveyAll(replication),
    ]);
    return {
      ring: roster.ring,
      rosterEpoch: roster.epoch,
      members,
      copies,
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

  private async lookup(key: string): Promise<LookupReply> {
    const { ring, replication, domain } = this.options;
    const { bits } = replication.roster.ring;
    const mailbox = key.includes("@") ? parseLogin(key, domain) : undefined;
    const id = mailbox ? ringIdOf(mailbox, bits) : parseMember(key, bits);
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
