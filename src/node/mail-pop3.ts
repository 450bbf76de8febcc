/** The POP3 listeners over the mail domain. */
import type { NodeConfig } from "../config/index.js";
import {
  type AuthenticationResult,
  type Authenticator,
  type ClientOrigin,
  saslMechanisms,
} from "../mailbox/authentication.js";
import { folderOf } from "../mailbox/folders.js";
import type { Mailboxes } from "../mailbox/mailboxes.js";
import {
  type AuthAnswer,
  createPop3Server,
  type Maildrop,
  type MaildropMessage,
  type Pop3ServerOptions,
  type SaslReply,
  type SessionInfo,
} from "../pop3/index.js";
import type { ReplicatedMaildrop } from "../replication/maildrop.js";
import type { Log } from "../shared/log.js";
import type { TlsContexts } from "../shared/tls.js";
import { openAll } from "./listeners.js";
import { openQueueMaildrop, type Queues } from "./queue-maildrop.js";

type Maildrops = Pick<Mailboxes, "open">;

interface MailPop3Options {
  readonly config: NodeConfig;
  readonly mailboxes: Maildrops;
  readonly queues: Queues;
  readonly authenticator: Authenticator;
  readonly log: Log;
  /** Without it there is no STLS, and no `pop3s`. */
  readonly tls?: TlsContexts;
}

type Endpoint = NodeConfig["pop3"];
type Name = "pop3" | "pop3s";

export interface MailPop3Servers {
  /** Where it is going to listen. */
  readonly endpoints: Readonly<{ pop3: Endpoint } & Partial<Record<Name, Endpoint>>>;
  /** Opens all; resolves to where each listens, as text. @throws NodeStartError */
  listen(): Promise<{ readonly pop3: string } & Readonly<Partial<Record<Name, string>>>>;
  /** Sessions that are committing may end. Never rejects. */
  close(): Promise<void>;
}

const drainMs = 10_000;

export function createMailPop3Servers(options: MailPop3Options): MailPop3Servers {
  const { config, tls } = options;
  const { pop3, pop3s } = config;
  const common = serverOptions(options);
  const servers = [{ name: "pop3" as Name, at: pop3, server: createPop3Server(common) }];
  if (tls && pop3s !== "off") {
    const server = createPop3Server({ ...common, tls, implicitTls: true });
    servers.push({ name: "pop3s", at: pop3s, server });
  }
  const endpoints = { pop3, ...Object.fromEntries(servers.map(({ name, at }) => [name, at])) };
  return {
    endpoints,
    listen: async () => ({ pop3: "", ...(await openAll(servers)) }),
    async close() {
      await Promise.allSettled(servers.map(({ server }) => server.close({ deadlineMs: drainMs })));
    },
  };
}

function serverOptions({
  config,
  mailboxes,
  queues,
  authenticator,
  log,
  tls,
}: MailPop3Options): Pop3ServerOptions {
  const { hostName: name, plainAuth, limits } = config;
  const answer = (result: AuthenticationResult) => openFor(result, mailboxes, queues);
  return {
    ...{ name, plainAuth, log, limits: limits.pop3, ...(tls && { tls }) },
    authMethods: ["USER", ...saslMechanisms],
    async onAuth({ username, password }, session) {
      return answer(await authenticator.password(username, password, originOf(session)));
    },
    onSasl(mechanism, session) {
      const exchange = authenticator.begin(mechanism, originOf(session));
      return {
        async respond(data): Promise<SaslReply> {
          const reply = await exchange.respond(data);
          if (reply.kind !== "done") return reply;
          return { kind: "done", answer: await answer(reply.result) };
        },
      };
    },
  };
}

async function openFor(
  result: AuthenticationResult,
  mailboxes: Maildrops,
  queues: Queues,
): Promise<AuthAnswer> {
  if (result.kind !== "granted") return result;
  const { identity } = result;
  const { mailbox, folder, queue = "" } = identity;
  if (folder === "queue") return openQueueMaildrop(queues, queue, mailbox);
  const answer = await mailboxes.open(identity);
  if (answer.kind === "inUse") return { kind: "inUse" };
  if (answer.kind !== "open") return answer;
  const username = folderOf(mailbox, folder);
  return { kind: "open", maildrop: await maildropOf(answer.maildrop), username };
}

function originOf({ remoteAddress, signal }: SessionInfo): ClientOrigin {
  return { address: remoteAddress, protocol: "pop3", signal };
}

/** Others get a turn after so many. */
const listedPerTurn = 10_000;

async function listingOf({ messages }: ReplicatedMaildrop): Promise<MaildropMessage[]> {
  const listing: MaildropMessage[] = [];
  for (const { id, trace, bodyOctets } of messages) {
    listing.push({ uid: id, octets: Buffer.byteLength(trace) + bodyOctets });
    if (listing.length % listedPerTurn === 0) await new Promise((next) => setImmediate(next));
  }
  return listing;
}

async function maildropOf(drop: ReplicatedMaildrop): Promise<Maildrop> {
  const { messages } = drop;
  return {
    messages: await listingOf(drop),
    retrieve(index, signal) {
      const message = messages[index];
      if (!message) throw new Error("no such message");
      return drop.read(message, signal);
    },
    async commit(removed) {
      const chosen = removed.flatMap((index) => messages[index] ?? []);
      return (await drop.remove(chosen))
        ? { kind: "removed" }
        : { kind: "tempfail", why: "the deletions could not be made durable" };
    },
    release: () => drop.release(),
  };
}
