/** Who a client is: passwords, SCRAM and session tokens, for every listener. */
import { createHmac, randomBytes } from "node:crypto";
import type { Clock } from "../replication/ports.js";
import {
  type Claim,
  login,
  type Mechanism,
  oauthbearer,
  passwordOctetsMax,
  plain,
  type ScramAnswer,
  scram,
  type ScramVerifier,
  type Verifier,
  xoauth2,
} from "../sasl/index.js";
import type { Log } from "../shared/log.js";
import type { Account } from "./account.js";
import type { Accounts } from "./accounts.js";
import { isAppPassword } from "./app-passwords.js";
import type {
  AuthenticationResult,
  Authenticator,
  ClientOrigin,
  SaslExchange,
  SaslMechanism,
} from "./authentication.js";
import { isSelf, parseWho, type Who } from "./login-name.js";
import { type Passwords, PasswordsBusyError, scramIterations } from "./passwords.js";
import type { RingKeys } from "./ring-keys.js";
import type { Sessions } from "./sessions.js";
import type { Tries } from "./tries.js";
import { Turns } from "./turns.js";

interface LoginsOptions {
  readonly accounts: Pick<Accounts, "read">;
  readonly passwords: Pick<Passwords, "check" | "recognises">;
  readonly tries: Tries;
  readonly sessions: Pick<Sessions, "verify">;
  readonly keys: Pick<RingKeys, "current">;
  readonly domain: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborted when the node stops. */
  readonly stopping: AbortSignal;
}

const denied = { kind: "denied" } as const;
const tempfail = { kind: "tempfail" } as const;
/** Clients of one account that wait for their turn to be checked. */
const waitingMax = 100;
const saltOctets = 16;

type Mechanisms = {
  readonly [M in SaslMechanism]: (
    verifier: Verifier<AuthenticationResult>,
  ) => Mechanism<AuthenticationResult>;
};

const mechanisms: Mechanisms = {
  PLAIN: plain,
  LOGIN: login,
  OAUTHBEARER: oauthbearer,
  XOAUTH2: xoauth2,
  "SCRAM-SHA-256": (verifier) => scram(verifier, () => randomBytes(18).toString("base64")),
};

/** How a client wants to prove who it is. */
interface Proof {
  /** True when it needs no guess: nothing is counted then. */
  readonly recognised: () => boolean;
  /** The one check that a reserved try pays for. Does the same work whether there is an account. */
  readonly check: () => Promise<boolean | "undecided">;
}

export class Logins implements Authenticator {
  /**
   * Of one account's logins, only one is checked at a time: a client that opens ten connections at
   * once needs one try for them, and the others are recognised.
   */
  private readonly turns = new Turns(waitingMax);

  constructor(private readonly options: LoginsOptions) {}

  async password(
    username: string,
    password: string,
    from: ClientOrigin,
  ): Promise<AuthenticationResult> {
    return this.safely(tempfail, () =>
      this.checkPassword({ authorizationId: "", username, password }, from),
    );
  }

  begin(mechanism: SaslMechanism, from: ClientOrigin): SaslExchange {
    const exchange = mechanisms[mechanism]({
      denied,
      outcome: ({ kind }) => (kind === "granted" || kind === "denied" ? kind : "other"),
      password: (claim) => this.checkPassword(claim, from),
      token: (claim) => this.checkToken(claim),
      scram: (claim) => this.beginScram(claim, from),
    });
    return {
      respond: (data) =>
        this.safely({ kind: "done", result: tempfail }, () => exchange.respond(data)),
    };
  }

