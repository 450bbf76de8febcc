/** register, login, refresh and logout: from a password to a session. */
import {
  type Ask,
  type DirectoryRecord,
  type PacketHeader,
  publicKeyText,
  type ServerEndpoints,
  type SessionAnswer,
} from "../../ebm/index.js";
import type { Accounts } from "../../mailbox/accounts.js";
import type { Authenticator, Senders } from "../../mailbox/authentication.js";
import { type AddedAccount, addAccount } from "../../mailbox/newcomers.js";
import type { Mailboxes } from "../../mailbox/mailboxes.js";
import type { RingKeys } from "../../mailbox/ring-keys.js";
import type { Sessions, TokenAnswer } from "../../mailbox/sessions.js";
import { canonicalMailbox, parseAddress } from "../../mime/address.js";
import type { Clock } from "../../replication/ports.js";
import type { MailboxName } from "../../shared/ids.js";
import type { OperationOutcome } from "../ports.js";
import type { RingAnswers } from "./answers.js";
import type { Directory } from "./directory.js";
import type { Invitations } from "./invitations.js";
import { controlLimits } from "./limits.js";
import type { Novelty, PacketNumbers } from "./packet-numbers.js";
import { denied, refuse, type Refusal, undecided } from "./refusal.js";
import type { Strangers } from "./strangers.js";

/** Who may register by mail. */
export type RegistrationPolicy = "open" | "token" | "closed";

/** A session for a user, and where its answer goes. */
export type Admitted =
  | { readonly ok: true; readonly answer: SessionAnswer; readonly record: DirectoryRecord }
  | Refusal;

export interface SignUpOptions {
  readonly policy: RegistrationPolicy;
  readonly accounts: Accounts;
  readonly mailboxes: Pick<Mailboxes, "purge">;
  readonly authenticator: Pick<Authenticator, "password">;
  readonly senders: Senders;
  readonly sessions: Sessions;
  readonly keys: Pick<RingKeys, "current">;
  readonly directory: Directory;
  readonly numbers: PacketNumbers;
  readonly invitations: Invitations;
  readonly answers: RingAnswers;
  readonly registrations: Strangers;
  /** `ring@ring.test`, and where data for the broker goes. */
  readonly ring: string;
  readonly broker: string;
  readonly servers: () => Promise<readonly ServerEndpoints[]>;
  readonly clock: Clock;
}

interface From {
  readonly header: PacketHeader;
  readonly clientAddress: string;
}

export class SignUp {
  constructor(private readonly options: SignUpOptions) {}

  async register(ask: Ask<"register">, from: From): Promise<Admitted> {
    const { registrations, invitations } = this.options;
    const closed = this.isClosed(ask.invitation);
    if (closed) return closed;
    const user = ask.record.user as MailboxName;
    const refusal =
      (await this.checkName(user)) ?? (await this.check(ask.record, from, "register"));
    if (refusal) return refusal;
    if (!registrations.take(from.clientAddress)) {
      return refuse("throttled", "too many new accounts of late, try again later");
    }
    const known = await this.isKnown(user);
    if (typeof known !== "boolean") return known;
    // Whoever did not read the reply to the first try comes again.
    if (known) return this.registerAgain(ask, from);
    const { invitation } = ask;
    const buyer = `${user} ${from.header.key}`;
    const spent = invitation === undefined ? undefined : await invitations.spend(invitation, buyer);
    if (spent) return spent;
    const added = await addAccount(this.options, user, ask.password);
    if (added.kind !== "done") {
      if (invitation !== undefined && added.kind !== "undecided") {
        await invitations.giveBack(invitation, buyer);
      }
      return notAdded(added, user);
    }
    return this.admit(user, ask.record, from);
  }

  async login(ask: Ask<"login">, from: From): Promise<Admitted> {
    const user = ask.record.user as MailboxName;
    const refusal = await this.check(ask.record, from, "login");
    if (refusal) return refusal;
    const wrong = await this.checkPassword(user, ask.password, from);
    if (wrong) return wrong;
    await this.options.answers.dropOld(user);
    return this.admit(user, ask.record, from);
  }

  async refresh(token: string): Promise<OperationOutcome<"refresh">> {
    return this.session(await this.options.sessions.refresh(token));
  }

