/**
 * What the command line asks of a running member. One unary gRPC call carries a method name, JSON
 * arguments and a JSON answer; every method may be sent to any member.
 */

/** Ranges being copied because members come or go. Totals grow when members tell of more. */
export interface Copying {
  readonly mailboxes: number;
  readonly mailboxesTotal: number;
  readonly messages: number;
  readonly messagesTotal: number;
  readonly octets: number;
  readonly octetsTotal: number;
  readonly seconds: number;
}

export interface MemberStatus {
  /** Decimal ring id. */
  readonly id: string;
  readonly addr: string;
  readonly uuid: string;
  /** Roster state, or `unreachable` when an active member did not answer. */
  readonly state: "joining" | "active" | "leaving" | "unreachable";
  readonly predecessor?: string;
  readonly successors: readonly string[];
  /** Finger table: where each finger points, decimal ids, finger 0 first. */
  readonly fingers: readonly string[];
  /** Mailboxes for whose key this member is the first of the group, and those it has a copy of. */
  readonly keysOwned: number;
  readonly keysCopied: number;
  readonly messages: number;
  readonly rosterEpoch: number;
  readonly smtp?: string;
  readonly submission?: string;
  readonly submissions?: string;
  readonly pop3?: string;
  readonly pop3s?: string;
  readonly rssBytes?: number;
  /** The longest that the member's event loop stood still in the last minute, in milliseconds. */
  readonly stallMs?: number;
  /** Present while this member copies what it gains by a change of members. */
  readonly copying?: Copying;
}

/** How many copies there really are: digests were compared. A key is a mailbox and its account. */
export interface CopiesReply {
  /** r + 1. */
  readonly wanted: number;
  readonly keys: number;
  /** `byCopies[n]` keys have n equal copies. */
  readonly byCopies: readonly number[];
  /** Keys that can't be read or written now, since too few members of their group answer. */
  readonly withoutQuorum: number;
  /** False when a member that answers for some keys did not tell. */
  readonly complete: boolean;
}

export interface StatusReply {
  readonly ring: { readonly bits: number; readonly replicas: number; readonly domain: string };
  readonly rosterEpoch: number;
  readonly members: readonly MemberStatus[];
  readonly copies: CopiesReply;
  /** What is going on or wrong, in words: a join in progress, a silent member. */
  readonly notices: readonly string[];
}

export interface LocateReply {
  readonly mailbox: string;
  /** Decimal key on the circle. */
  readonly key: string;
  readonly account: "exists" | "alias" | "unknown" | "undecided";
  readonly copies: readonly {
    readonly id: string;
    readonly addr: string;
    /** False for a member outside the group that still holds a copy. */
    readonly inGroup: boolean;
    readonly answered: boolean;
    readonly messages: number;
    readonly tombstones: number;
    readonly digest: string;
    /** Against all that the copies have together. Absent: it has all of it, or did not answer. */
    readonly lacks?: { readonly messages: number; readonly tombstones: number };
  }[];
  /** True when every member of the group answered with the same digest. */
  readonly equal: boolean;
}

export interface LookupReply {
  readonly key: string;
  readonly owner: { readonly id: string; readonly addr: string };
  /** Members asked, in order, beginning with the one the command was sent to. */
  readonly path: readonly { readonly id: string; readonly addr: string }[];
  readonly timeouts: number;
}

/** What one member did to make its copy of a mailbox whole. Counts are of this step. */
export interface RepairedCopy {
  readonly id: string;
  readonly addr: string;
  readonly answered: boolean;
  /** Mails and deletions copied from others. */
  readonly messages: number;
  readonly tombstones: number;
  /** Bodies read and found sound; found damaged or missing, and got from another member. */
  readonly sound: number;
  readonly healed: number;
  /** Ids of messages whose body no member has in sound condition. */
  readonly unhealed: readonly string[];
}

/** Where a repair goes on, by member id; members that are done are left out. */
export type RepairCursor = Readonly<Record<string, string>>;

