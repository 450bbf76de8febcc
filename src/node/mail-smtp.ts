/** The SMTP listeners over the mail domain: for everybody's mail, and for what users hand in. */
import type { NodeConfig } from "../config/index.js";
import type { Authenticator, Senders } from "../mailbox/authentication.js";
import type { MailReceiver, RingReceiver, WayOut } from "../mailbox/ports.js";
import type { Log } from "../shared/log.js";
import type { TlsContexts } from "../shared/tls.js";
import { createSmtpServer, type SmtpServer } from "../smtp/server.js";
import { openAll } from "./listeners.js";

interface MailSmtpOptions {
  readonly config: NodeConfig;
  readonly nodeText: string;
  readonly receiver: MailReceiver;
  /** Takes mail to the ring itself. */
  readonly ring?: RingReceiver;
  readonly log: Log;
  /** Without it there is no STARTTLS, and no `submissions`. */
  readonly tls?: TlsContexts;
  /** Without them mail can't be handed in: there is no `submission` and no `submissions`. */
  readonly users?: {
    readonly authenticator: Authenticator;
    readonly senders: Senders;
    /** Absent: their mail doesn't leave the ring. */
    readonly wayOut?: WayOut | undefined;
  };
}

type Endpoint = NodeConfig["smtp"];
type Name = "smtp" | "submission" | "submissions";

export interface MailSmtpServers {
  /** Where it is going to listen. */
  readonly endpoints: Readonly<{ smtp: Endpoint } & Partial<Record<Name, Endpoint>>>;
  /** Opens all; resolves to where each listens, as text. @throws NodeStartError */
  listen(): Promise<{ readonly smtp: string } & Readonly<Partial<Record<Name, string>>>>;
  /** Mails that are coming in may end. Never rejects. */
  close(): Promise<void>;
}

export function createMailSmtpServers(options: MailSmtpOptions): MailSmtpServers {
  const { config, nodeText, receiver, ring, log, tls, users } = options;
  const { smtp, submission, submissions, messageOctetsMax, plainAuth, limits } = config;
  const common = {
    name: config.hostName,
    nodeText,
    receiver,
    ring,
    log,
    tls,
    limits: { ...limits.smtp, messageOctetsMax },
  };
  const servers: { name: Name; at: Endpoint; server: SmtpServer }[] = [
    { name: "smtp", at: smtp, server: createSmtpServer(common) },
  ];
  const forUsers = users && { ...common, submission: { ...users, plainAuth } };
  if (forUsers && submission !== "off") {
    servers.push({ name: "submission", at: submission, server: createSmtpServer(forUsers) });
  }
  if (forUsers && tls && submissions !== "off") {
    const server = createSmtpServer({ ...forUsers, implicitTls: true });
    servers.push({ name: "submissions", at: submissions, server });
  }
  const endpoints = { smtp, ...Object.fromEntries(servers.map(({ name, at }) => [name, at])) };
  return {
    endpoints,
    listen: async () => ({ smtp: "", ...(await openAll(servers)) }),
    async close() {
      await Promise.all(servers.map(({ server }) => server.close()));
    },
  };
}
