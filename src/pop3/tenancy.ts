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

/** A session's hold on its maildrop: opened at most once, released exactly once. */
export class Tenancy {
  readonly #onAuth: Pop3ServerOptions["onAuth"];
  readonly #info: SessionInfo;
  readonly #waits: Waits;
  readonly #settings: Settings;
  #maildrop: Maildrop | undefined;
  #released: Promise<void> | undefined;
  readonly #commitWaits = new Waits();
  /** Who logged in. */
  user: string | undefined;

  constructor(
    onAuth: Pop3ServerOptions["onAuth"],
    info: SessionInfo,
    waits: Waits,
    settings: Settings,
  ) {
    this.#onAuth = onAuth;
    this.#info = info;
    this.#waits = waits;
    this.#settings = settings;
  }

  get maildrop(): Maildrop {
    if (this.#maildrop === undefined) throw new Error("no maildrop is open");
    return this.#maildrop;
  }

  async login(credentials: Credentials): Promise<Input> {
    const asked = (async () => this.#onAuth(credentials, this.#info))();
    const { authDeadlineMs } = this.#settings.limits;
    const waited = await this.#waits.work(asked, authDeadlineMs, (answer) => this.#discard(answer));
    const user = credentials.username.slice(0, 200);
    const fields = { session: this.#info.id, address: this.#info.remoteAddress, user };
    if (waited.kind !== "done") {
      const error = waited.kind === "failed" ? waited.error : waited.kind;
      this.#settings.log.warn({ ...fields, error }, "pop3 login can't be checked");
      return { kind: "refused", why: "tempfail" };
    }
    const answer = waited.value;
    this.#settings.log.info({ ...fields, answer: answer.kind }, "pop3 login");
    if (answer.kind !== "open") return { kind: "refused", why: answer.kind };
    return this.#open(answer.maildrop, user);
  }

  #open(maildrop: Maildrop, user: string): Input {
    if (!maildrop.messages.every(isMessage)) {
      this.#settings.log.error({ session: this.#info.id }, "pop3 maildrop with a bad uid or size");
      this.#discard({ kind: "open", maildrop });
      return { kind: "refused", why: "tempfail" };
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
