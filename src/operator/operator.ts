/** What the command line asks of a member, answered for the whole ring. */
import { parseLogin } from "../mime/address.js";
import type { Member } from "../replication/roster.js";
import { ringIdOf } from "../ring/identifier.js";
import {
  AdminError,
  type AdminMethod,
  type AdminMethods,
  type LookupReply,
  type MemberStatus,
  type StatusReply,
} from "../shared/admin.js";
import type { RingId } from "../shared/ids.js";
import { type AccountFacilities, AccountCommands } from "./account-commands.js";
import { AliasCommands } from "./alias-commands.js";
import { text, texts } from "./arguments.js";
import { CopyCommands } from "./copy-commands.js";
import { CredentialCommands, type Credentials } from "./credential-commands.js";
import { DomainCommands } from "./domain-commands.js";
import { MemberCommands, parseMember } from "./member-commands.js";
import { memberStatus } from "./member-status.js";
import { type OutgoingMail, RelayCommands } from "./relay-commands.js";
import { surveyAll } from "./surveys.js";

export interface OperatorOptions extends AccountFacilities {
  readonly outgoing: OutgoingMail;
  readonly credentials: Credentials;
  readonly admission: {
    /** @throws AdminError */
    createToken(ttlMs: number): Promise<AdminMethods["tokenCreate"]["reply"]>;
  };
  /** Who may register by mail, and what came to the control address. All may throw AdminError. */
  readonly control: ControlFacilities;
}

interface ControlFacilities {
  readonly invitations: {
    create(ttlMs: number, count: number): Promise<AdminMethods["inviteCreate"]["reply"]>;
  };
  readonly kept: {
    list(): Promise<AdminMethods["controlList"]["reply"]["mails"]>;
    read(id: string): Promise<AdminMethods["controlRead"]["reply"]>;
    remove(id: string): Promise<AdminMethods["controlDelete"]["reply"]>;
  };
}

type Handlers = {
  readonly [M in AdminMethod]: (
    args: AdminMethods[M]["args"],
  ) => Promise<AdminMethods[M]["reply"]> | AdminMethods[M]["reply"];
};

const askDeadlineMs = 1_500;

export class Operator {
  private readonly handlers: Handlers = {
    userAdd: ({ name, password }) => this.accounts.add(text(name), text(password)),
    userPasswd: ({ name, password }) => this.accounts.changePassword(text(name), text(password)),
    userRemove: ({ name }) => this.accounts.remove(text(name)),
    userList: () => this.accounts.list(),
    userShow: ({ name }) => this.accounts.show(text(name)),
    userDisable: ({ name, disabled }) => this.accounts.disable(text(name), disabled),
    userQuota: (args) => this.accounts.setQuota(args),
    aliasAdd: ({ alias, targets }) => this.aliases.add(text(alias), texts(targets)),
    aliasRemove: ({ alias, targets }) => this.aliases.remove(text(alias), texts(targets)),
    aliasList: () => this.aliases.list(),
    domainAdd: ({ domain }) => this.domains.add(text(domain)),
    domainRemove: ({ domain, force }) => this.domains.remove(text(domain), force === true),
    domainList: () => this.domains.list(),
    appPasswordAdd: ({ name, label }) => this.credentials.addAppPassword(text(name), text(label)),
    appPasswordList: ({ name }) => this.credentials.listAppPasswords(text(name)),
    appPasswordRevoke: ({ name, id }) => this.credentials.revokeAppPassword(text(name), text(id)),
    sessionCreate: ({ name, password }) => this.credentials.login(text(name), text(password)),
    sessionRefresh: ({ token }) => this.credentials.refresh(text(token)),
    sessionRevoke: ({ name }) => this.credentials.revokeSessions(text(name)),
    sessionRotateKey: ({ dropOld }) => this.credentials.rotateKey(dropOld === true),
    relayTest: ({ to }) => this.relay.test(text(to)),
    relayStatus: () => this.relay.status(),
    status: () => this.status(),
    memberStatus: () => memberStatus(this.options),
    locate: ({ address }) => this.copies.locate(text(address)),
    tokenCreate: ({ ttlMs }) => this.options.admission.createToken(lifetime(ttlMs)),
    inviteCreate: ({ ttlMs, count }) =>
      this.options.control.invitations.create(lifetime(ttlMs), Number(count)),
    controlList: async () => ({ mails: await this.options.control.kept.list() }),
    controlRead: ({ id }) => this.options.control.kept.read(text(id)),
    controlDelete: ({ id }) => this.options.control.kept.remove(text(id)),
    lookup: ({ key }) => this.lookup(text(key)),
    leave: ({ id, force }) => this.members.leave(id, force === true),
    leaveProgress: ({ id }) => this.members.progress(text(id)),
    evict: ({ ids, force }) => this.members.evict(ids, force),
    mailboxes: ({ after }) => this.copies.mailboxes(text(after)),
    repair: (args) => this.copies.repair(args),
    restoreMessage: ({ message, from }) => this.copies.restore(text(message), text(from)),
  };

