/** Domains, as the command line asks for them. */
import type { DomainChange } from "../mailbox/domains.js";
import { canonicalDomain } from "../mime/address.js";
import { AdminError } from "../shared/admin.js";
import type { AccountFacilities } from "./account-commands.js";
import { ringNames, undecided } from "./ring-names.js";

interface DomainReply {
  readonly domain: string;
  readonly changed: boolean;
}

/** All may throw AdminError. */
export class DomainCommands {
  constructor(private readonly options: AccountFacilities) {}

  async add(domain: string): Promise<DomainReply> {
    return changed(await this.options.domains.add(domain));
  }

  /**
   * Mail for a removed domain is refused. Its accounts stay, with what they have, and can be logged
   * in to; they are served again when the domain is added again.
   */
  async remove(domain: string, force: boolean): Promise<DomainReply> {
    if (!force) await this.refuseInhabited(domain);
    return changed(await this.options.domains.remove(domain));
  }

  async list(): Promise<{ domains: readonly string[] }> {
    const domains = await this.options.domains.list();
    return domains ? { domains } : undecided("the list of domains");
  }

  private async refuseInhabited(domain: string): Promise<void> {
    const ending = `@${canonicalDomain(domain) ?? ""}`;
    const { names, complete } = await ringNames(this.options.replication);
    const inhabitants = [...names.keys()].filter((name) => name.endsWith(ending));
    const [first] = inhabitants;
    if (first !== undefined) {
      const count = inhabitants.length === 1 ? "" : ` and ${inhabitants.length - 1} more`;
      throw new AdminError(
        "refused",
        `the domain has ${first}${count}; remove them first, or give --force: ` +
          "they stay, but get no mail any more",
      );
    }
    if (!complete) {
      const why = "too few members answer to know whether the domain has accounts; try again";
      throw new AdminError("unavailable", `${why}, or give --force`);
    }
  }
}

function changed(change: DomainChange): DomainReply {
  switch (change.kind) {
    case "done":
      return { domain: change.domain, changed: change.changed };
    case "invalid":
      throw new AdminError("invalid", change.why);
    case "undecided":
      return undecided("the list of domains");
  }
}
