/** All that stands behind the listeners and the commands about accounts, put together. */
import type { NodeConfig } from "../config/index.js";
import { AppPasswords } from "../mailbox/app-passwords.js";
import type { Authenticator } from "../mailbox/authentication.js";
import { Logins } from "../mailbox/logins.js";
import { Mailboxes } from "../mailbox/mailboxes.js";
import { Passwords } from "../mailbox/passwords.js";
import { createRegistry, type Registry } from "../mailbox/registry.js";
import { RingKeys } from "../mailbox/ring-keys.js";
import { keyLifeMs, Sessions } from "../mailbox/sessions.js";
import { Tries } from "../mailbox/tries.js";
import type { Credentials } from "../operator/credential-commands.js";
import type { Replication } from "../replication/replication.js";
import type { Log } from "../shared/log.js";
import type { DurableStore } from "../store/index.js";
import { clock, random } from "./system.js";

export interface MailDomain {
  readonly registry: Registry;
  readonly mailboxes: Mailboxes;
  readonly authenticator: Authenticator;
  /** For the commands about them. */
  readonly credentials: Credentials;
  readonly sessions: Sessions;
  readonly keys: RingKeys;
}

interface MailDomainOptions {
  readonly config: Pick<NodeConfig, "domain" | "quota" | "trial" | "tries">;
  readonly store: DurableStore;
  readonly replication: Replication;
  readonly log: Log;
  /** Aborted when the node stops: nobody waits for an answer any more. */
  readonly stopping: AbortSignal;
}

export function createMailDomain(options: MailDomainOptions): MailDomain {
  const { config, store, replication, log, stopping } = options;
  const { domain, quota, trial, tries: limits } = config;
  const { registers, groups } = replication;
  const announceChanged = (register: string) => replication.announceChanged(register);
  const passwords = new Passwords(() => clock.monotonicMs());
  const registry = createRegistry({
    ...{ passwords, domain, clock, random, registers, announceChanged, quota, trial },
    usageOf: (mailbox) => replication.usageOf(mailbox),
    members: () => replication.roster.members.length,
  });
  const keys = new RingKeys({ registers, clock, random, tokenMs: keyLifeMs, announceChanged });
  replication.onRegisterChanged((register) => {
    registry.forget(register);
    keys.forget(register);
  });
  const { accounts } = registry;
  const sessions = new Sessions({ keys, accounts, domain, clock });
  const logins = new Logins({
    ...{ accounts, passwords, sessions, keys, domain, clock, log, stopping },
    tries: new Tries({ groups, random, limits }),
  });
  const mailboxes = new Mailboxes({
    ...{ ...registry, replication, store, domain, clock, log },
    self: store.identity,
  });
  const appPasswords = new AppPasswords({ accounts, random, clock });
  const credentials = { accounts, appPasswords, sessions, keys, logins };
  return { registry, mailboxes, authenticator: logins, credentials, sessions, keys };
}
