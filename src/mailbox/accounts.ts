/** Accounts: one register each, agreed on by the group of the mailbox's key. */
import { parseLogin, validateAccountName } from "../mime/address.js";
import type { Clock, Randomness } from "../replication/ports.js";
import type { Registers } from "../replication/registers.js";
import { passwordOctetsMax, prepareOpaque, type ScramVerifier } from "../sasl/index.js";
import type { MailboxName } from "../shared/ids.js";
import type { Passwords } from "./passwords.js";

/** What an account consists of, besides its name. */
export interface AccountFields {
  /** PHC string, Argon2id. */
  readonly passwordHash: string;
  readonly createdAtMs: number;
  /** For SCRAM-SHA-256; made with the password. */
  readonly scram?: ScramVerifier;
  readonly appPasswords?: readonly AppPassword[];
  /** Nobody logs in, and no mail is taken. */
  readonly disabled?: true;
  /** Absent: the ring's default. */
  readonly quota?: Quota;
  /** Session tokens of an earlier generation are void. Absent: 0. */
  readonly generation?: number;
}

/** A password of its own for one program, to be revoked alone. */
export interface AppPassword {
  readonly id: string;
  /** What the user calls it. */
  readonly label: string;
  /** Of a random password of 128 bits: a fast hash is enough (base64 SHA-256). */
  readonly hash: string;
  readonly createdAtMs: number;
}

/** Absent: no bound. */
export interface Quota {
  readonly octets?: number;
  readonly messages?: number;
}

/** The value of an account's register; null and `removed` mean that there is none. */
type AccountValue = Partial<AccountFields> & {
  /** Of the proposal that made it, to recognise one's own after an interrupted round. */
  readonly nonce: string;
  readonly removed?: true;
};

export interface Account extends AccountFields {
  /** Changes whenever anything of the account does. */
  readonly version: string;
}

export type AccountAnswer =
  | { readonly kind: "account"; readonly account: Account }
  /** `former`: there was one once, so its mail may not be gone yet. */
  | { readonly kind: "unknown"; readonly former: boolean }
  | { readonly kind: "undecided" };

export type AccountChange =
  | { readonly kind: "done"; readonly mailbox: MailboxName }
  | { readonly kind: "exists" }
  | { readonly kind: "unknown" }
  | { readonly kind: "invalid"; readonly why: string }
  /** No majority of the members that keep the account answered. */
  | { readonly kind: "undecided" };

const existsRememberedMs = 5_000;
const existsRememberedMax = 50_000;

export const accountRegister = (mailbox: MailboxName): string => `account:${mailbox}`;

interface AccountsOptions {
  readonly registers: Registers;
  readonly passwords: Passwords;
  readonly domain: string;
  readonly clock: Clock;
  readonly random: Randomness;
  /** Tells all members, this one too, to `forget` an account. */
  readonly announceChanged: (register: string) => Promise<void>;
}

export class Accounts {
  /** Accounts that were there a moment ago, so that a burst of mail costs one question. */
  private existed = new Map<MailboxName, number>();

  constructor(private readonly options: AccountsOptions) {}

  /** The agreed account, read from a majority. */
  async read(mailbox: MailboxName): Promise<AccountAnswer> {
    const answer = await this.options.registers.read(accountRegister(mailbox), { alone: true });
    if (answer.kind === "undecided") return { kind: "undecided" };
    if (answer.kind === "absent") return { kind: "unknown", former: false };
    const value = answer.value as AccountValue | null;
    const fields = fieldsOf(value);
    if (!fields || !value) return { kind: "unknown", former: value?.removed === true };
    // The nonce stays when a later round only confirms the value, and changes with every change.
    return { kind: "account", account: { ...fields, version: value.nonce } };
  }

  /** The account has changed somewhere. */
  forget(register: string): void {
    this.existed.delete(register.slice(accountRegister("" as MailboxName).length) as MailboxName);
  }

  /**
   * Whether mail is taken for the mailbox. A member that a removal could not be told to takes the
   * account for alive for 5 s more.
   */
  async exists(mailbox: MailboxName): Promise<"yes" | "no" | "undecided"> {
    const nowMs = this.options.clock.monotonicMs();
    if ((this.existed.get(mailbox) ?? 0) > nowMs) return "yes";
    const answer = await this.read(mailbox);
    if (answer.kind === "undecided") return "undecided";
    if (answer.kind === "unknown") {
      this.existed.delete(mailbox);
      return "no";
    }
    if (this.existed.size >= existsRememberedMax) this.existed = new Map();
    this.existed.set(mailbox, nowMs + existsRememberedMs);
    return "yes";
  }

