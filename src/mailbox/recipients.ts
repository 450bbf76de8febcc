/** Where a mail for an address goes, and whether it may be taken. */
import { addressDomain, canonicalMailbox, subaddressOf } from "../mime/address.js";
import { ringLocalPart } from "../mime/new-name.js";
import type { MailboxName } from "../shared/ids.js";
import type { Domains } from "./domains.js";
import { type Expansion, expand } from "./expansion.js";
import { type Folder, folderOf } from "./folders.js";
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
    const local = named.mailbox.slice(0, named.mailbox.lastIndexOf("@"));
    const detail = subaddressOf(address);
    // Nobody's name, so no alias and no catch-all gets what is for the ring.
    if (local === ringLocalPart) return ringAnswer(detail);
    const folder = detail === "data" ? "data" : "inbox";
    return this.answerFor(named.mailbox, { local, domain, octets, folder });
  }

  private async answerFor(
    mailbox: MailboxName,
    { local, domain, octets, folder }: Wanted,
  ): Promise<RecipientAnswer> {
    const { domains, trial } = this.options;
    let found = await this.expand(mailbox);
    const onTrial = trial && found.kind === "unknown" ? trialAnswer(local) : undefined;
    if (onTrial) return onTrial;
    if (found.kind === "unknown") found = await this.expand(catchAllOf(domain));
    // RFC 5321 §4.5.1: whoever looks after the ring looks after all of its domains.
    if (found.kind === "unknown" && local === "postmaster" && domain !== domains.first) {
      found = await this.expand(`postmaster@${domains.first}` as MailboxName);
    }
    if (found.kind === "nowhere") return { kind: "unknown" };
    return found.kind === "accounts" ? this.withRoom(found.accounts, octets, folder) : found;
  }

  /** Following aliases; no catch-all, and full or not. */
  expand(mailbox: MailboxName): Promise<Expansion> {
    return expand(mailbox, (name) => this.options.names.recall(name));
  }

  private async withRoom(
    accounts: ReadonlyMap<MailboxName, AccountFacts>,
    octets: number,
    folder: Folder,
  ): Promise<RecipientAnswer> {
    const { quotas } = this.options;
    const mailboxes = [...accounts.keys()].map((mailbox) => folderOf(mailbox, folder));
    const rooms = await Promise.all(
      [...accounts.values()].map(({ quota }, index) =>
        quotas.check(mailboxes[index] as MailboxName, quota, octets),
      ),
    );
    if (rooms.includes("undecided")) return { kind: "undecided" };
    if (rooms.includes("full")) return { kind: "overQuota" };
    return { kind: "mailboxes", mailboxes };
  }
}

interface Wanted {
  /** Of the mailbox's name. */
  readonly local: string;
  readonly domain: string;
  readonly octets: number;
  /** What is written to `alice+data` is for alice's programs. */
  readonly folder: Folder;
}

function ringAnswer(detail: string | undefined): RecipientAnswer {
  if (detail === undefined) return { kind: "ring", part: "control" };
  return detail === "data" ? { kind: "ring", part: "broker" } : { kind: "unknown" };
}
