/** The way out of the ring, where a smart host is configured. */
import type { NodeConfig } from "../config/index.js";
import type { Mailboxes } from "../mailbox/mailboxes.js";
import type { Quotas } from "../mailbox/quotas.js";
import { createOutgoing, noOutgoing, outgoingMailbox } from "../middleware/outgoing.js";
import { outgoingTimes } from "../middleware/outgoing-schedule.js";
import { type GivenUpMail, OutgoingWorker } from "../middleware/outgoing-worker.js";
import type { Outgoing } from "../middleware/ports.js";
import { createSmartHost } from "../middleware/smart-host.js";
import type { Replication } from "../replication/replication.js";
import type { MailboxName } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import { spoolFiles } from "../store/spool-files.js";
import { clock } from "./system.js";

export interface Relay {
  readonly outgoing: Outgoing & { readonly mailbox: MailboxName };
  /** The ring must be there. */
  start(): void;
  stop(): Promise<void>;
}

interface RelayOptions {
  readonly config: Pick<NodeConfig, "relay" | "domain" | "hostName">;
  readonly password: string | undefined;
  readonly mailboxes: Mailboxes;
  readonly quotas: Quotas;
  readonly replication: Replication;
  readonly onGivenUp?: (mail: GivenUpMail) => Promise<void> | void;
  readonly log: Log;
}

/** Mails on their way to the smart host at a time. */
const sendsMax = 4;

export function createRelay(options: RelayOptions): Relay {
  const { config, password, mailboxes, quotas, replication, log } = options;
  const { relay, domain, hostName } = config;
  const mailbox = outgoingMailbox(domain);
  if (!relay)
    return {
      outgoing: { mailbox, ...noOutgoing },
      start: () => undefined,
      stop: async () => undefined,
    };
  const { host, port, tls, login, firstRetryMs } = relay;
  const smartHost = createSmartHost({
    ...{ host, port, tls, hostName, log },
    ...(login && password !== undefined && { credentials: { user: login.user, password } }),
    bounces: `ring+bounces@${domain}`,
  });
  const worker = new OutgoingWorker({
    ...{ smartHost, sendsMax, clock, log },
    open: () => replication.openMaildrop(mailbox),
    waiting: async () => (await replication.usageOf(mailbox))?.messages,
    times: { ...outgoingTimes, firstRetryMs },
    onGivenUp: options.onGivenUp ?? (() => undefined),
  });
  const outgoing = createOutgoing({
    ...{ domain, quotas, receiver: mailboxes, files: spoolFiles },
    onAdded: () => worker.wake(),
  });
  return {
    outgoing: { mailbox, ...outgoing },
    start: () => worker.start(),
    stop: () => worker.stop(),
  };
}
