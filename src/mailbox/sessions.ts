/**
 * Session tokens: who has logged in once is known at every node for an hour. JSON Web Tokens
 * (RFC 7519) signed with Ed25519 (RFC 8037) by the ring's key. They can't be guessed, so wrong
 * ones are not counted as tries.
 *
 * Nobody keeps a list of them: a token is void when it is over, and at once and everywhere when
 * the account's generation has changed (`revoke`, a new password) or the account is gone or
 * disabled, since each use reads the account from a majority.
 */
import { errors, jwtVerify, type JWTPayload, SignJWT } from "jose";
import type { Clock } from "../replication/ports.js";
import type { MailboxName } from "../shared/ids.js";
import type { Account } from "./account.js";
import {
  type AccountAnswer,
  type AccountChange,
  type Accounts,
  nextGeneration,
} from "./accounts.js";
import { Latest } from "./latest.js";
import type { RingKey, RingKeys } from "./ring-keys.js";

const tokenSeconds = 60 * 60;
/** A token may be refreshed so long after the login; then a password is asked for again. */
const loginSeconds = 30 * 24 * 60 * 60;
/** Between the clocks of two members. */
const skewSeconds = 60;
/** How long a key may be of use after it signs no more. */
export const keyLifeMs = (tokenSeconds + 2 * skewSeconds) * 1_000;
const tokenOctetsMax = 4_096;
/** A signature that was good is not checked again so soon: programs use their token for each packet. */
const rememberedMs = 5_000;
const rememberedMax = 1_000;
/** RFC 8725 §3.1: the server says which algorithm, never the token. */
const algorithm = "EdDSA";

export interface SessionToken {
  readonly kind: "token";
  readonly token: string;
  readonly mailbox: MailboxName;
  /** Since 1970. */
  readonly expiresAtMs: number;
}

export type TokenAnswer =
  | SessionToken
  /** Not valid (any more), or its account is not. */
  | { readonly kind: "denied" }
  /** Too few members answer. */
  | { readonly kind: "undecided" };

export type TokenCheck =
  | { readonly kind: "valid"; readonly mailbox: MailboxName; readonly loginAtSeconds: number }
  | { readonly kind: "denied" }
  | { readonly kind: "undecided" };

interface SessionsOptions {
  readonly keys: RingKeys;
  readonly accounts: Pick<Accounts, "read" | "update">;
  /** Issuer and audience: tokens of another ring are worth nothing here. */
  readonly domain: string;
  readonly clock: Clock;
}

interface Verified {
  readonly payload: JWTPayload;
  /** Of the key that signed it. */
  readonly kid: string;
}

interface Remembered extends Verified {
  readonly untilMs: number;
}

export class Sessions {
  /** Tokens whose signature is good, and that are not over. */
  private readonly remembered = new Map<string, Remembered>();
  /** A program that consumes many queues uses its token many times at once. */
  private readonly reading = new Latest<AccountAnswer>();

  constructor(private readonly options: SessionsOptions) {}

  /** A token for somebody who has just proved to be the owner of the account. */
  issue(mailbox: MailboxName): Promise<TokenAnswer> {
    return this.make(mailbox, this.nowSeconds());
  }

  /** Another token for a valid one, before it is over. */
  async refresh(token: string): Promise<TokenAnswer> {
    const checked = await this.verify(token);
    if (checked.kind !== "valid") return checked;
    const { mailbox, loginAtSeconds } = checked;
    if (this.nowSeconds() - loginAtSeconds >= loginSeconds) return { kind: "denied" };
    return this.make(mailbox, loginAtSeconds);
  }

  /** Whose token it is. Never throws for what a client can send. */
  async verify(token: string): Promise<TokenCheck> {
    if (token.length > tokenOctetsMax) return { kind: "denied" };
    const payload = await this.payloadOf(token);
    if (!payload) return { kind: payload === undefined ? "undecided" : "denied" };
    const { sub, gen, auth_time: loginAt } = payload;
    if (typeof sub !== "string" || typeof loginAt !== "number") return { kind: "denied" };
    const mailbox = sub as MailboxName;
    const account = await this.accountOf(mailbox);
    if (account === "undecided") return { kind: "undecided" };
    if (!account || generationOf(account) !== gen) return { kind: "denied" };
    return { kind: "valid", mailbox, loginAtSeconds: loginAt };
  }

