/** Who may write as whom. */
import { addressDomain, canonicalMailbox } from "../mime/address.js";
import type { Identity, SenderAnswer, Senders } from "./authentication.js";
import type { Domains } from "./domains.js";
import type { Recipients } from "./recipients.js";

interface SendersOptions {
  readonly domains: Domains;
  readonly recipients: Recipients;
}

/**
 * An account may send as its own address, as a subaddress of it, and as any alias that leads to it
 * in any domain of the ring: as what it is known to be reached by. A catch-all is nobody's address.
 */
export class RingSenders implements Senders {
  constructor(private readonly options: SendersOptions) {}

  async maySend({ mailbox }: Identity, address: string): Promise<SenderAnswer> {
    const { domains, recipients } = this.options;
    const where = addressDomain(address, domains.first);
    if (where.kind === "invalid" || where.domain === undefined) return "refused";
    const served = await domains.serves(where.domain);
    if (served !== "yes") return served === "no" ? "refused" : "undecided";
    const named = canonicalMailbox(address, [where.domain], domains.first);
    if (named.kind !== "mailbox") return "refused";
    const found = await recipients.expand(named.mailbox);
    if (found.kind === "undecided") return "undecided";
    return found.kind === "accounts" && found.accounts.has(mailbox) ? "allowed" : "refused";
  }
}
