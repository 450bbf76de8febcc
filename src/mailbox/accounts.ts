/** Accounts: what is behind a name that has a password. */
import { canonicalDomain, parseLogin } from "../mime/address.js";
import { validateNewName } from "../mime/new-name.js";
import type { Clock } from "../replication/ports.js";
import { passwordOctetsMax, prepareOpaque } from "../sasl/index.js";
import type { MailboxName } from "../shared/ids.js";
import type { Account, AccountFields } from "./account.js";
import type { Domains } from "./domains.js";
import type { Names } from "./names.js";
import type { Passwords } from "./passwords.js";

export type AccountAnswer =
  | { readonly kind: "account"; readonly account: Account }
  /** `former`: there was one once, so its mail may not be gone yet. */
  | { readonly kind: "unknown"; readonly former: boolean }
  | { readonly kind: "undecided" };

export type AccountChange =
  | { readonly kind: "done"; readonly mailbox: MailboxName }
  | { readonly kind: "exists" }
  /** The name is an alias. */
  | { readonly kind: "alias" }
  | { readonly kind: "unknown" }
  | { readonly kind: "invalid"; readonly why: string }
  /** No majority of the members that keep the account answered. */
  | { readonly kind: "undecided" };

interface AccountsOptions {
  readonly names: Names;
  readonly domains: Domains;
  readonly passwords: Passwords;
  /** The ring's first domain, of names without one. */
  readonly domain: string;
  readonly clock: Clock;
}

export class Accounts {
  constructor(private readonly options: AccountsOptions) {}

  /** The agreed account, read from a majority. An alias is none. */
  async read(mailbox: MailboxName): Promise<AccountAnswer> {
    const answer = await this.options.names.read(mailbox);
    if (answer.kind === "alias") return { kind: "unknown", former: false };
    if (answer.kind !== "account") return answer;
    return { kind: "account", account: { ...answer.fields, version: answer.version } };
  }

  /** Adds an account; at most one of several that try the same name at once succeeds. */
  async add(name: string, password: string): Promise<AccountChange> {
    const parsed = await this.parseNewName(name);
    if (parsed.kind !== "ok") return parsed;
    const refusal = refusePassword(password);
    if (refusal) return refusal;
    const credentials = await this.options.passwords.credentials(password);
    const fields = { ...credentials, createdAtMs: this.options.clock.wallMs() };
    return this.change(parsed.mailbox, (before) => (before ? "exists" : fields));
  }

  /** Session tokens end with the old password; app passwords stay. */
  async changePassword(name: string, password: string): Promise<AccountChange> {
    const refusal = refusePassword(password);
    if (refusal) return refusal;
    const credentials = await this.options.passwords.credentials(password);
    return this.update(name, (account) => ({ ...nextGeneration(account), ...credentials }));
  }

  /** Changes an account that exists. `make` may run several times, on newer values. */
  async update(
    name: string,
    make: (account: AccountFields) => AccountFields,
  ): Promise<AccountChange> {
    const mailbox = parseLogin(name, this.options.domain);
    if (!mailbox) return { kind: "unknown" };
    return this.change(mailbox, (before) => (before ? make(before) : "unknown"));
  }

  async remove(name: string): Promise<AccountChange> {
    const mailbox = parseLogin(name, this.options.domain);
    if (!mailbox) return { kind: "unknown" };
    return this.change(mailbox, (before) => (before ? { removed: true } : "unknown"));
  }

  private async change(
    mailbox: MailboxName,
    make: (
      before: AccountFields | undefined,
    ) => AccountFields | { readonly removed: true } | "exists" | "unknown",
  ): Promise<AccountChange> {
    const kind = await this.options.names.change<"exists" | "unknown" | "alias">(
      mailbox,
      (before) => {
        if (before.kind === "alias") return { refuse: "alias" };
        const made = make(before.kind === "account" ? before.fields : undefined);
        if (typeof made === "string") return { refuse: made };
        return { set: "removed" in made ? "nothing" : made };
      },
    );
    return kind === "done" ? { kind, mailbox } : { kind };
  }

  /** `alice` or `alice@ring.test` of somebody who wants an account or an alias. */
  async parseNewName(name: string): Promise<NewName> {
    const { domains } = this.options;
    const at = name.lastIndexOf("@");
    const valid = validateNewName(at < 0 ? name : name.slice(0, at));
    if (valid.kind === "invalid") return valid;
    const domain = at < 0 ? domains.first : canonicalDomain(name.slice(at + 1));
    const served = domain === undefined ? "no" : await domains.serves(domain);
    if (served === "undecided") return { kind: "undecided" };
    if (served === "no" || domain === undefined) {
      const given = JSON.stringify(name.slice(at + 1));
      return { kind: "invalid", why: `this ring does not serve the domain ${given}` };
    }
    const mailbox = parseLogin(`${valid.local}@${domain}`, domain);
    return mailbox ? { kind: "ok", mailbox } : { kind: "invalid", why: "the address is too long" };
  }
}

/** Voids the account's session tokens. */
export const nextGeneration = (account: AccountFields): AccountFields => ({
  ...account,
  generation: (account.generation ?? 0) + 1,
});
export type NewName =
  | { readonly kind: "ok"; readonly mailbox: MailboxName }
  | { readonly kind: "invalid"; readonly why: string }
  | { readonly kind: "undecided" };

function refusePassword(password: string): { kind: "invalid"; why: string } | undefined {
  if (password.length === 0) return { kind: "invalid", why: "the password is empty" };
  if (Buffer.byteLength(password) > passwordOctetsMax) {
    return { kind: "invalid", why: `the password is longer than ${passwordOctetsMax} octets` };
  }
  if (prepareOpaque(password) === undefined) {
    return { kind: "invalid", why: "the password has a control character" };
  }
  return undefined;
}