  async logout(user: MailboxName, device: string): Promise<OperationOutcome<"logout">> {
    const { directory, sessions } = this.options;
    const revoked = await sessions.revoke(user);
    const removed = await directory.removeDevice(user, device);
    return revoked.kind === "undecided" || removed === "undecided"
      ? undecided()
      : { ok: true, answer: {} };
  }

  /** A record that a device which is believed already puts in place of an older one. */
  async announce(
    { record }: Ask<"announce">,
    { header }: Pick<From, "header">,
  ): Promise<OperationOutcome<"announce">> {
    const refusal = this.checkRecord(record, header) ?? (await this.checkAddresses(record));
    if (refusal) return refusal;
    return (await this.put(record)) ?? { ok: true, answer: {} };
  }

  private isClosed(invitation: string | undefined): Refusal | undefined {
    const { policy } = this.options;
    if (policy === "closed") {
      return refuse("closed", "accounts of this ring are made by its operator (chord user add)");
    }
    if (policy === "open" || invitation !== undefined) return undefined;
    return refuse("closed", "an invitation is needed; the ring's operator makes it (chord invite)");
  }

  private async checkName(user: string): Promise<Refusal | undefined> {
    const parsed = await this.options.accounts.parseNewName(user);
    if (parsed.kind === "undecided") return undecided();
    if (parsed.kind === "invalid") return refuse("malformed", `the user's id: ${parsed.why}`);
    if (parsed.mailbox === user) return undefined;
    return refuse("malformed", `the user's id has to be written ${parsed.mailbox}`);
  }

  /** All but the password, and before it: what was captured can't be used to ask about passwords. */
  private async check(
    record: DirectoryRecord,
    { header }: From,
    operation: "register" | "login",
  ): Promise<Refusal | undefined> {
    const wrong = this.checkRecord(record, header);
    if (wrong) return wrong;
    const novelty = await this.options.numbers.check(record.user as MailboxName, header);
    return notNew(novelty) ?? (await this.checkAddresses(record, operation));
  }

  private checkRecord(record: DirectoryRecord, header: PacketHeader): Refusal | undefined {
    const nowMs = this.options.clock.wallMs();
    const { user, device } = header.from;
    if (record.user !== user) return denied("the record is somebody else's");
    const own = record.devices.find((one) => one.device === device);
    if (own?.key !== header.key || record.signedBy !== device) {
      return denied("the record is not signed with the key of the packet");
    }
    if (record.version > nowMs + controlLimits.skewMs) {
      return refuse("malformed", "the record's version is in the future: set the clock");
    }
    return record.expiresAtMs > nowMs ? undefined : refuse("malformed", "the record is over");
  }

  /** Addresses of this ring have to be the user's own; others can be had only where mail can be sent. */
  private async checkAddresses(
    { user, addresses }: DirectoryRecord,
    operation?: "register" | "login",
  ): Promise<Refusal | undefined> {
    const { answers } = this.options;
    for (const [index, address] of addresses.entries()) {
      if (parseAddress(address).kind === "invalid") {
        return refuse("malformed", "an address of the record is none");
      }
      const where = await answers.whereIs(address);
      if (where === "undecided") return undecided();
      if (where === "elsewhere") {
        if (index > 0 || answers.reachesElsewhere) continue;
        const own = user.replace("@", "+data@");
        return refuse("forbidden", `this ring sends no mail elsewhere: name ${own} first`);
      }
      // Before there is the account it has no aliases.
      const owner =
        operation === "register" ? isOwn(user, address) : await this.owns(user, address);
      if (owner === "undecided") return undecided();
      if (!owner) return refuse("forbidden", "an address of the record is not the user's");
    }
    return undefined;
  }

  private async owns(user: string, address: string): Promise<boolean | "undecided"> {
    if (isOwn(user, address)) return true;
    const identity = { mailbox: user as MailboxName, folder: "inbox" } as const;
    const answer = await this.options.senders.maySend(identity, address);
    return answer === "undecided" ? answer : answer === "allowed";
  }

  private async isKnown(user: MailboxName): Promise<boolean | Refusal> {
    const answer = await this.options.accounts.read(user);
    return answer.kind === "undecided" ? undecided() : answer.kind === "account";
  }

