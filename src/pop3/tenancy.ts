import {
  plainExchange,
  type SaslExchange,
  type SaslMechanism,
  type SaslReply,
} from "./authentication.js";
import type { Input } from "./dialogue.js";
import type {
  AuthAnswer,
  CommitAnswer,
  Credentials,
  Maildrop,
  MaildropMessage,
  SessionInfo,
} from "./maildrop.js";
import type { Pop3ServerOptions, Settings } from "./options.js";
import { Waits } from "./waits.js";

const tempfail: Input = { kind: "refused", refusal: { kind: "tempfail" } };

/** A session's hold on its maildrop: opened at most once, released exactly once. */
export class Tenancy {
  readonly #options: Pop3ServerOptions;
  readonly #info: SessionInfo;
  readonly #waits: Waits;
  readonly #settings: Settings;
  #exchange: SaslExchange | undefined;
  #maildrop: Maildrop | undefined;
  #released: Promise<void> | undefined;
  readonly #commitWaits = new Waits();
  /** Who logged in. */
  user: string | undefined;

  constructor(options: Pop3ServerOptions, info: SessionInfo, waits: Waits, settings: Settings) {
    this.#options = options;
    this.#info = info;
    this.#waits = waits;
    this.#settings = settings;
  }

  get maildrop(): Maildrop {
    if (this.#maildrop === undefined) throw new Error("no maildrop is open");
    return this.#maildrop;
  }

  async login(credentials: Credentials): Promise<Input> {
    const { username } = credentials;
    const fields = { user: username.slice(0, 200) };
    const answer = await this.#asked(this.#check(credentials), fields, (late) =>
      this.#discard(late),
    );
    return answer === undefined ? tempfail : this.#answered(answer, username);
  }

  async #check(credentials: Credentials): Promise<AuthAnswer> {
    return this.#options.onAuth(credentials, this.#info);
  }

  /** A SASL exchange's first step; `data`: the initial response. */
  async saslBegin(mechanism: SaslMechanism, data: Buffer | undefined): Promise<Input> {
    const { onSasl } = this.#options;
    try {
      this.#exchange =
        onSasl === undefined
          ? plainExchange((credentials) => this.#check(credentials))
          : onSasl(mechanism, this.#info);
    } catch (error) {
      return this.#failed(error, { mechanism });
    }
    return this.saslRespond(data);
  }

  async saslRespond(data: Buffer | undefined): Promise<Input> {
    const exchange = this.#exchange;
    if (exchange === undefined) throw new Error("no exchange was begun");
    const asked = (async () => exchange.respond(data))();
    const reply = await this.#asked(asked, {}, (late) => {
      if (late.kind === "done") this.#discard(late.answer);
    });
    if (reply === undefined) return tempfail;
    if (reply.kind !== "done") return reply;
    return this.#answered(reply.answer, "");
  }

  /** Undefined when the application could not tell. */
  async #asked<T extends AuthAnswer | SaslReply>(
    work: Promise<T>,
    fields: object,
    discard: (value: T) => void,
  ): Promise<T | undefined> {
    const { authDeadlineMs } = this.#settings.limits;
    const waited = await this.#waits.work(work, authDeadlineMs, discard);
    if (waited.kind === "done") return waited.value;
    this.#failed(waited.kind === "failed" ? waited.error : waited.kind, fields);
    return undefined;
  }

  #failed(error: unknown, fields: object): Input {
    const { id, remoteAddress } = this.#info;
    const all = { session: id, address: remoteAddress, ...fields, error };
    this.#settings.log.warn(all, "pop3 login can't be checked");
    return tempfail;
  }

  #answered(answer: AuthAnswer, username: string): Input {
    const { id, remoteAddress, secure } = this.#info;
    const user = ((answer.kind === "open" && answer.username) || username).slice(0, 200);
    const fields = { session: id, address: remoteAddress, user, secure, answer: answer.kind };
    this.#settings.log.info(fields, "pop3 login");
    if (answer.kind !== "open") return { kind: "refused", refusal: answer };
    return this.#open(answer.maildrop, user);
  }

  #open(maildrop: Maildrop, user: string): Input {
    if (!maildrop.messages.every(isMessage)) {
      this.#settings.log.error({ session: this.#info.id }, "pop3 maildrop with a bad uid or size");
      this.#discard({ kind: "open", maildrop });
      return tempfail;
    }
    this.#maildrop = maildrop;
    this.user = user;
    return { kind: "authenticated", messages: maildrop.messages };
  }

  /** Goes on when the client leaves: it has asked for the removal. */
  async commit(removed: readonly number[]): Promise<CommitAnswer> {
    const { maildrop } = this;
    if (maildrop.lost?.aborted === true) return { kind: "tempfail", why: "the lock was lost" };
    const deadline = new AbortController();
    const asked = (async () => maildrop.commit(removed, deadline.signal))();
    const waits = this.#commitWaits;
    const waited = await waits.work(asked, this.#settings.limits.commitDeadlineMs);
    waits.end();
    if (waited.kind === "done") return waited.value;
    deadline.abort();
    const error = waited.kind === "failed" ? waited.error : waited.kind;
    this.#settings.log.error({ session: this.#info.id, error }, "pop3 commit failed");
    return { kind: "tempfail", why: "the removal can't be made durable now" };
  }

  /** Waits for no commit any longer. */
  giveUp(): void {
    this.#commitWaits.end();
  }

  /** Gives the maildrop up; the caller has waited for `commit`. Later calls change nothing. */
  release(): Promise<void> {
    this.#released ??= this.#release(this.#maildrop);
    return this.#released;
  }

  async #release(maildrop: Maildrop | undefined): Promise<void> {
    if (maildrop === undefined) return;
    const waits = new Waits();
    const asked = (async () => maildrop.release())();
    const waited = await waits.work(asked, this.#settings.limits.releaseDeadlineMs);
    waits.end();
    if (waited.kind === "done") return;
    const error = waited.kind === "failed" ? waited.error : waited.kind;
    this.#settings.log.warn({ session: this.#info.id, error }, "pop3 maildrop not released");
  }

  /** A maildrop that nobody waits for any more must not stay locked. */
  #discard(answer: AuthAnswer): void {
    if (answer.kind !== "open") return;
    // `#release` handles every failure and bounds its wait.
    void this.#release(answer.maildrop);
  }
}

/** RFC 1939 §7, UIDL: "one to 70 characters in the range 0x21 to 0x7E". */
function isMessage({ uid, octets }: MaildropMessage): boolean {
  if (uid.length < 1 || uid.length > 70 || !Number.isSafeInteger(octets) || octets < 0)
    return false;
  for (let i = 0; i < uid.length; i++) {
    const code = uid.charCodeAt(i);
    if (code < 0x21 || code > 0x7e) return false;
  }
  return true;
}