export interface RepairReply {
  readonly mailbox: string;
  readonly members: readonly RepairedCopy[];
  /** Absent when all of it is done: ask again with it otherwise. */
  readonly cursor?: RepairCursor;
}

export interface EvictReply {
  readonly ids: readonly string[];
  readonly epoch: number;
  /** Of a forced eviction: what is given up. */
  readonly lost?: {
    readonly keys: number;
    /** Keys that had too few living copies to be sure of what was written last. */
    readonly withoutQuorum: number;
    /** Share of the circle, 0 to 1, of which no copy is left. */
    readonly shareWithoutCopy: number;
  };
}

export interface DepartureReply {
  readonly done: boolean;
  readonly copying: Copying;
  /** Silent members without whose data it can't be completed. */
  readonly waitingFor: readonly { readonly id: string; readonly addr: string }[];
}

export interface AppPasswordLine {
  readonly id: string;
  readonly label: string;
  /** Since 1970. */
  readonly createdAtMs: number;
}

export interface SessionReply {
  readonly mailbox: string;
  readonly token: string;
  /** Since 1970. */
  readonly expiresAtMs: number;
}

/** Absent: no bound. */
export interface QuotaReply {
  readonly octets?: number;
  readonly messages?: number;
  /** False: the asked member's default for all accounts. */
  readonly own: boolean;
}

export interface UserReply {
  readonly mailbox: string;
  readonly disabled: boolean;
  readonly createdAtMs: number;
  readonly quota: QuotaReply;
  /** Absent: too few members answer. */
  readonly usage?: { readonly octets: number; readonly messages: number };
  readonly appPasswords: readonly {
    readonly id: string;
    readonly label: string;
    readonly createdAtMs: number;
  }[];
  /** Those that lead to it, also through others. */
  readonly aliases: readonly string[];
  /** False: too few members answered, aliases may be missing. */
  readonly complete: boolean;
}

/** A mail to the ring's control address that was not understood. */
export interface KeptMailLine {
  readonly id: string;
  /** Since 1970. */
  readonly receivedAtMs: number;
  readonly octets: number;
  readonly why: string;
}

export interface AliasReply {
  readonly alias: string;
  readonly targets: readonly string[];
}