  /**
   * With the same password only, and for the device that was let in by the first try, or as long as
   * nobody has logged in: the first try may have ended in between.
   */
  private async registerAgain(ask: Ask<"register">, from: From): Promise<Admitted> {
    const user = ask.record.user as MailboxName;
    const found = await this.options.directory.recall(user);
    if (found.kind === "undecided") return undecided();
    const { device } = from.header.from;
    const isSame = ({ device: one, key }: { device: string; key: string }): boolean =>
      one === device && key === from.header.key;
    if (found.kind === "entry" && !found.entry.devices.some(isSame)) return taken(user);
    const wrong = await this.checkPassword(user, ask.password, from);
    if (wrong) return wrong.code === "denied" ? taken(user) : wrong;
    return this.admit(user, ask.record, from);
  }

  private async checkPassword(
    user: MailboxName,
    password: string,
    { clientAddress: address }: From,
  ): Promise<Refusal | undefined> {
    const from = { address, protocol: "smtp" } as const;
    const result = await this.options.authenticator.password(user, password, from);
    switch (result.kind) {
      case "granted":
        // `alice` or `alice/outbox` logs in as well, but is nobody's id.
        if (result.identity.mailbox === user && result.identity.folder === "inbox")
          return undefined;
        return denied("wrong user or password");
      case "denied":
        return denied("wrong user or password");
      case "throttled":
        return refuse(
          "throttled",
          `too many tries, come again in ${Math.ceil(result.retryAfterMs / 1_000)} s`,
        );
      case "tempfail":
        return undecided();
    }
  }

  /** Somebody who has proved who they are. */
  private async admit(
    user: MailboxName,
    record: DirectoryRecord,
    { header }: From,
  ): Promise<Admitted> {
    const { numbers, sessions } = this.options;
    const refusal = notNew(await numbers.note(user, header));
    if (refusal) return refusal;
    if ((await this.options.directory.admit(user, record)) === "undecided") return undecided();
    const session = await this.session(await sessions.issue(user));
    return session.ok ? { ...session, record } : session;
  }

  private async put(record: DirectoryRecord): Promise<Refusal | undefined> {
    switch (await this.options.directory.put(record.user as MailboxName, record)) {
      case "done":
        return undefined;
      case "older":
        return refuse("exists", "a newer record of the user is there; make a later one");
      case "undecided":
        return undecided();
    }
  }

  private async session(
    token: TokenAnswer,
  ): Promise<{ readonly ok: true; readonly answer: SessionAnswer } | Refusal> {
    if (token.kind === "undecided") return undecided();
    if (token.kind === "denied") return denied("the session is over; log in again");
    const { keys, ring, broker, servers } = this.options;
    const current = await keys.current();
    if (!current) return undecided();
    const found = await this.options.directory.recall(token.mailbox);
    const answer: SessionAnswer = {
      ...{ user: token.mailbox, token: token.token, expiresAtMs: token.expiresAtMs },
      ringKeys: Object.fromEntries(
        current.keys.map(({ kid, publicKey }) => [kid, publicKeyText(publicKey)]),
      ),
      ...{ ring, broker, servers: await servers() },
      ...(found.kind === "entry" && { devices: found.entry.devices }),
    };
    return { ok: true, answer };
  }
}

/** `alice@ring.test`, or a subaddress of it. */
function isOwn(user: string, address: string): boolean {
  const named = canonicalMailbox(address, [user.slice(user.lastIndexOf("@") + 1)]);
  return named.kind === "mailbox" && named.mailbox === user;
}

const taken = (user: string): Refusal => refuse("exists", `there is an account ${user} already`);

function notNew(novelty: Novelty): Refusal | undefined {
  switch (novelty) {
    case "new":
      return undefined;
    case "seen":
      return denied("its packet number is not above those seen before");
    case "full":
      return refuse("throttled", "too many devices within a few minutes");
    case "undecided":
      return undecided();
  }
}

function notAdded(added: Exclude<AddedAccount, { kind: "done" }>, user: string): Refusal {
  switch (added.kind) {
    case "exists":
    case "alias":
      return taken(user);
    case "invalid":
      return refuse("malformed", added.why);
    case "unknown":
    case "undecided":
    case "unpurged":
      return undecided();
  }
}
