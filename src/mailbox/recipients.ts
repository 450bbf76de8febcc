/** Where a mail for an address goes, and whether it may be taken. */
import { addressDomain, canonicalMailbox } from "../mime/address.js";
import type { MailboxName } from "../shared/ids.js";
import type { Domains } from "./domains.js";
import { type Expansion, expand } from "./expansion.js";
import { type AccountFacts, catchAllOf, type Names } from "./names.js";
import type { RecipientAnswer } from "./ports.js";
import type { Quotas } from "./quotas.js";
import { trialAnswer } from "./trial.js";

interface RecipientsOptions {
  readonly domains: Domains;
  readonly names: Names;
  readonly quotas: Quotas;
  /** Recipients that fail on purpose, see `trial.ts`. */
  readonly trial: boolean;
}

export class Recipients {
  constructor(private readonly options: RecipientsOptions) {}

  /** `octets`: of the mail, as its client says. */
  async resolve(address: string, octets = 0): Promise<RecipientAnswer> {
    const { domains } = this.options;
    const where = addressDomain(address, domains.first);
    if (where.kind === "invalid") return where;
    const { domain } = where;
    if (domain === undefined) return { kind: "relay" };
    switch (await domains.serves(domain)) {
      case "no":
        return { kind: "relay" };
      case "undecided":
        return { kind: "undecided" };
      case "yes":
    }
    const named = canonicalMailbox(address, [domain], domains.first);
    if (named.kind !== "mailbox") return named;
    return this.answerFor(named.mailbox, domain, octets);
  }

  private async answerFor(
    mailbox: MailboxName,
    domain: string,
    octets: number,
  ): Promise<RecipientAnswer> {
    const { domains, trial } = this.options;
    const local = mailbox.slice(0, mailbox.lastIndexOf("@"));
    let found = await this.expand(mailbox);
    const onTrial = trial && found.kind === "unknown" ? trialAnswer(local) : undefined;
    if (onTrial) return onTrial;
    if (found.kind === "unknown") found = await this.expand(catchAllOf(domain));
    // RFC 5321 §4.5.1: whoever looks after the ring looks after all of its domains.
    if (found.kind === "unknown" && local === "postmaster" && domain !== domains.first) {
      found = await this.expand(`postmaster@${domains.first}` as MailboxName);
    }
    if (found.kind === "nowhere") return { kind: "unknown" };
    return found.kind === "accounts" ? this.withRoom(found.accounts, octets) : found;
  }

  /** Following aliases; no catch-all, and full or not. */
  expand(mailbox: MailboxName): Promise<Expansion> {
    return expand(mailbox, (name) => this.options.names.recall(name));
  }

  private async withRoom(
    accounts: ReadonlyMap<MailboxName, AccountFacts>,
    octets: number,
  ): Promise<RecipientAnswer> {
    const { quotas } = this.options;
    const rooms = await Promise.all(
      [...accounts].map(([mailbox, { quota }]) => quotas.check(mailbox, quota, octets)),
    );
    if (rooms.includes("undecided")) return { kind: "undecided" };
    if (rooms.includes("full")) return { kind: "overQuota" };
    return { kind: "mailboxes", mailboxes: [...accounts.keys()] };
  }
}