export interface AdminMethods {
  userAdd: { args: { name: string; password: string }; reply: { mailbox: string } };
  userPasswd: { args: { name: string; password: string }; reply: { mailbox: string } };
  /** `aliases`: those that still lead to it. */
  userRemove: {
    args: { name: string };
    reply: { mailbox: string; aliases: readonly string[] };
  };
  /** A password for one program; shown this once. */
  appPasswordAdd: {
    args: { name: string; label: string };
    reply: { mailbox: string; id: string; password: string };
  };
  appPasswordList: {
    args: { name: string };
    reply: { appPasswords: readonly AppPasswordLine[] };
  };
  appPasswordRevoke: { args: { name: string; id: string }; reply: { mailbox: string } };
  sessionCreate: { args: { name: string; password: string }; reply: SessionReply };
  sessionRefresh: { args: { token: string }; reply: SessionReply };
  /** Voids all tokens of an account. */
  sessionRevoke: { args: { name: string }; reply: { mailbox: string } };
  /** `dropOld`: tokens that were signed with an earlier key are void at once. */
  sessionRotateKey: { args: { dropOld: boolean }; reply: { kid: string } };
  userList: {
    args: Record<string, never>;
    reply: { users: readonly string[]; complete: boolean };
  };
  userShow: { args: { name: string }; reply: UserReply };
  userDisable: { args: { name: string; disabled: boolean }; reply: { mailbox: string } };
  /** `standard`: back to the ring's default. Else null takes a bound away, absent leaves it. */
  userQuota: {
    args: { name: string; octets?: number | null; messages?: number | null; standard?: boolean };
    reply: { mailbox: string; quota: QuotaReply };
  };
  /** Makes an alias or adds targets to it. Answers with all of its targets. */
  aliasAdd: { args: { alias: string; targets: readonly string[] }; reply: AliasReply };
  /** Takes targets away; none given: the alias. */
  aliasRemove: { args: { alias: string; targets: readonly string[] }; reply: AliasReply };
  aliasList: {
    args: Record<string, never>;
    reply: { aliases: readonly AliasReply[]; complete: boolean };
  };
  domainAdd: { args: { domain: string }; reply: { domain: string; changed: boolean } };
  /** `force`: also when there are accounts or aliases in it. */
  domainRemove: {
    args: { domain: string; force: boolean };
    reply: { domain: string; changed: boolean };
  };
  /** The first one first. */
  domainList: { args: Record<string, never>; reply: { domains: readonly string[] } };
  /** Puts a short mail to `to` among what leaves the ring, to try the relay. */
  relayTest: { args: { to: string }; reply: { to: string; messageId: string } };
  /** What waits to leave the ring; null when too few members answer. */
  relayStatus: { args: Record<string, never>; reply: { waiting: number | null } };
  status: { args: Record<string, never>; reply: StatusReply };
  /** As `status`, of the member asked alone. */
  memberStatus: { args: Record<string, never>; reply: MemberStatus };
  locate: { args: { address: string }; reply: LocateReply };
  /** A text with which one member on another machine may join, until `expiresAtMs` (Unix time). */
  tokenCreate: { args: { ttlMs: number }; reply: { token: string; expiresAtMs: number } };
  /** Texts with which one user each may register by mail, until `expiresAtMs` (Unix time). */
  inviteCreate: {
    args: { ttlMs: number; count: number };
    reply: { invitations: readonly string[]; expiresAtMs: number };
  };
  /** Mail to the control address that was not understood, oldest first. */
  controlList: { args: Record<string, never>; reply: { mails: readonly KeptMailLine[] } };
  /** Its beginning, at most 64 KiB. */
  controlRead: { args: { id: string }; reply: { text: string; isWhole: boolean } };
  controlDelete: { args: { id: string }; reply: { id: string } };
  /** `key`: decimal or 0x hex id, or a mail address whose key is meant. */
  lookup: { args: { key: string }; reply: LookupReply };
  /**
   * Takes a member out after its data is copied. Answers when it has begun; poll `leaveProgress`.
   * `id` absent: the member asked.
   */
  leave: { args: { id?: string; force?: boolean }; reply: { id: string; epoch: number } };
  leaveProgress: { args: { id: string }; reply: DepartureReply };
  /**
   * Takes out members that do not answer. `force`: what only they had is given up, and a majority
   * of the others decides where there is none of all.
   */
  evict: { args: { ids: readonly string[]; force: boolean }; reply: EvictReply };
  /** Mailboxes that the asked member shares with others, by name, a page at a time. */
  mailboxes: { args: { after: string }; reply: { names: readonly string[]; more: boolean } };
  /**
   * Makes all copies of a mailbox whole and checks every body, a step at a time. `from`: only what
   * this member has is copied to the others.
   */
  repair: {
    args: { address: string; cursor?: RepairCursor; from?: string };
    reply: RepairReply;
  };
  /** Brings a deleted message back as a new one, from what a member's disk still has of it. */
  restoreMessage: {
    args: { message: string; from: string };
    reply: { mailbox: string; id: string; stored: number; wanted: number };
  };
}

export type AdminMethod = keyof AdminMethods;

export type AdminCaller = <M extends AdminMethod>(
  addr: string,
  method: M,
  args: AdminMethods[M]["args"],
) => Promise<AdminMethods[M]["reply"]>;

/** A refusal that the user can act on. `message` is one line and says what to do. */
export class AdminError extends Error {
  override readonly name = "AdminError";
  constructor(
    readonly code:
      | "exists"
      | "unknown"
      | "invalid"
      | "unavailable"
      | "refused"
      | "unimplemented"
      | "internal",
    message: string,
  ) {
    super(message);
  }
}
