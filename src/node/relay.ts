/** The way out of the ring, where a smart host is configured. */
import type { NodeConfig } from "../config/index.js";
import type { Mailboxes } from "../mailbox/mailboxes.js";
import { outgoingMailbox, submittedMailbox } from "../mailbox/outgoing-mail.js";
import type { WayOut } from "../mailbox/ports.js";
import type { Quotas } from "../mailbox/quotas.js";
import { SubmittedMail } from "../mailbox/way-out.js";
import { createOutgoing, noOutgoing } from "../middleware/outgoing.js";
import { outgoingTimes } from "../middleware/outgoing-schedule.js";
import { type GivenUpMail, OutgoingWorker } from "../middleware/outgoing-worker.js";
import type { Outgoing } from "../middleware/ports.js";
import { createSmartHost } from "../middleware/smart-host.js";
import { createReports } from "../middleware/undelivered.js";
import type { Replication } from "../replication/replication.js";
import type { MailboxName } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import { spoolFiles } from "../store/spool-files.js";
import { clock } from "./system.js";

export interface Relay {
  readonly outgoing: Outgoing & { readonly mailboxes: readonly MailboxName[] };
  /** For what users hand in; undefined where that may not leave the ring. */
  readonly wayOut: WayOut | undefined;
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
  /** Of the ring's own mail. */
  readonly onGivenUp?: (mail: GivenUpMail) => Promise<void> | void;
  readonly log: Log;
}

/** Mails on their way to the smart host at a time, of each kind. */
const sendsMax = 4;

export function createRelay(options: RelayOptions): Relay {
  const { config, mailboxes, quotas } = options;
  const { relay, domain, hostName } = config;
  const ours = outgoingMailbox(domain);
  const users = submittedMailbox(domain);
  const waitIn = { mailboxes: [ours, users] };
  if (!relay)
    return {
      outgoing: { ...waitIn, ...noOutgoing },
      wayOut: undefined,
      start: () => undefined,
      stop: async () => undefined,
    };
  const { recipientsPerHour, host: smartHost } = relay;
  const reports = createReports({
    ...{ domain, hostName, smartHost, receiver: mailboxes, clock, log: options.log },
  });
  // Two of them, so that neither the ring nor its users wait for the others.
  const ofRing = workerFor(options, relay, ours, options.onGivenUp ?? (() => undefined));
  const ofUsers = workerFor(options, relay, users, reports);
  const outgoing = createOutgoing({
    ...{ domain, quotas, receiver: mailboxes, files: spoolFiles },
    onAdded: () => ofRing.wake(),
  });
  const submitted = new SubmittedMail({
    ...{ domain, recipientsPerHour, quotas, clock },
    onAdded: () => ofUsers.wake(),
  });
  return {
    outgoing: { ...waitIn, ...outgoing },
    wayOut: recipientsPerHour > 0 ? submitted : undefined,
    start() {
      ofRing.start();
      ofUsers.start();
    },
    async stop() {
      await Promise.all([ofRing.stop(), ofUsers.stop()]);
    },
  };
}

function workerFor(
  { config, password, replication, log }: RelayOptions,
  relay: NonNullable<NodeConfig["relay"]>,
  mailbox: MailboxName,
  onGivenUp: (mail: GivenUpMail) => Promise<void> | void,
): OutgoingWorker {
  const { host, port, tls, login, firstRetryMs } = relay;
  const { hostName, domain } = config;
  const smartHost = createSmartHost({
    ...{ host, port, tls, hostName, log },
    ...(login && password !== undefined && { credentials: { user: login.user, password } }),
    bounces: `ring+bounces@${domain}`,
  });
  return new OutgoingWorker({
    ...{ smartHost, sendsMax, clock, log, onGivenUp },
    open: () => replication.openMaildrop(mailbox),
    waiting: async () => (await replication.usageOf(mailbox))?.messages,
    times: { ...outgoingTimes, firstRetryMs },
  });
}