  /** Adds an account; at most one of several that try the same name at once succeeds. */
  async add(name: string, password: string): Promise<AccountChange> {
    const parsed = this.parseName(name);
    if (parsed.kind === "invalid") return parsed;
    const refusal = refusePassword(password);
    if (refusal) return refusal;
    const credentials = await this.options.passwords.credentials(password);
    const fields = { ...credentials, createdAtMs: this.options.clock.wallMs() };
    return this.change(parsed.mailbox, (before) => (before ? "exists" : fields));
  }

  /** Session tokens end with the old password; app passwords stay. */
  async changePassword(name: string, password: string): Promise<AccountChange> {
    const refusal = refusePassword(password);
    if (refusal) return refusal;
    const credentials = await this.options.passwords.credentials(password);
    return this.update(name, (account) => ({ ...nextGeneration(account), ...credentials }));
  }

  /** Changes an account that exists. `make` may run several times, on newer values. */
  async update(
    name: string,
    make: (account: AccountFields) => AccountFields,
  ): Promise<AccountChange> {
    const mailbox = parseLogin(name, this.options.domain);
    if (!mailbox) return { kind: "unknown" };
    return this.change(mailbox, (before) => (before ? make(before) : "unknown"));
  }

  async remove(name: string): Promise<AccountChange> {
    const mailbox = parseLogin(name, this.options.domain);
    if (!mailbox) return { kind: "unknown" };
    return this.change(mailbox, (before) => (before ? { removed: true } : "unknown"));
  }

  private async change(
    mailbox: MailboxName,
    make: (
      before: AccountFields | undefined,
    ) => AccountFields | { readonly removed: true } | "exists" | "unknown",
  ): Promise<AccountChange> {
    const nonce = this.nonce();
    let triedOn: string | undefined;
    const answer = await this.options.registers.change(accountRegister(mailbox), (before) => {
      const present = before as AccountValue | null;
      const found = present?.nonce ?? "";
      if (found === nonce) return { result: "done" as const };
      // An interrupted round may have made the change before others made theirs on top of it: it
      // must neither be made twice nor be called refused.
      if (triedOn !== undefined && triedOn !== found) return { result: "undecided" as const };
      const made = make(fieldsOf(present));
      if (typeof made === "string") return { result: made };
      triedOn = found;
      return { set: { value: { ...made, nonce } }, result: "done" as const };
    });
    await this.options.announceChanged(accountRegister(mailbox));
    const kind = answer.kind === "undecided" ? "undecided" : answer.result;
    return kind === "done" ? { kind, mailbox } : { kind };
  }

  /** `alice` or `alice@ring.test` of somebody who wants an account. */
  parseName(name: string): { kind: "ok"; mailbox: MailboxName } | { kind: "invalid"; why: string } {
    const { domain } = this.options;
    const at = name.lastIndexOf("@");
    const local = at < 0 ? name : name.slice(0, at);
    const valid = validateAccountName(local);
    if (valid.kind === "invalid") return valid;
    const mailbox = parseLogin(name, domain);
    if (mailbox === `${valid.local}@${domain}`) return { kind: "ok", mailbox };
    return { kind: "invalid", why: `this ring serves the domain ${domain} only` };
  }

  private nonce(): string {
    return this.options.random.bytes(12).toString("base64url");
  }
}

/** Voids the account's session tokens. */
export const nextGeneration = (account: AccountFields): AccountFields => ({
  ...account,
  generation: (account.generation ?? 0) + 1,
});

function refusePassword(password: string): { kind: "invalid"; why: string } | undefined {
  if (password.length === 0) return { kind: "invalid", why: "the password is empty" };
  if (Buffer.byteLength(password) > passwordOctetsMax) {
    return { kind: "invalid", why: `the password is longer than ${passwordOctetsMax} octets` };
  }
  if (prepareOpaque(password) === undefined) {
    return { kind: "invalid", why: "the password has a control character" };
  }
  return undefined;
}

/** Undefined when the register holds no account. */
function fieldsOf(value: AccountValue | null): AccountFields | undefined {
  if (!value?.passwordHash) return undefined;
  const { nonce: _nonce, removed: _removed, passwordHash, createdAtMs = 0, ...rest } = value;
  return { ...rest, passwordHash, createdAtMs };
}
