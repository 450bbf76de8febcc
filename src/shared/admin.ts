/**
 * What the command line asks of a running member. One unary gRPC call carries a method name, JSON
 * arguments and a JSON answer; every method may be sent to any member.
 */

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
  readonly pop3?: string;
  readonly rssBytes?: number;
}

export interface StatusReply {
  readonly ring: { readonly bits: number; readonly replicas: number; readonly domain: string };
  readonly rosterEpoch: number;
  readonly members: readonly MemberStatus[];
  /** What is going on or wrong, in words: a join in progress, a silent member. */
  readonly notices: readonly string[];
}

export interface LocateReply {
  readonly mailbox: string;
  /** Decimal key on the circle. */
  readonly key: string;
  readonly account: "exists" | "unknown" | "undecided";
  readonly copies: readonly {
    readonly id: string;
    readonly addr: string;
    /** False for a member outside the group that still holds a copy. */
    readonly inGroup: boolean;
    readonly answered: boolean;
    readonly messages: number;
    readonly tombstones: number;
    readonly digest: string;
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

export interface AdminMethods {
  userAdd: { args: { name: string; password: string }; reply: { mailbox: string } };
  userPasswd: { args: { name: string; password: string }; reply: { mailbox: string } };
  userRemove: { args: { name: string }; reply: { mailbox: string } };
  userList: {
    args: Record<string, never>;
    reply: { users: readonly string[]; complete: boolean };
  };
  status: { args: Record<string, never>; reply: StatusReply };
  /** As `status`, of the member asked alone. */
  memberStatus: { args: Record<string, never>; reply: MemberStatus };
  locate: { args: { address: string }; reply: LocateReply };
  /** `key`: decimal or 0x hex id, or a mail address whose key is meant. */
  lookup: { args: { key: string }; reply: LookupReply };
  /**
   * Takes a member out after its data is copied. Answers when it has begun; poll `leaveProgress`.
   * `id` absent: the member asked.
   */
  leave: { args: { id?: string }; reply: { id: string; epoch: number } };
  leaveProgress: {
    args: { id: string };
    reply: { done: boolean; detail: string };
  };
  /** Takes out a member that does not answer. `force` overrides the majority (two-member rings). */
  evict: { args: { id: string; force: boolean }; reply: { id: string; epoch: number } };
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
