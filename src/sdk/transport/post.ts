/** The post office of one account: how its mails leave, and how its maildrops are opened. */
import type { Pop3Client } from "../../client/pop3-client.js";
import type { ServerEndpoints } from "../../ebm/index.js";
import type { AccountOptions } from "../api.js";
import { RingpostError } from "../errors.js";
import { delay } from "../waiting.js";
import { TransportError } from "./failure.js";
import { MaildropBusy, type MaildropLogin, withMaildrop } from "./pop3.js";
import type { SmtpReply } from "./reply.js";
import { type MailMaker, MailSender } from "./sender.js";
import { patient, type Patience, type Servers } from "./servers.js";
import type { SmtpRoute } from "./smtp-line.js";
import type { TlsPolicy } from "./tls.js";

/** Of the account, see `mailbox/` of the server: `alice`, `alice/outbox`, `alice/queue/orders` … */
export type MaildropName = "inbox" | "outbox" | "config" | "data" | `queue/${string}`;

export type Credentials = { readonly token: string } | { readonly password: string };

export interface PostOptions {
  readonly servers: Servers;
  readonly tls: TlsPolicy;
  /** An account elsewhere, through which all mail goes. */
  readonly elsewhere?: AccountOptions["mail"] | undefined;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
}

const linesMax = 4;
const busyMs = { first: 50, max: 1_000, deadline: 60_000 } as const;

export class Post {
  readonly #options: PostOptions;
  readonly #sender: MailSender;
  /** One session at a time per maildrop: the last one that asked. */
  readonly #sessions = new Map<string, Promise<unknown>>();

  constructor(options: PostOptions) {
    this.#options = options;
    this.#sender = new MailSender({ tls: options.tls, linesMax });
  }

  get isElsewhere(): boolean {
    return this.#options.elsewhere !== undefined;
  }

  /** To an address of the ring: without AUTH, what is sealed proves itself. */
  toRing(mail: MailMaker): Promise<SmtpReply> {
    if (this.isElsewhere) return this.#throughAccount(mail);
    return this.#options.servers.attempt((endpoints, patience) =>
      this.#sender.send({ at: endpoints.smtp, implicitTls: false }, mail, patience),
    );
  }

  /**
   * To any address, as a user who is logged in.
   * @throws RingpostError `denied`: the token is over
   */
  async submit(mail: MailMaker, login: { user: string; token: string }): Promise<SmtpReply> {
    if (this.isElsewhere) return await this.#throughAccount(mail);
    const reply = await this.#options.servers.attempt((endpoints, patience) =>
      this.#sender.send({ ...submissionOf(endpoints), login }, mail, patience),
    );
    return believed(reply);
  }

  /**
   * Opens a maildrop of `user`; waits while somebody else has it open.
   * @throws RingpostError `denied`, `unreachable`, `timeout` when it stays in use
   */
  async open<T>(
    user: string,
    name: MaildropName,
    credentials: Credentials,
    use: (client: Pop3Client) => Promise<T>,
  ): Promise<T> {
    const key = this.isElsewhere ? "elsewhere" : `${user}/${name}`;
    const turn = this.#sessions.get(key) ?? Promise.resolve();
    const session = turn.then(() => this.#openInTurn(user, name, credentials, use));
    const settled = session.catch(() => undefined);
    this.#sessions.set(key, settled);
    try {
      return await session;
    } finally {
      if (this.#sessions.get(key) === settled) this.#sessions.delete(key);
    }
  }

  close(): void {
    this.#sender.close();
  }

  async #openInTurn<T>(
    user: string,
    name: MaildropName,
    credentials: Credentials,
    use: (client: Pop3Client) => Promise<T>,
  ): Promise<T> {
    const { nowMs, signal } = this.#options;
    const untilMs = nowMs() + busyMs.deadline;
    for (let waitMs: number = busyMs.first; ; waitMs = Math.min(2 * waitMs, busyMs.max)) {
      if (signal.aborted) throw new RingpostError("closed", "the client is closed", false);
      try {
        return await this.#session(user, name, credentials, use);
      } catch (error) {
        if (!(error instanceof MaildropBusy)) throw error;
        if (nowMs() + waitMs > untilMs) {
          const why = `${name}: in use by another program: ${error.message}`;
          throw new RingpostError("timeout", why, true, { cause: error });
        }
      }
      await delay(waitMs, signal);
    }
  }

  #session<T>(
    user: string,
    name: MaildropName,
    credentials: Credentials,
    use: (client: Pop3Client) => Promise<T>,
  ): Promise<T> {
    const { elsewhere, servers, tls, signal } = this.#options;
    if (elsewhere === undefined) {
      const login: MaildropLogin = {
        user: name === "inbox" ? user : `${user}/${name}`,
        ...credentials,
      };
      return servers.attempt((at, patience) =>
        withMaildrop({ at, tls, login, patience, signal }, use),
      );
    }
    const { password, username = elsewhere.address } = elsewhere;
    const login = { user: username, password };
    const at = implicitPorts.has(portOf(elsewhere.pop3))
      ? { pop3: elsewhere.pop3, pop3s: elsewhere.pop3 }
      : { pop3: elsewhere.pop3 };
    return reachable(() => withMaildrop({ at, tls, login, patience: patient, signal }, use));
  }

  /** @throws RingpostError `denied`: the account's own password is wrong */
  async #throughAccount(mail: MailMaker): Promise<SmtpReply> {
    const { elsewhere } = this.#options;
    if (elsewhere === undefined) throw new Error("no account elsewhere");
    const { password, username = elsewhere.address } = elsewhere;
    const route: SmtpRoute = {
      at: elsewhere.smtp,
      implicitTls: implicitPorts.has(portOf(elsewhere.smtp)),
      login: { user: username, password },
    };
    return believed(await reachable((patience) => this.#sender.send(route, mail, patience)));
  }
}

/** RFC 4954 §6: what is wrong is the login, not the mail; that one can be sent after another login. */
function believed(reply: SmtpReply): SmtpReply {
  if (reply.code !== 535) return reply;
  throw new RingpostError("denied", `the login was refused: ${reply.text}`, false);
}

/** RFC 8314 §7.3. */
const implicitPorts: ReadonlySet<string> = new Set(["465", "995"]);
const portOf = (at: string): string => at.slice(at.lastIndexOf(":") + 1);

function submissionOf(endpoints: ServerEndpoints): SmtpRoute {
  const { submission, submissions } = endpoints;
  // In clear on loopback, with STARTTLS elsewhere; else with TLS from the first octet.
  if (submission !== undefined) return { at: submission, implicitTls: false };
  if (submissions !== undefined) return { at: submissions, implicitTls: true };
  throw new RingpostError("unreachable", "no server takes submissions", false);
}

/** The one server of an account elsewhere. */
async function reachable<T>(use: (patience: Patience) => Promise<T>): Promise<T> {
  try {
    return await use(patient);
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    throw new RingpostError("unreachable", error.message, true, { cause: error });
  }
}
