/** Accounts, as the command line asks for them. */
import type { AccountFields, Quota } from "../mailbox/account.js";
import type { Mailboxes } from "../mailbox/mailboxes.js";
import type { NameState } from "../mailbox/names.js";
import { addAccount } from "../mailbox/newcomers.js";
import type { Registry } from "../mailbox/registry.js";
import { parseLogin } from "../mime/address.js";
import { AdminError, type AdminMethods, type QuotaReply, type UserReply } from "../shared/admin.js";
import type { MailboxName } from "../shared/ids.js";
import { changedMailbox } from "./account-change.js";
import { text } from "./arguments.js";
import type { MemberFacts } from "./member-status.js";
import { ringNames, undecided } from "./ring-names.js";

export interface AccountFacilities extends MemberFacts, Registry {
  readonly mailboxes: Mailboxes;
  /** The ring's first domain. */
  readonly domain: string;
}

/** All may throw AdminError. */
export class AccountCommands {
  constructor(private readonly options: AccountFacilities) {}

  async add(name: string, password: string): Promise<{ mailbox: string }> {
    const added = await addAccount(this.options, name, password);
    if (added.kind === "unpurged") {
      const why = "too few members answer to clear the mailbox of its former owner; try again";
      throw new AdminError("unavailable", why);
    }
    return { mailbox: changedMailbox(added, name) };
  }

  async changePassword(name: string, password: string): Promise<{ mailbox: string }> {
    const change = await this.options.accounts.changePassword(name, password);
    return { mailbox: changedMailbox(change, name) };
  }

  async remove(name: string): Promise<AdminMethods["userRemove"]["reply"]> {
    const { accounts, mailboxes, replication } = this.options;
    const mailbox = changedMailbox(await accounts.remove(name), name);
    // What is left after a failure is cleared before the name is given again.
    await mailboxes.purge(mailbox);
    const { names } = await ringNames(replication);
    return { mailbox, aliases: aliasesTo(names, mailbox) };
  }

  async disable(name: string, disabled: unknown): Promise<{ mailbox: string }> {
    if (typeof disabled !== "boolean") throw new AdminError("invalid", "say true or false");
    const change = await this.options.accounts.update(name, ({ disabled: _was, ...rest }) =>
      disabled ? { ...rest, disabled } : rest,
    );
    return { mailbox: changedMailbox(change, name) };
  }

  async setQuota(
    args: AdminMethods["userQuota"]["args"],
  ): Promise<AdminMethods["userQuota"]["reply"]> {
    const name = text(args.name);
    const [octets, messages] = [bound(args.octets), bound(args.messages)];
    let made: AccountFields["quota"];
    const change = await this.options.accounts.update(name, ({ quota: own, ...rest }) => {
      if (args.standard === true) {
        made = undefined;
        return rest;
      }
      const before = this.options.quotas.quotaOf(own);
      made = changedQuota(before, octets, messages);
      return { ...rest, quota: made };
    });
    return { mailbox: changedMailbox(change, name), quota: this.quotaReply(made) };
  }

  async list(): Promise<{ users: string[]; complete: boolean }> {
    const { names, complete } = await ringNames(this.options.replication);
    const users = [...names].flatMap(([name, { kind }]) => (kind === "account" ? [name] : []));
    return { users, complete };
  }

  async show(name: string): Promise<UserReply> {
    const { accounts, quotas, replication, domain } = this.options;
    const mailbox = parseLogin(name, domain);
    const answer = mailbox ? await accounts.read(mailbox) : undefined;
    if (answer?.kind === "undecided") undecided(`the account ${name}`);
    if (!mailbox || answer?.kind !== "account") {
      throw new AdminError("unknown", `there is no account ${name}`);
    }
    const [usage, { names, complete }] = await Promise.all([
      quotas.usageOf(mailbox),
      ringNames(replication),
    ]);
    const { disabled = false, createdAtMs, appPasswords = [], quota } = answer.account;
    return {
      mailbox,
      disabled,
      createdAtMs,
      quota: this.quotaReply(quota),
      ...(usage && { usage }),
      appPasswords: appPasswords.map(({ id, label, createdAtMs: since }) => ({
        id,
        label,
        createdAtMs: since,
      })),
      aliases: aliasesTo(names, mailbox),
      complete,
    };
  }

  /** RFC 5321 §4.5.1: mail to postmaster is to reach somebody. */
  async postmasterNotices(): Promise<readonly string[]> {
    const { recipients, domain } = this.options;
    const address = `postmaster@${domain}`;
    switch ((await recipients.resolve(address)).kind) {
      case "unknown":
      case "disabled":
      case "loop":
        return [`nobody gets the mail for ${address}: chord alias add postmaster NAME`];
      default:
        return [];
    }
  }

  private quotaReply(own: Quota | undefined): QuotaReply {
    return { ...this.options.quotas.quotaOf(own), own: own !== undefined };
  }
}

type Bound = number | null | undefined;

function bound(value: unknown): Bound {
  if (value === undefined || value === null) return value;
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
  throw new AdminError("invalid", "a quota is a whole number above 0");
}

/** null takes a bound away, undefined leaves it. */
function changedQuota(before: Quota, octets: Bound, messages: Bound): Quota {
  const next = {
    octets: octets === undefined ? before.octets : octets,
    messages: messages === undefined ? before.messages : messages,
  };
  return {
    ...(typeof next.octets === "number" && { octets: next.octets }),
    ...(typeof next.messages === "number" && { messages: next.messages }),
  };
}

/** Aliases that lead to an account, directly or through others. */
function aliasesTo(
  names: ReadonlyMap<MailboxName, NameState>,
  mailbox: MailboxName,
): readonly MailboxName[] {
  const leading = new Set<MailboxName>([mailbox]);
  for (let grows = true; grows; ) {
    const before = leading.size;
    for (const [name, state] of names) {
      if (state.kind !== "alias") continue;
      if (state.fields.targets.some((target) => leading.has(target))) leading.add(name);
    }
    grows = leading.size > before;
  }
  leading.delete(mailbox);
  return [...leading].sort();
}
