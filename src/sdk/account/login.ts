/** A user's session with the ring: entered, kept fresh, entered anew when its token is denied, left. */
import type { Answer, Ask, OperationName, SessionAnswer } from "../../ebm/index.js";
import type { AskOptions, Control } from "../control/control.js";
import { RingpostError } from "../errors.js";
import type { Credentials } from "../transport/post.js";
import type { OwnRecord } from "./own-record.js";
import type { Session } from "./session.js";

export interface LoginOptions {
  readonly control: Control;
  readonly session: Session;
  readonly record: OwnRecord;
  /** The ring has told of members. */
  readonly learn: (servers: SessionAnswer["servers"]) => void;
  /** There is a new token, after one that was denied: what was put off may be tried at once. */
  readonly renewed: () => void;
  readonly signal: AbortSignal;
}

export interface Entering {
  readonly invitation?: string;
  readonly signal?: AbortSignal | undefined;
}

export class Login {
  readonly #options: LoginOptions;
  #password: string | undefined;
  #refreshing: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;
  #isLeaving = false;
  /** Logins under way. */
  #entering = 0;

  constructor(options: LoginOptions) {
    this.#options = options;
  }

  /**
   * The password while there is no valid token: the answer to a login is fetched with it.
   * @throws RingpostError `loginNeeded`
   */
  get credentials(): Credentials {
    const { token } = this.#options.session;
    const isEntering = this.#entering > 0 && this.#password !== undefined;
    if (token !== undefined && !isEntering) return { token };
    if (this.#password !== undefined) return { password: this.#password };
    throw new RingpostError("loginNeeded", "log in first, or register", false);
  }

  async enter(
    operation: "register" | "login",
    password: string,
    { invitation, signal }: Entering = {},
  ): Promise<void> {
    const { control, record } = this.#options;
    this.#password = password;
    if (operation === "login") await this.#login(password, signal);
    else {
      const invited = invitation === undefined ? {} : { invitation };
      const question = { password, record: record.make(), ...invited };
      this.#taken(await control.ask(operation, question, { signal }));
    }
    await record.nameAllDevices();
    record.watch();
  }

  /**
   * As `Control.ask`; a token that is not valid (any more) is replaced by a login, once.
   * @throws RingpostError
   */
  async ask<N extends OperationName>(
    operation: N,
    question: Ask<N>,
    options: AskOptions = {},
  ): Promise<Answer<N>> {
    return await this.renewing(() => this.#options.control.ask(operation, question, options));
  }

  /** Tried a second time after a login, if the token was denied. */
  async renewing<T>(use: () => Promise<T>): Promise<T> {
    const { session } = this.#options;
    const { token } = session;
    try {
      return await use();
    } catch (error) {
      // Somebody else's question has renewed it meanwhile.
      const isNew = isDenied(error) && session.token !== undefined && session.token !== token;
      if (!isNew && !(await this.#canRenew(error))) throw error;
      return await use();
    }
  }

  async refresh(): Promise<void> {
    this.#taken(await this.ask("refresh", {}));
    await this.#options.record.nameAllDevices();
  }

  /**
   * With a token that is void already: with a new one, so that the device is taken off the record. Nobody else
   * renews meanwhile: that would put it back.
   */
  async leave(): Promise<void> {
    const { control, session } = this.#options;
    this.#isLeaving = true;
    try {
      await this.#renewing?.catch(() => undefined);
      await control.ask("logout", {}).catch(async (error: unknown) => {
        if (!isDenied(error) || this.#password === undefined) throw error;
        await this.#login(this.#password);
        await control.ask("logout", {});
      });
    } catch (error) {
      // Neither token nor password are good for anything: nobody is logged in.
      if (!isDenied(error)) throw error;
    } finally {
      this.#isLeaving = false;
    }
    this.#password = undefined;
    clearTimeout(this.#refreshing);
    session.forget();
  }

  close(): void {
    clearTimeout(this.#refreshing);
    this.#options.record.close();
  }

  /** True when there is a new token: the question may be put again. */
  async #canRenew(error: unknown): Promise<boolean> {
    const password = this.#password;
    if (!isDenied(error) || password === undefined || this.#isLeaving) return false;
    if (this.#options.signal.aborted) return false;
    this.#renewing ??= this.#login(password)
      .then(() => this.#renewed())
      .finally(() => {
        this.#renewing = undefined;
      });
    try {
      await this.#renewing;
      return true;
    } catch {
      return false;
    }
  }

  /** The record comes behind: its questions may be denied as well, and would wait for the renewal they are part of. */
  #renewed(): void {
    const { record, renewed } = this.#options;
    record.nameAllDevices().catch(() => undefined);
    renewed();
  }

  async #login(password: string, signal?: AbortSignal): Promise<void> {
    this.#entering += 1;
    try {
      await this.#options.record.put(async (record) => {
        const question = { password, record };
        this.#taken(await this.#options.control.ask("login", question, { signal }));
      });
    } finally {
      this.#entering -= 1;
    }
  }

  #taken(answer: SessionAnswer): void {
    const { session, record, learn } = this.#options;
    session.take(answer);
    record.believed(answer.devices ?? []);
    learn(answer.servers);
    clearTimeout(this.#refreshing);
    this.#refreshing = setTimeout(() => {
      // Later it is renewed by whatever is denied first.
      this.refresh().catch(() => undefined);
    }, session.refreshInMs);
    this.#refreshing.unref();
  }
}

const isDenied = (error: unknown): boolean =>
  error instanceof RingpostError && error.code === "denied";
