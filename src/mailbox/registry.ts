/** All that stands behind addresses, put together. */
import type { Clock } from "../replication/ports.js";
import type { MailboxName } from "../shared/ids.js";
import type { Quota } from "./account.js";
import { Accounts } from "./accounts.js";
import { Aliases } from "./aliases.js";
import type { Senders } from "./authentication.js";
import { Domains } from "./domains.js";
import { Names, type NamesOptions } from "./names.js";
import type { Passwords } from "./passwords.js";
import { type Amount, Quotas } from "./quotas.js";
import { Recipients } from "./recipients.js";
import { RingSenders } from "./senders.js";

export interface RegistryOptions extends NamesOptions {
  /** The ring's first domain. */
  readonly domain: string;
  readonly passwords: Passwords;
  /** Of accounts that have no quota of their own. */
  readonly quota: Quota;
  /** Recipients that fail on purpose. */
  readonly trial: boolean;
  readonly usageOf: (mailbox: MailboxName) => Promise<Amount | undefined>;
  readonly members: () => number;
  readonly clock: Clock;
}

export interface Registry {
  readonly names: Names;
  readonly domains: Domains;
  readonly accounts: Accounts;
  readonly aliases: Aliases;
  readonly quotas: Quotas;
  readonly recipients: Recipients;
  readonly senders: Senders;
  /** A register has changed somewhere. */
  forget(register: string): void;
}

export function createRegistry(options: RegistryOptions): Registry {
  const { domain, passwords, clock, quota, trial } = options;
  const names = new Names(options);
  const domains = new Domains({ ...options, first: domain });
  const accounts = new Accounts({ names, domains, passwords, domain, clock });
  const aliases = new Aliases({ names, accounts, domains, clock });
  const quotas = new Quotas({ ...options, standard: quota });
  const recipients = new Recipients({ domains, names, quotas, trial });
  const senders = new RingSenders({ domains, recipients });
  const forget = (register: string): void => {
    names.forget(register);
    domains.forget(register);
  };
  return { names, domains, accounts, aliases, quotas, recipients, senders, forget };
}