  /** Voids all tokens of an account. */
  revoke(name: string): Promise<AccountChange> {
    return this.options.accounts.update(name, nextGeneration);
  }

  private async make(mailbox: MailboxName, loginAtSeconds: number): Promise<TokenAnswer> {
    const { keys, domain } = this.options;
    const [ring, account] = await Promise.all([keys.current(), this.accountOf(mailbox)]);
    const key = ring?.keys[0];
    if (!key || account === "undecided") return { kind: "undecided" };
    if (!account) return { kind: "denied" };
    const now = this.nowSeconds();
    const token = await new SignJWT({ gen: generationOf(account), auth_time: loginAtSeconds })
      .setProtectedHeader({ alg: algorithm, kid: key.kid, typ: "JWT" })
      .setIssuer(domain)
      .setAudience(domain)
      .setSubject(mailbox)
      .setIssuedAt(now)
      .setExpirationTime(now + tokenSeconds)
      .sign(key.privateKey);
    return { kind: "token", token, mailbox, expiresAtMs: (now + tokenSeconds) * 1_000 };
  }

  /** Null: not a token of this ring, or not any more. Undefined: that can't be told now. */
  private async payloadOf(token: string): Promise<JWTPayload | null | undefined> {
    const { clock } = this.options;
    const known = this.remembered.get(token);
    const isOver = ({ exp = 0 }: JWTPayload): boolean => exp <= this.nowSeconds();
    if (known && known.untilMs > clock.monotonicMs() && !isOver(known.payload)) {
      // A key that is dropped makes its tokens void at once.
      const key = await this.options.keys.find(known.kid);
      if (typeof key === "object" && !this.isOver(key)) return known.payload;
    }
    this.remembered.delete(token);
    const verified = await this.check(token);
    if (verified && !isOver(verified.payload)) {
      if (this.remembered.size >= rememberedMax) this.remembered.clear();
      this.remembered.set(token, { ...verified, untilMs: clock.monotonicMs() + rememberedMs });
    }
    return verified && verified.payload;
  }

  private async check(token: string): Promise<Verified | null | undefined> {
    const { domain, clock } = this.options;
    let cannotTell = false;
    const keyFor = async ({ kid }: { kid?: string }): Promise<RingKey["publicKey"]> => {
      const key = await this.options.keys.find(kid ?? "");
      cannotTell = key === undefined;
      if (!key || key === "unknown" || this.isOver(key)) throw new errors.JWKSNoMatchingKey();
      return key.publicKey;
    };
    try {
      const verified = await jwtVerify(token, keyFor, {
        algorithms: [algorithm],
        typ: "JWT",
        issuer: domain,
        audience: domain,
        requiredClaims: ["sub", "iat", "exp", "gen", "auth_time"],
        maxTokenAge: tokenSeconds,
        clockTolerance: skewSeconds,
        currentDate: new Date(clock.wallMs()),
      });
      return { payload: verified.payload, kid: verified.protectedHeader.kid ?? "" };
    } catch (error) {
      if (cannotTell) return undefined;
      if (error instanceof errors.JOSEError) return null;
      throw error;
    }
  }

  /** So that a key that leaks later is worth nothing by then. */
  private isOver({ retiredAtMs }: RingKey): boolean {
    return retiredAtMs !== undefined && this.options.clock.wallMs() > retiredAtMs + keyLifeMs;
  }

  private async accountOf(mailbox: MailboxName): Promise<Account | "undecided" | undefined> {
    const { accounts } = this.options;
    const answer = await this.reading.ask(mailbox, () => accounts.read(mailbox));
    if (answer.kind === "undecided") return "undecided";
    return answer.kind === "account" && !answer.account.disabled ? answer.account : undefined;
  }

  private nowSeconds(): number {
    return Math.floor(this.options.clock.wallMs() / 1_000);
  }
}

/** Of an account that was removed and made anew, no token may open the new one. */
const generationOf = ({ createdAtMs, generation = 0 }: Account): string =>
  `${createdAtMs}.${generation}`;
