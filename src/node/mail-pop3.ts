/** The POP3 listeners over the mail domain. */
import {
  type Authenticator,
  type ClientOrigin,
  type Identity,
  type SaslReply as MailSaslReply,
  saslMechanisms,
} from "../mailbox/authentication.js";
import type { LoginAnswer } from "../mailbox/mailboxes.js";
import {
  type AuthAnswer,
  createPop3Server,
  type Maildrop,
  type Pop3ServerOptions,
  type SaslReply,
  type SessionInfo,
} from "../pop3/index.js";
import type { ReplicatedMaildrop } from "../replication/maildrop.js";

/** What of the mail domain answers a login. */
interface Maildrops {
  login(username: string, password: string): Promise<LoginAnswer>;
  /** Opens the maildrop of somebody who has proved who they are. Needed with an authenticator. */
  open?(identity: Identity): Promise<Exclude<LoginAnswer, { readonly kind: "denied" }>>;
}

type Served = Pick<
  Pop3ServerOptions,
  "tls" | "implicitTls" | "plainAuth" | "limits" | "log" | "name"
>;

interface MailPop3Options extends Served {
  readonly mailboxes: Maildrops;
  /** Without it, logins are by password only: USER and PASS, AUTH PLAIN. */
  readonly authenticator?: Authenticator;
}

export function createMailPop3Server(options: MailPop3Options) {
  const { mailboxes, authenticator, ...served } = options;
  if (authenticator === undefined) {
    return createPop3Server({
      ...served,
      onAuth: async ({ username, password }) => answerOf(await mailboxes.login(username, password)),
    });
  }
  const opened = (result: MailResult) => openFor(result, mailboxes);
  return createPop3Server({
    ...served,
    authMethods: ["USER", ...saslMechanisms],
    async onAuth({ username, password }, session) {
      return opened(await authenticator.password(username, password, originOf(session)));
    },
    onSasl(mechanism, session) {
      const exchange = authenticator.begin(mechanism, originOf(session));
      return {
        async respond(data): Promise<SaslReply> {
          const reply = await exchange.respond(data);
          if (reply.kind !== "done") return reply;
          return { kind: "done", answer: await opened(reply.result) };
        },
      };
    },
  });
}

type MailResult = Extract<MailSaslReply, { readonly kind: "done" }>["result"];

async function openFor(result: MailResult, mailboxes: Maildrops): Promise<AuthAnswer> {
  if (result.kind !== "granted") return result;
  const { identity } = result;
  const answer = answerOf((await mailboxes.open?.(identity)) ?? { kind: "tempfail" });
  if (answer.kind !== "open") return answer;
  const { mailbox, folder } = identity;
  return { ...answer, username: folder === "inbox" ? mailbox : `${mailbox}/${folder}` };
}

function originOf(session: SessionInfo): ClientOrigin {
  return { address: session.remoteAddress, protocol: "pop3" };
}

function answerOf(answer: LoginAnswer): AuthAnswer {
  return answer.kind === "open" ? { kind: "open", maildrop: maildropOf(answer.maildrop) } : answer;
}

function maildropOf(drop: ReplicatedMaildrop): Maildrop {
  const { messages } = drop;
  return {
    messages: messages.map(({ id, trace, bodyOctets }) => ({
      uid: id,
      octets: Buffer.byteLength(trace) + bodyOctets,
    })),
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
