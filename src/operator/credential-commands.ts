/** Commands about app passwords and session tokens. */
import type { Accounts } from "../mailbox/accounts.js";
import { type AppPasswords, appPasswordsMax } from "../mailbox/app-passwords.js";
import type { Authenticator } from "../mailbox/authentication.js";
import { parseWho } from "../mailbox/login-name.js";
import { type RingKeys, signingKeysMax } from "../mailbox/ring-keys.js";
import type { Sessions, TokenAnswer } from "../mailbox/sessions.js";
import { AdminError, type AppPasswordLine, type SessionReply } from "../shared/admin.js";
import { changedMailbox } from "./account-change.js";

export interface Credentials {
  readonly accounts: Pick<Accounts, "read">;
  readonly appPasswords: AppPasswords;
  readonly sessions: Sessions;
  readonly keys: Pick<RingKeys, "rotate">;
  readonly logins: Authenticator;
}

const tooFew = (): AdminError =>
  new AdminError("unavailable", "too few members answer to check that; try again");

export class CredentialCommands {
  constructor(
    private readonly credentials: Credentials,
    private readonly domain: string,
  ) {}

  async addAppPassword(name: string, label: string) {
    const { appPasswords } = this.credentials;
    const added = await appPasswords.add(name, label);
    switch (added.kind) {
      case "added": {
        const { id, password } = added;
        return { mailbox: parseWho(name, this.domain).mailbox ?? name, id, password };
      }
      case "full": {
        const why = `${name} has ${appPasswordsMax} app passwords already; revoke one first`;
        throw new AdminError("refused", why);
      }
      case "refused":
        changedMailbox(added.change, name);
        throw new AdminError("internal", "an app password was neither added nor refused");
    }
  }

  async listAppPasswords(name: string): Promise<{ appPasswords: readonly AppPasswordLine[] }> {
    const { mailbox } = parseWho(name, this.domain);
    const answer = mailbox && (await this.credentials.accounts.read(mailbox));
    if (answer?.kind === "undecided") throw tooFew();
    if (answer?.kind !== "account") throw new AdminError("unknown", `there is no account ${name}`);
    const { appPasswords = [] } = answer.account;
    const lines = appPasswords.map(({ id, label, createdAtMs }) => ({ id, label, createdAtMs }));
    return { appPasswords: lines };
  }

  async revokeAppPassword(name: string, id: string): Promise<{ mailbox: string }> {
    const { change, found } = await this.credentials.appPasswords.revoke(name, id);
    const mailbox = changedMailbox(change, name);
    if (found) return { mailbox };
    throw new AdminError("unknown", `${name} has no app password ${id}`);
  }

  /** As a mail client logs in; wrong tries are counted. */
  async login(name: string, password: string): Promise<SessionReply> {
    const { logins, sessions } = this.credentials;
    const result = await logins.password(name, password, { address: "", protocol: "command" });
    switch (result.kind) {
      case "granted":
        return tokenOf(await sessions.issue(result.identity.mailbox));
      case "denied":
        throw new AdminError("refused", "wrong name or password");
      case "throttled": {
        const seconds = Math.ceil(result.retryAfterMs / 1_000);
        const why = `too many wrong passwords for ${name}; try again in ${seconds} s`;
        throw new AdminError("refused", why);
      }
      case "tempfail":
        throw tooFew();
    }
  }

  async refresh(token: string): Promise<SessionReply> {
    return tokenOf(await this.credentials.sessions.refresh(token));
  }

  async revokeSessions(name: string): Promise<{ mailbox: string }> {
    return { mailbox: changedMailbox(await this.credentials.sessions.revoke(name), name) };
  }

  async rotateKey(dropOld: boolean): Promise<{ kid: string }> {
    const rotation = await this.credentials.keys.rotate({ dropOld });
    if (rotation.kind === "rotated") return { kid: rotation.kid };
    if (rotation.kind === "undecided") throw tooFew();
    const why = `${signingKeysMax} keys still have tokens; wait an hour, or give them up with --drop-old`;
    throw new AdminError("refused", why);
  }
}

function tokenOf(answer: TokenAnswer): SessionReply {
  if (answer.kind === "undecided") throw tooFew();
  if (answer.kind === "denied") {
    throw new AdminError("refused", "the token is not valid (any more); log in again");
  }
  const { mailbox, token, expiresAtMs } = answer;
  return { mailbox, token, expiresAtMs };
}