  private async safely<T>(otherwise: T, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof PasswordsBusyError)) {
        this.options.log.error({ error: String(error) }, "a login can't be checked");
      }
      return otherwise;
    }
  }

  private async checkPassword(
    claim: Claim & { readonly password: string },
    from: ClientOrigin,
  ): Promise<AuthenticationResult> {
    const { passwords } = this.options;
    const who = this.whoIs(claim);
    if (!who) return denied;
    const account = await this.accountOf(who);
    if (account === "undecided") return tempfail;
    const name = who.mailbox ?? "";
    const isTooLong = Buffer.byteLength(claim.password) > passwordOctetsMax;
    const password = isTooLong ? "" : claim.password;
    return this.settle(who, from, {
      recognised: () =>
        passwords.recognises(name, password, account) ||
        (account !== undefined && isAppPassword(password, account.appPasswords)),
      check: () => passwords.check(name, password, account),
    });
  }

  /** Somebody whose token it is not is denied as if the token were none. */
  private async checkToken(claim: {
    readonly authorizationId: string;
    readonly token: string;
  }): Promise<AuthenticationResult> {
    const { domain } = this.options;
    const checked = await this.options.sessions.verify(claim.token);
    if (checked.kind === "undecided") return tempfail;
    if (checked.kind === "denied") return denied;
    const { mailbox } = checked;
    const who = parseWho(claim.authorizationId || mailbox, domain);
    if (who.mailbox !== mailbox) return denied;
    return { kind: "granted", identity: { mailbox, ...who.opens } };
  }

  private async beginScram(
    claim: Claim,
    from: ClientOrigin,
  ): Promise<ScramAnswer<AuthenticationResult>> {
    const who = this.whoIs(claim);
    if (!who) return { kind: "done", result: denied };
    // Also when it is not needed: whether it can be had must not tell who has an account.
    const ring = await this.options.keys.current();
    const account = await this.accountOf(who, { disabledToo: true });
    if (!ring || account === "undecided") return { kind: "done", result: tempfail };
    const verifier = account?.scram ?? noVerifier(ring.saltSecret, who);
    const check = async (isProved: () => boolean): Promise<boolean | "undecided"> => {
      // A password that was changed since the first message is not good any more.
      const now = await this.accountOf(who);
      if (now === "undecided") return now;
      return isProved() && account?.scram !== undefined && now?.version === account.version;
    };
    return {
      kind: "verifier",
      verifier,
      settle: (isProved) =>
        this.settle(who, from, { recognised: () => false, check: () => check(isProved) }),
    };
  }

  /** Undefined when a client wants to act for somebody else: nobody may. */
  private whoIs({ authorizationId, username }: Claim): Who | undefined {
    const { domain } = this.options;
    const who = parseWho(username, domain);
    return isSelf(authorizationId, who, domain) ? who : undefined;
  }

  private async accountOf(
    { mailbox }: Who,
    { disabledToo = false } = {},
  ): Promise<Account | "undecided" | undefined> {
    if (!mailbox) return undefined;
    const answer = await this.options.accounts.read(mailbox);
    if (answer.kind === "undecided") return "undecided";
    if (answer.kind === "unknown") return undefined;
    return answer.account.disabled && !disabledToo ? undefined : answer.account;
  }

  /** The answer to a proof; a wrong one is held back, by which nobody else is held up. */
  private async settle(who: Who, from: ClientOrigin, proof: Proof): Promise<AuthenticationResult> {
    const { mailbox, opens } = who;
    const granted = (): AuthenticationResult =>
      mailbox ? { kind: "granted", identity: { mailbox, ...opens } } : denied;
    if (proof.recognised()) return granted();
    const answer = await this.turns.take(who.key, () => this.attempt(who, from, proof));
    switch (answer?.kind) {
      case undefined:
      case "undecided":
        return tempfail;
      case "right":
        return granted();
      case "throttled":
        return answer;
      case "wrong":
        await this.holdBack(answer.delayMs, from.signal);
        return denied;
    }
  }

  private async attempt(
    who: Who,
    from: ClientOrigin,
    proof: Proof,
  ): Promise<
    | { readonly kind: "right" | "undecided" }
    | { readonly kind: "wrong"; readonly delayMs: number }
    | Extract<AuthenticationResult, { kind: "throttled" }>
  > {
    const { tries } = this.options;
    // It may have been verified while this one waited.
    if (proof.recognised()) return { kind: "right" };
    if (from.signal?.aborted) return { kind: "undecided" };
    const waitMs = from.address === "" ? 0 : await tries.waitOf(from.address);
    if (waitMs > 0) return this.throttled(who, from, waitMs);
    const reserved = await tries.reserve(who.key);
    if (reserved.kind === "undecided") return reserved;
    if (reserved.kind === "refused") return this.throttled(who, from, reserved.retryAfterMs);
    let matches: boolean | "undecided" = "undecided";
    try {
      matches = await proof.check();
    } finally {
      if (matches !== false) reserved.release();
    }
    if (matches === "undecided") return { kind: "undecided" };
    if (matches) return { kind: "right" };
    if (from.address !== "") tries.noteWrong(from.address);
    this.note(who, from, "login denied");
    return { kind: "wrong", delayMs: tries.delayMs(reserved.count) };
  }

  private throttled(who: Who, from: ClientOrigin, retryAfterMs: number) {
    this.note(who, from, "login refused unchecked: too many wrong ones");
    return { kind: "throttled", retryAfterMs } as const;
  }

  private note({ mailbox }: Who, { address, protocol }: ClientOrigin, message: string): void {
    // A name that can't be one may be a password in the wrong field.
    this.options.log.info({ mailbox, address, protocol }, message);
  }

  private async holdBack(ms: number, gone: AbortSignal | undefined): Promise<void> {
    const { clock, stopping } = this.options;
    if (ms === 0) return;
    // A signal of its own each time, however many wait for the node to stop.
    const signal = AbortSignal.any(gone ? [stopping, gone] : [stopping]);
    await clock.sleep(ms, signal).catch(() => undefined);
  }
}

/**
 * For a name without a verifier, one that nothing fits: the same salt every time and at every
 * node, so that asking tells nothing (RFC 5802 §5 has servers send a salt for whom they don't
 * know). It is bound to the name as it is compared, since `Alice` and `alice` are one account.
 */
function noVerifier(secret: Buffer, who: Who): ScramVerifier {
  const salt = createHmac("sha256", secret).update(who.key).digest().subarray(0, saltOctets);
  const [storedKey, serverKey] = [randomBytes(32), randomBytes(32)].map((key) =>
    key.toString("base64"),
  ) as [string, string];
  return { salt: salt.toString("base64"), iterations: scramIterations, storedKey, serverKey };
}
