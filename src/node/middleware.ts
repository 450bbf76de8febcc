/** The middleware of a member: wired to its mail domain, and told where the members are. */
import type { NodeConfig } from "../config/index.js";
import { createMiddleware, type Middleware } from "../middleware/middleware.js";
import type { Broker, Outgoing } from "../middleware/ports.js";
import type { Replication } from "../replication/replication.js";
import type { Log } from "../shared/log.js";
import { spoolFiles } from "../store/spool-files.js";
import type { MailDomain } from "./mail-domain.js";
import { Servers } from "./servers.js";
import { clock, random } from "./system.js";

interface NodeMiddlewareOptions {
  readonly config: Pick<NodeConfig, "domain" | "registration">;
  readonly mail: MailDomain;
  readonly replication: Replication;
  readonly broker: Broker;
  /** Absent: no mail leaves the ring. */
  readonly outgoing: Outgoing | undefined;
  readonly log: Log;
}

export function createNodeMiddleware(options: NodeMiddlewareOptions): Middleware {
  const { config, mail, replication, broker, outgoing, log } = options;
  const { registry, mailboxes, authenticator, sessions, keys } = mail;
  const servers = new Servers({
    members: () => replication.roster.members,
    statusOf: async (member, deadlineMs) => {
      const reply = await replication.peers.call(member, "status", {}, { deadlineMs });
      return reply.status;
    },
    clock,
  });
  return createMiddleware({
    ...{ domain: config.domain, policy: config.registration },
    ...{ registry, mailboxes, authenticator, replication, clock, random, log },
    ...{ sessions, keys, files: spoolFiles },
    servers: () => servers.list(),
    broker,
    ...(outgoing && { outgoing }),
  });
}
