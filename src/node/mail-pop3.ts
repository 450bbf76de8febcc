/** The POP3 listener over the mail domain. */
import type { AuthenticationResult, Authenticator } from "../mailbox/authentication.js";
import type { Mailboxes } from "../mailbox/mailboxes.js";
import { type AuthAnswer, createPop3Server, type Maildrop } from "../pop3/index.js";
import type { ReplicatedMaildrop } from "../replication/maildrop.js";
import type { Log } from "../shared/log.js";

interface MailPop3Options {
  readonly name: string;
  readonly authenticator: Authenticator;
  readonly mailboxes: Mailboxes;
  readonly log: Log;
}

export function createMailPop3Server(options: MailPop3Options) {
  const { name, authenticator, mailboxes, log } = options;
  return createPop3Server({
    name,
    log,
    async onAuth({ username, password }, { remoteAddress, signal }): Promise<AuthAnswer> {
      const from = { address: remoteAddress, protocol: "pop3", signal } as const;
      return opened(mailboxes, await authenticator.password(username, password, from));
    },
  });
}

/** Too many tries are no verdict on the password: `[AUTH]` would have clients ask for another. */
async function opened(mailboxes: Mailboxes, result: AuthenticationResult): Promise<AuthAnswer> {
  if (result.kind === "denied") return result;
  if (result.kind !== "granted") return { kind: "tempfail" };
  const answer = await mailboxes.open(result.identity);
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
