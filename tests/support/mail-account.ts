/** An ordinary mail account in this process: SMTP by `smtp-server`, POP3 by our own server. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";
import { type AuthAnswer, createPop3Server, type SaslExchange } from "../../src/pop3/index.js";
import { oauthbearer } from "../../src/sasl/index.js";
import type { TlsContexts } from "../../src/shared/tls.js";

export interface TakenMail {
  readonly from: string;
  readonly to: readonly string[];
  readonly octets: Buffer;
}

export interface MailAccount {
  readonly smtp: string;
  readonly pop3: string;
  /** The maildrop: mails by unique-id. */
  readonly maildrop: Map<string, Buffer>;
  readonly sent: TakenMail[];
  /** Commands that fetch, as maildrops saw them: `RETR <uid>`. */
  readonly fetched: string[];
  /** SMTP connections that were made. */
  connections: number;
  /** What the end of data is answered with; default 250. */
  reply: (mail: TakenMail) => { readonly code: number; readonly text: string };
  /** Unique-ids of mails that can't be had: the session breaks off there. */
  readonly unreadable: Set<string>;
  /** Logins that find the maildrop in use. */
  inUse: number;
  close(): Promise<void>;
}

export interface MailAccountOptions {
  readonly user: string;
  readonly password: string;
  readonly token?: string;
  readonly tls?: TlsContexts;
  readonly implicitTls?: boolean;
}

export async function startMailAccount(options: MailAccountOptions): Promise<MailAccount> {
  const { user, password } = options;
  const account = {
    maildrop: new Map<string, Buffer>(),
    sent: [] as TakenMail[],
    fetched: [] as string[],
    unreadable: new Set<string>(),
    connections: 0,
    inUse: 0,
    reply: (): { code: number; text: string } => ({ code: 250, text: "2.0.0 Ok: queued" }),
    ...{ smtp: "", pop3: "" },
    close: (): Promise<void> => Promise.resolve(),
  };
  const smtp = startSmtp(account, user, password);
  const pop3 = createPop3Server({
    authMethods: ["USER", "OAUTHBEARER"],
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    implicitTls: options.implicitTls ?? false,
    onAuth: async ({ username, password: given }) =>
      username === user && given === password ? open(account) : { kind: "denied" },
    onSasl: () =>
      tokenExchange(async ({ authorizationId, token }) =>
        authorizationId === user && token === options.token ? open(account) : { kind: "denied" },
      ),
  });
  await new Promise<void>((resolve) => smtp.listen(0, "127.0.0.1", resolve));
  const at = await pop3.listen({ port: 0, host: "127.0.0.1" });
  account.smtp = `127.0.0.1:${(smtp.server.address() as AddressInfo).port}`;
  account.pop3 = `127.0.0.1:${at.port}`;
  account.close = async () => {
    await pop3.close({ deadlineMs: 1_000 });
    const closed = once(smtp, "close");
    smtp.close();
    await closed;
  };
  return account;
}

type TokenCheck = (claim: { authorizationId: string; token: string }) => Promise<AuthAnswer>;

function tokenExchange(token: TokenCheck): SaslExchange {
  const denied = { kind: "denied" } as const;
  const mechanism = oauthbearer<AuthAnswer>({
    denied,
    token,
    outcome: ({ kind }) => (kind === "denied" ? "denied" : "granted"),
    password: () => Promise.resolve(denied),
    scram: () => Promise.resolve({ kind: "done", result: denied }),
  });
  return {
    async respond(data) {
      const reply = await mechanism.respond(data);
      return reply.kind === "done" ? { kind: "done", answer: reply.result } : reply;
    },
  };
}

/** As RFC 1939 has it: frozen at login, deletions at QUIT. */
function open(account: MailAccount) {
  if (account.inUse > 0) {
    account.inUse -= 1;
    return { kind: "inUse" as const };
  }
  const mails = [...account.maildrop];
  return {
    kind: "open" as const,
    username: "account",
    maildrop: {
      messages: mails.map(([uid, octets]) => ({ uid, octets: octets.length })),
      retrieve: (index: number) => {
        const uid = mails[index]?.[0] ?? "";
        account.fetched.push(uid);
        if (account.unreadable.has(uid)) throw new Error("it can't be read");
        return mails[index]?.[1] ?? Buffer.alloc(0);
      },
      commit: async (removed: readonly number[]) => {
        for (const index of removed) account.maildrop.delete(mails[index]?.[0] ?? "");
        return { kind: "removed" as const };
      },
      release: () => undefined,
    },
  };
}

function startSmtp(account: MailAccount, user: string, password: string): SMTPServer {
  return new SMTPServer({
    disabledCommands: ["STARTTLS"],
    authOptional: true,
    logger: false,
    size: 1024 * 1024,
    onConnect: (_, done) => {
      account.connections += 1;
      done();
    },
    onAuth: (auth, _, done) => {
      const right = auth.username === user && auth.password === password;
      if (right) done(null, { user });
      else done(new Error("wrong"));
    },
    onData: (stream, session, done) => {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        const { mailFrom, rcptTo } = session.envelope;
        const mail = {
          from: mailFrom === false ? "" : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          octets: Buffer.concat(chunks),
        };
        const { code, text } = account.reply(mail);
        if (code === 250) account.sent.push(mail);
        if (code === 250) return done(null, text);
        done(Object.assign(new Error(text), { responseCode: code }));
      });
    },
  });
}