  private readonly accounts: AccountCommands;
  private readonly aliases: AliasCommands;
  private readonly domains: DomainCommands;
  private readonly members: MemberCommands;
  private readonly copies: CopyCommands;
  private readonly credentials: CredentialCommands;
  private readonly relay: RelayCommands;

  constructor(private readonly options: OperatorOptions) {
    this.accounts = new AccountCommands(options);
    this.aliases = new AliasCommands(options);
    this.domains = new DomainCommands(options);
    this.members = new MemberCommands(options);
    this.copies = new CopyCommands(options);
    this.relay = new RelayCommands(options);
    this.credentials = new CredentialCommands(options.credentials, options.domain);
  }

  /** @throws AdminError */
  async run(method: AdminMethod, args: unknown): Promise<unknown> {
    if (!Object.hasOwn(this.handlers, method)) {
      throw new AdminError("unimplemented", `this member does not know ${String(method)}`);
    }
    if (typeof args !== "object" || args === null) {
      throw new AdminError("invalid", "the arguments are not an object");
    }
    return this.handlers[method](args as never);
  }

  private async status(): Promise<StatusReply> {
    const { replication } = this.options;
    const { roster } = replication;
    const [members, copies, postmaster] = await Promise.all([
      Promise.all(roster.members.map((member) => this.statusOf(member))),
      surveyAll(replication),
      this.accounts.postmasterNotices(),
    ]);
    return {
      ring: roster.ring,
      rosterEpoch: roster.epoch,
      members,
      copies,
      notices: [...noticesFor(members, roster.ring.replicas), ...postmaster],
    };
  }

  private async statusOf(member: Member): Promise<MemberStatus> {
    const { replication } = this.options;
    try {
      const options = { deadlineMs: askDeadlineMs };
      const reply = await replication.peers.call(member, "status", {}, options);
      return { ...(reply.status as MemberStatus), state: member.state };
    } catch {
      return {
        id: member.id.toString(),
        addr: member.addr,
        uuid: member.uuid,
        state: "unreachable",
        successors: [],
        fingers: [],
        keysOwned: 0,
        keysCopied: 0,
        messages: 0,
        rosterEpoch: 0,
      };
    }
  }

  private async lookup(key: string): Promise<LookupReply> {
    const { ring, replication, domain } = this.options;
    const { bits } = replication.roster.ring;
    const mailbox = key.includes("@") ? parseLogin(key, domain) : undefined;
    const id = mailbox ? ringIdOf(mailbox, bits) : parseMember(key, bits);
    const result = await ring.lookup(id);
    if (!result.ok) {
      throw new AdminError("unavailable", `the key ${id} could not be found: ${result.reason}`);
    }
    const shown = ({ id: at, addr }: { id: RingId; addr: string }) => ({ id: at.toString(), addr });
    return {
      key: id.toString(),
      owner: shown(result.owner),
      path: result.path.map(shown),
      timeouts: result.timeouts,
    };
  }
}

const tokenMsMin = 1_000;
const tokenMsMax = 7 * 24 * 3_600_000;

/** @throws AdminError */
function lifetime(ttlMs: unknown): number {
  if (typeof ttlMs === "number" && ttlMs >= tokenMsMin && ttlMs <= tokenMsMax) return ttlMs;
  throw new AdminError("invalid", "a token lives for one second to seven days");
}

function noticesFor(members: readonly MemberStatus[], replicas: number): string[] {
  const notices: string[] = [];
  for (const { id, addr, state } of members) {
    if (state === "unreachable") notices.push(`member ${id} at ${addr} does not answer`);
    if (state === "joining") notices.push(`member ${id} at ${addr} is joining`);
    if (state === "leaving") notices.push(`member ${id} at ${addr} is leaving`);
  }
  const answering = members.filter((member) => member.state !== "unreachable").length;
  if (answering <= replicas) {
    const copies = answering === 1 ? "one copy" : `${answering} copies`;
    notices.push(`new mail gets ${copies} at the most, not ${replicas + 1}: start more members`);
  }
  return notices;
}
